import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { makeToken, tokenRefreshMs } from "./token.js";

describe("makeToken", () => {
  const keyStore = memoryKeyStore();
  keyStore.generate("key-a");
  const options = { audience: "mqtt.example.com", lifetimeSeconds: 3_600 };
  const NOW_MS = Date.UTC(2026, 10, 20);
  const [header = "", claims = "", signature = ""] = makeToken(keyStore, "key-a", "sensor-1", options, NOW_MS).split(".");

  it("is a JWT that the device's public key verifies", () => {
    const key = createPublicKey({ key: Buffer.from(keyStore.publicKey("key-a")), format: "der", type: "spki" });
    const valid = (text: string): boolean =>
      verify("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
    expect(JSON.parse(Buffer.from(header, "base64url").toString())).toEqual({ alg: "ES256", typ: "JWT", kid: "sensor-1" });
    expect(valid(`${header}.${claims}`)).toBe(true);
    expect(valid(`${header}.${claims}x`)).toBe(false);
  });

  it("names the device, the audience and a bounded life", () => {
    const seconds = NOW_MS / 1_000;
    expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toEqual({
      sub: "sensor-1",
      iss: "sensor-1",
      aud: "mqtt.example.com",
      iat: seconds - 60,
      exp: seconds + 3_600,
    });
  });

  it("is renewed before it runs out, not by the whole fleet at once", () => {
    expect(tokenRefreshMs(options, 0)).toBe(3_240_000);
    expect(tokenRefreshMs(options, 0.999_999)).toBeCloseTo(2_880_000, -2);
  });

  it("cannot be made without a key", () => {
    expect(() => makeToken(keyStore, "key-b", "sensor-1", options, NOW_MS)).toThrow(expect.objectContaining({ code: "KEY_MISSING" }));
  });
});
