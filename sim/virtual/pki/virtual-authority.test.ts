import { describe, expect, it } from "vitest";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { base64Encode } from "../../../sdk/encoding/text.js";
import { enrolmentMessage, readAnswer } from "../../../sdk/identity/enrolment.js";
import type { KeyStore } from "../../../sdk/platform.js";
import { VirtualKeys } from "../power/key-store.js";
import { PowerSupply } from "../power/power-supply.js";
import { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { VirtualAuthority } from "./virtual-authority.js";

function scene() {
  let nowMs = WORLD_BEGINS_MS;
  const authority = new VirtualAuthority(() => nowMs, new SeededRandom("ca"), 86_400_000);
  const keys = new VirtualKeys("dev").open(new PowerSupply());
  keys.generate("key-a");
  return { authority, keys, csr: keys.csr("key-a", "dev"), pass: (ms: number) => (nowMs += ms) };
}

/** A request, signed by the key in `holder` where there is one. */
function enrolRequest(requestId: string, csr: Uint8Array, keys?: KeyStore, holder = "key-a"): Uint8Array {
  const message = { type: "enrol", requestId, csr: base64Encode(csr) } as const;
  return keys
    ? enrolmentMessage(message, keys, { keySlot: holder, certificate: { publicKey: keys.publicKey(holder) } })
    : enrolmentMessage(message, { sign: () => new Uint8Array() });
}

function activeReport(serial: string, keys: KeyStore, holder: string): Uint8Array {
  return enrolmentMessage({ type: "active", serial }, keys, { keySlot: holder, certificate: { publicKey: keys.publicKey(holder) } });
}

function chainOf(answer: Uint8Array | undefined): readonly Uint8Array[] {
  const read = readAnswer(answer!);
  if (!("chain" in read)) throw new Error(`refused: ${read.error.code}`);
  return read.chain;
}

describe("the virtual authority", () => {
  it("issues certificates that the device's own reader understands", () => {
    const { authority, keys, csr } = scene();
    const [leaf, issuer] = chainOf(authority.handle("dev", enrolRequest("00", csr))[0]);
    expect(readCertificate(leaf!)).toEqual({
      serial: authority.current("dev")[0]?.serial,
      commonName: "dev",
      notBeforeMs: WORLD_BEGINS_MS - 60_000,
      notAfterMs: WORLD_BEGINS_MS - 60_000 + 86_400_000,
      publicKey: keys.publicKey("key-a"),
    });
    expect(issuer).toEqual(authority.issuing);
    expect(readCertificate(authority.root).commonName).toBe("virtual root");
  });

  it("gives the same certificate for the same request, and another for another key", () => {
    const { authority, keys, csr } = scene();
    const leafOf = (request: Uint8Array) => chainOf(authority.handle("dev", enrolRequest("00", request, keys))[0])[0];
    expect(leafOf(csr)).toEqual(leafOf(csr));
    keys.generate("key-b");
    expect(leafOf(keys.csr("key-b", "dev"))).not.toEqual(leafOf(csr));
  });

  it("retires older certificates once the newer one is reported in use", () => {
    const { authority, keys, csr } = scene();
    const revoked: string[] = [];
    authority.onRevoked = (serial) => revoked.push(serial);
    authority.handle("dev", enrolRequest("00", csr));
    keys.generate("key-b");
    authority.handle("dev", enrolRequest("01", keys.csr("key-b", "dev"), keys));
    const [older, newer] = authority.current("dev");
    authority.handle("dev", activeReport(newer!.serial, keys, "key-b"));
    expect(revoked).toEqual([older!.serial]);
    expect(authority.current("dev")).toEqual([newer]);
  });

  it("refuses requests for somebody else, and can be told to misbehave in each way", () => {
    const { authority, keys, csr } = scene();
    expect(readAnswer(authority.handle("other", enrolRequest("00", csr))[0]!)).toMatchObject({ error: { code: "WRONG_SUBJECT" } });
    authority.mood.refusal = { code: "RATE_LIMITED", retryAfterSeconds: 30 };
    expect(readAnswer(authority.handle("dev", enrolRequest("00", csr))[0]!)).toMatchObject({
      error: { code: "RATE_LIMITED", retryAfterSeconds: 30 },
    });
    authority.mood.refusal = undefined;
    authority.mood.twice = true;
    expect(authority.handle("dev", enrolRequest("00", csr))).toHaveLength(2);
    authority.mood.defect = "subject";
    expect(readCertificate(chainOf(authority.handle("dev", enrolRequest("00", csr))[0])[0]!).commonName).toBe("dev-x");
    authority.mood.defect = "key";
    expect(readCertificate(chainOf(authority.handle("dev", enrolRequest("00", csr))[0])[0]!).publicKey).not.toEqual(
      keys.publicKey("key-a"),
    );
    authority.mood.defect = "unknown";
    expect(authority.find(chainOf(authority.handle("dev", enrolRequest("00", csr))[0])[0]!)).toBeUndefined();
    authority.mood.defect = "garbage";
    expect(() => readAnswer(authority.handle("dev", enrolRequest("00", csr))[0]!)).toThrow(expect.objectContaining({ code: "BAD_ANSWER" }));
  });
});
