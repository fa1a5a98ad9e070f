import { describe, expect, it } from "vitest";
import { isTokenReference, parseTokenKey, tokenKeyUri } from "./pkcs11-uri.js";

describe("a PKCS#11 URI", () => {
  it.each([
    ["pkcs11:token=plant%207;object=issuing", { token: "plant 7", object: "issuing" }],
    [
      "pkcs11:object=a%3Bb;token=T;serial=0042;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin",
      { token: "T", serial: "0042", object: "a;b", modulePath: "/usr/lib/x.so", pinFile: "/run/pin" },
    ],
    ["pkcs11:token=T;id=%01%fe%41?pin-source=file:///run/pin", { token: "T", id: "01fe41", pinFile: "/run/pin" }],
    ["pkcs11:token=%C3%A9;object=x", { token: "é", object: "x" }],
  ])("%s names a key, and is the same again when it is written", (uri, key) => {
    expect(parseTokenKey(uri)).toEqual(key);
    expect(parseTokenKey(tokenKeyUri(key))).toEqual(key);
    expect(isTokenReference(tokenKeyUri(key))).toBe(true);
  });

  it.each([
    ["pkcs12:token=T;object=x", /PKCS#11 URI/],
    ["pkcs11:object=x", /no token/],
    ["pkcs11:token=T", /no key/],
    ["pkcs11:token=T;object=x;object=y", /object twice/],
    ["pkcs11:token=T;object=x;slot-id=0", /slot-id/],
    ["pkcs11:token=T;object=%zz", /two hex digits/],
    ["pkcs11:token=T;object", /name=value/],
    ["pkcs11:token=T;object=x?module-path=x.so", /absolute/],
    ["pkcs11:token=T;object=x?pin-source=|cat%20pin", /absolute path/],
  ])("%s is refused, and the message says why", (uri, message) => {
    expect(() => parseTokenKey(uri)).toThrow(
      expect.objectContaining({ code: "BAD_SIGNER", message: expect.stringMatching(message) as string }) as Error,
    );
  });

  it("with a PIN in it is refused without showing the PIN", () => {
    expect(() => parseTokenKey("pkcs11:token=T;object=x?pin-value=4711")).toThrow(
      expect.objectContaining({ code: "BAD_SIGNER", message: expect.not.stringContaining("4711") as string }) as Error,
    );
  });
});
