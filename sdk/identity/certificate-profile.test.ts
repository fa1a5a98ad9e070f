import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { type KeyKind, makeIdentity } from "../../test/native/native-certificates.js";
import { certificateProfile, checkUsable } from "./certificate-profile.js";

const authority = async (key: KeyKind): Promise<Uint8Array> => (await makeIdentity({ name: "CA", authority: true, key })).der;

describe("a certificate for an identity", () => {
  it.each<KeyKind>(["P-256", "P-384", "RSA-2048"])("may have a key of %s", async (key) => {
    const der = await authority(key);
    expect(() => checkUsable(der, "an anchor")).not.toThrow();
    expect(certificateProfile(der)).toMatchObject({ problem: undefined, isSignedStrongly: true });
  });

  it.each<[KeyKind, string]>([
    ["P-521", "curve"],
    ["RSA-1024", "1024 bits"],
  ])("may not have a key of %s, and the error says why and what to do", async (key, words) => {
    const der = await authority(key);
    expect(() => checkUsable(der, "a trust anchor")).toThrow(
      expect.objectContaining({
        code: "UNSUPPORTED_CERTIFICATE",
        message: expect.stringContaining(words),
        nextStep: expect.stringContaining("P-256"),
      }),
    );
  });

  it("may not have extensions that no device can judge", async () => {
    for (const [id, critical, usable] of [
      ["2.5.29.30", true, false],
      ["2.5.29.30", false, false],
      ["1.2.3.4", true, false],
      ["1.2.3.4", false, true],
    ] as const) {
      const { der } = await makeIdentity({
        name: "CA",
        authority: true,
        moreExtensions: [new x509.Extension(id, critical, Uint8Array.of(0x30, 0))],
      });
      expect([id, critical, certificateProfile(der).problem === undefined]).toEqual([id, critical, usable]);
    }
  });

  it("is read to its last byte and not beyond", async () => {
    const der = await authority("RSA-2048");
    for (let size = 0; size < der.length; size += 7) {
      expect(() => certificateProfile(der.subarray(0, size))).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
    }
  });
});
