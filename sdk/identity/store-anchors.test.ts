/** Trust anchors on flash, through power cuts. */
import { describe, expect, it } from "vitest";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import { nodeChainVerifier } from "../../sim/node/node-chain-verifier.js";
import { linkOf, testRoot } from "../../test/support/device/test-roots.js";
import type { Storage } from "../platform.js";
import { readCertificate } from "./certificate.js";
import { IdentityStore, installIdentity } from "./store.js";

const [first, second] = [await testRoot(), await testRoot()];
const links = [await linkOf(second, first)];
const serialOf = (der: Uint8Array): string => readCertificate(der).serial;

/** @param failsAfter writes that succeed; then the power is gone */
function device(failsAfter = Infinity): { store: IdentityStore; reboot: () => IdentityStore; storage: Storage } {
  const storage = memoryStorage();
  const keys = memoryKeyStore();
  installIdentity(storage, keys, { id: "sensor-1", role: "sensor", trustAnchors: [first.der] });
  let left = failsAfter;
  const cut: Storage = {
    get: (key) => storage.get(key),
    list: (prefix) => storage.list(prefix),
    delete: (key) => storage.delete(key),
    put: (key, value) => {
      if (left-- <= 0) throw new Error("no power");
      storage.put(key, value);
    },
  };
  return { store: IdentityStore.load(cut, keys), reboot: () => IdentityStore.load(storage, keys), storage };
}

describe("trust anchors", () => {
  it("are both trusted at first, and the old one goes only once the new one alone was enough", () => {
    const { store, reboot } = device();
    expect(store.takeAnchors({ anchors: [second.der, first.der], links }, nodeChainVerifier)).toEqual([serialOf(second.der)]);
    expect([store.provingAnchors, store.anchorSerials]).toEqual([
      [second.der, first.der],
      [serialOf(second.der), serialOf(first.der)],
    ]);
    expect(store.forgetAnchors()).toEqual([]);
    expect(store.takeAnchors({ anchors: [second.der], links }, nodeChainVerifier)).toEqual([]);
    expect([store.trustAnchors, store.provingAnchors]).toEqual([[second.der, first.der], [second.der]]);
    expect(reboot().trustAnchors).toEqual([second.der, first.der]);
    expect(store.forgetAnchors()).toEqual([serialOf(first.der)]);
    expect([store.trustAnchors, reboot().trustAnchors]).toEqual([[second.der], [second.der]]);
  });

  it("all stay where a broker needs them", () => {
    const { store } = device();
    store.takeAnchors({ anchors: [second.der], links }, nodeChainVerifier);
    expect([store.keepAnchors(), store.keepAnchors()]).toEqual([true, false]);
    expect([store.provingAnchors, store.forgetAnchors()]).toEqual([[second.der, first.der], []]);
  });

  it("are the old or the new ones after a power cut, never none", () => {
    for (const writes of [0, 1]) {
      const { store, reboot } = device(writes);
      const step = (run: () => unknown): void => {
        try {
          run();
        } catch {
          // The power is gone.
        }
      };
      step(() => store.takeAnchors({ anchors: [second.der], links }, nodeChainVerifier));
      step(() => store.forgetAnchors());
      expect(reboot().trustAnchors).toEqual(writes === 0 ? [first.der] : [second.der, first.der]);
    }
  });

  it("are what they were where the offer is refused", () => {
    const { store, reboot } = device();
    expect(() => store.takeAnchors({ anchors: [second.der], links: [] }, nodeChainVerifier)).toThrow(
      expect.objectContaining({ code: "UNTRUSTED_ANCHOR" }) as Error,
    );
    expect([store.provingAnchors, reboot().trustAnchors]).toEqual([[first.der], [first.der]]);
  });
});
