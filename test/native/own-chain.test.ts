/** Which CAs may vouch for a device's own certificate: the engine on a chip and Node judge alike, by the same rules as for a broker's. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeChainVerifier } from "../../sim/node/node-chain-verifier.js";
import { certify, linkOf, testRoot } from "../support/device/test-roots.js";
import { makeIdentity, type Identity, type Wish } from "./native-certificates.js";
import { NativeDevice } from "./harness.js";

let device: NativeDevice;
beforeAll(async () => {
  device = await NativeDevice.create();
});
afterAll(() => device?.remove());

const root = (wish: Partial<Wish>): Promise<Identity> => makeIdentity({ name: "root", authority: true, ...wish });

/** What both say of a device's certificate below an issuing CA below the root. */
async function verdicts(anchor: Identity, wish: Partial<Wish> = {}): Promise<boolean[]> {
  const issuing = await makeIdentity({ name: "issuing", authority: true, issuer: anchor, ...wish });
  const leaf = await makeIdentity({ name: "sensor-1", client: true, issuer: issuing });
  const chain = [leaf.der, issuing.der];
  return [await device.leadsTo(chain, [anchor.der]), nodeChainVerifier.leadsTo(chain, [anchor.der])];
}

describe("a device's own chain", () => {
  it.each(["P-256", "P-384", "RSA-2048", "RSA-3072"] as const)("may lead to a root with a key of %s", async (key) => {
    expect(await verdicts(await root({ key }))).toEqual([true, true]);
  });

  it("may pass an issuing CA with an RSA key, and whatever SHA-2", async () => {
    expect(await verdicts(await root({ key: "RSA-2048", keyHash: "SHA-512" }), { key: "RSA-2048", keyHash: "SHA-384" })).toEqual([
      true,
      true,
    ]);
  });

  it.each(["RSA-1024", "P-521"] as const)("may not lead to a root with a key of %s", async (key) => {
    expect(await verdicts(await root({ key }))).toEqual([false, false]);
  });

  it("may not rest on SHA-1", async () => {
    expect(await verdicts(await root({ key: "RSA-2048", keyHash: "SHA-1" }))).toEqual([false, false]);
  });

  it("does not lead to another root of the same name", async () => {
    const issuing = await makeIdentity({ name: "issuing", authority: true, issuer: await root({ key: "RSA-2048" }) });
    const leaf = await makeIdentity({ name: "sensor-1", client: true, issuer: issuing });
    const other = await root({ key: "P-384" });
    expect([
      await device.leadsTo([leaf.der, issuing.der], [other.der]),
      nodeChainVerifier.leadsTo([leaf.der, issuing.der], [other.der]),
    ]).toEqual([false, false]);
  });

  it("leads over another root of its CA by what the root before signed, and by nothing else", async () => {
    const [first, second, stranger] = [await testRoot(), await testRoot(), await testRoot()];
    const link = await linkOf(second, first);
    const both = async (chain: Uint8Array[], anchors: Uint8Array[]): Promise<boolean[]> => [
      await device.leadsTo(chain, anchors),
      nodeChainVerifier.leadsTo(chain, anchors),
    ];
    expect(await both([link], [first.der])).toEqual([true, true]);
    expect(await both([second.der], [link])).toEqual([true, true]);
    expect(await both([link], [stranger.der])).toEqual([false, false]);
    expect(await both([second.der], [first.der])).toEqual([false, false]);
    expect(await both([stranger.der], [link])).toEqual([false, false]);
    // A device that has the old root alone, and a broker or a certificate under the new one.
    const issuing = await testRoot("CN=Plant Issuing CA 2");
    const underSecond = await certify(issuing.keys, issuing.name, second.name, second.keys);
    expect(await both([underSecond, link], [first.der])).toEqual([true, true]);
    expect(await both([underSecond], [first.der])).toEqual([false, false]);
    expect(await both([underSecond, link], [second.der, first.der])).toEqual([true, true]);
  });
});
