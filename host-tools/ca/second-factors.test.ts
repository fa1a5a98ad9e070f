import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { certificatePassword } from "../../sdk/identity/certificate-password.js";
import { makeToken } from "../../sdk/identity/token.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { Scene } from "../../test/support/host-tools/scene.js";
import { DEFAULT_POLICY_TEXT } from "../policy/default-policy.js";
import { keysOf } from "../policy/key-set.js";
import type { CertificateAuthority } from "./certificate-authority.js";

const scene = new Scene();
afterEach(() => scene.clean());

/** The built-in policy, with a second factor for devices. */
const asking = (factor: "token" | "password"): string =>
  DEFAULT_POLICY_TEXT.replace("name: default", "name: own").replace(
    "    for: devices\n",
    `    for: devices\n    requires: { mtls: [${factor}] }\n`,
  );

/** What the broker's engine says to a password beside the certificate. */
async function verdict(ca: CertificateAuthority, name: string, password: string): Promise<string> {
  const { policy } = await ca.brokerMaterial();
  return policy.authenticate({ name, listener: "mtls", proved: "certificate", password, atMs: Date.now() }).code;
}

describe("a device's token", () => {
  it("counts with the key of each certificate that is valid, so that a new certificate can be proved", async () => {
    const ca = await scene.ca();
    await ca.applyPolicy(asking("token"));
    const keys = memoryKeyStore();
    for (const slot of ["key-a", "key-b"]) keys.generate(slot);
    const token = (slot: string, id = "dev1"): string =>
      makeToken(keys, slot, id, { audience: "broker", lifetimeSeconds: 600 }, Date.now());
    const reservation = await ca.reserve({ id: "dev1" });
    const { serial } = await ca.complete(reservation, keys.csr("key-a", "dev1"));
    await ca.activate(reservation);
    expect(await verdict(ca, "dev1", token("key-a"))).toBe("ALLOWED");
    expect(await verdict(ca, "dev1", token("key-b"))).toBe("FACTOR_WRONG");
    expect(await verdict(ca, "dev1", token("key-a", "dev2"))).toBe("FACTOR_WRONG");
    const next = await ca.issueFromCsr("dev1", keys.csr("key-b", "dev1"));
    expect([await verdict(ca, "dev1", token("key-a")), await verdict(ca, "dev1", token("key-b"))]).toEqual(["ALLOWED", "ALLOWED"]);
    expect(await ca.retireOlder("dev1", next.serial)).toEqual([serial]);
    expect([await verdict(ca, "dev1", token("key-a")), await verdict(ca, "dev1", token("key-b"))]).toEqual(["FACTOR_WRONG", "ALLOWED"]);
    const known = async (): Promise<unknown[]> => keysOf((await ca.brokerMaterial()).policy.directory.get("dev1")!);
    expect(await known()).toEqual([expect.objectContaining({ kid: "dev1", kty: "EC", crv: "P-256", alg: "ES256" })]);
    await ca.revoke({ id: "dev1" });
    expect(await known()).toEqual([]);
  });
});

describe("a certificate's password", () => {
  const PSK_SLOT = "psk";

  it("is made with each certificate where the policy asks for it, and ends with it", async () => {
    const ca = await scene.ca();
    const keys = memoryKeyStore();
    for (const slot of ["key-a", "key-b"]) keys.generate(slot);
    const passwordOf = (serial: string): string => certificatePassword(keys)({ certificate: { serial } }).password ?? "";
    const reservation = await ca.reserve({ id: "dev1" });
    const first = await ca.complete(reservation, keys.csr("key-a", "dev1"));
    keys.importPsk(PSK_SLOT, first.psk);
    await ca.activate(reservation);
    const registry = (): string => readFileSync(join(ca.directory, "registry", "dev1.json"), "utf8");
    expect(registry()).not.toContain("passwordHash");
    // The certificates that there are get theirs with the policy.
    await ca.applyPolicy(asking("password"));
    expect(await verdict(ca, "dev1", passwordOf(first.serial))).toBe("ALLOWED");
    expect(await verdict(ca, "dev1", passwordOf("1"))).toBe("FACTOR_WRONG");
    const next = await ca.issueFromCsr("dev1", keys.csr("key-b", "dev1"));
    const both = async (): Promise<string[]> => [
      await verdict(ca, "dev1", passwordOf(first.serial)),
      await verdict(ca, "dev1", passwordOf(next.serial)),
    ];
    expect(await both()).toEqual(["ALLOWED", "ALLOWED"]);
    await ca.retireOlder("dev1", next.serial);
    expect(await both()).toEqual(["FACTOR_WRONG", "ALLOWED"]);
    expect(registry().match(/passwordHash/g)).toHaveLength(1);
    expect(JSON.stringify(await ca.list())).not.toContain("passwordHash");
    // Without the certificate it is worth nothing.
    const { policy } = await ca.brokerMaterial();
    expect(policy.authenticate({ name: "dev1", listener: "mtls", password: passwordOf(next.serial), atMs: Date.now() }).allowed).toBe(
      false,
    );
  });
});
