import { describe, expect, it } from "vitest";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import type { ChainVerifier, KeyStore, Storage } from "../platform.js";
import { IdentityStore, installIdentity, type InstalledIdentity } from "./store.js";
import { issueFor, TEST_ANCHOR } from "../../test/support/device/test-issuer.js";

/** Lets every chain lead to an anchor: signatures are the platform's matter. */
const TRUSTING: ChainVerifier = { leadsTo: () => true };

class PowerCut extends Error {}

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** Storage and keys whose power fails at the n-th change: before it is done, or right after. */
function flash(): {
  storage: Storage;
  keyStore: KeyStore;
  cutAt: (change: number, when: "before" | "after") => void;
  changes: () => number;
} {
  const storage = memoryStorage();
  const keyStore = memoryKeyStore();
  let count = 0;
  let cut = { change: Infinity, when: "before" };
  const change = <T>(run: () => T): T => {
    if (count === cut.change && cut.when === "before") throw new PowerCut();
    const result = run();
    if (count++ === cut.change) throw new PowerCut();
    return result;
  };
  return {
    storage: {
      get: (key) => storage.get(key),
      list: (prefix) => storage.list(prefix),
      put: (key, value) => change(() => storage.put(key, value)),
      delete: (key) => change(() => storage.delete(key)),
    },
    keyStore: {
      has: (slot) => keyStore.has(slot),
      csr: (slot, name) => keyStore.csr(slot, name),
      sign: (slot, data) => keyStore.sign(slot, data),
      publicKey: (slot) => keyStore.publicKey(slot),
      mac: (slot, data) => keyStore.mac(slot, data),
      importPsk: (slot, key) => change(() => keyStore.importPsk(slot, key)),
      generate: (slot) => change(() => keyStore.generate(slot)),
      destroy: (slot) => change(() => keyStore.destroy(slot)),
    },
    cutAt: (at, when) => {
      count = 0;
      cut = { change: at, when };
    },
    changes: () => count,
  };
}

async function provisioned(): Promise<ReturnType<typeof flash>> {
  const device = flash();
  const { storage, keyStore } = device;
  keyStore.generate("key-a");
  keyStore.importPsk("psk", new Uint8Array(32));
  const chain = [await issueFor(keyStore.csr("key-a", "sensor-1"))];
  installIdentity(storage, keyStore, { id: "sensor-1", role: "sensor", pskIdentity: "sensor-1", chain, trustAnchors: [TEST_ANCHOR] });
  device.cutAt(Infinity, "before");
  return device;
}

/** One whole rotation: enrol, store, commit, report. */
async function rotate(store: IdentityStore, keyStore: KeyStore): Promise<void> {
  const slot = store.beginEnrolment();
  store.storePending([await issueFor(keyStore.csr(slot, "sensor-1"))], TRUSTING);
  store.commit();
  store.markReported();
}

function usable(store: IdentityStore): boolean {
  return store.active !== undefined && store.hasKey(store.active);
}

describe("IdentityStore", () => {
  it("loads what was installed", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    expect(store.device).toMatchObject({ id: "sensor-1", role: "sensor", pskIdentity: "sensor-1" });
    expect(store.trustAnchors).toEqual([TEST_ANCHOR]);
    expect(store.active?.certificate.commonName).toBe("sensor-1");
    expect(usable(store)).toBe(true);
  });

  it("says so when the device was never provisioned, or its records are damaged", async () => {
    const empty = flash();
    expect(() => IdentityStore.load(empty.storage, empty.keyStore)).toThrow(expect.objectContaining({ code: "NOT_PROVISIONED" }));
    const { storage, keyStore } = await provisioned();
    storage.put("identity", Uint8Array.of(123));
    expect(() => IdentityStore.load(storage, keyStore)).toThrow(expect.objectContaining({ code: "IDENTITY_CORRUPT" }));
  });

  it("alternates the slots and leaves nothing of the old identity behind", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    for (const slot of ["b", "a", "b"]) {
      await rotate(store, keyStore);
      const old = slot === "a" ? "b" : "a";
      expect(store.active?.slot).toBe(slot);
      expect([keyStore.has(`key-${slot}`), keyStore.has(`key-${old}`)]).toEqual([true, false]);
      expect([storage.list("chain-"), store.unreported]).toEqual([[`chain-${slot}`], false]);
    }
  });

  it("goes on with the same key when an enrolment was interrupted", async () => {
    const { storage, keyStore } = await provisioned();
    const slot = IdentityStore.load(storage, keyStore).beginEnrolment();
    const publicKey = keyStore.publicKey(slot);
    expect(IdentityStore.load(storage, keyStore).beginEnrolment()).toBe(slot);
    expect(keyStore.publicKey(slot)).toEqual(publicKey);
  });

  it("refuses a certificate for another device, another key, or none that was asked for", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    const unasked = await issueFor(keyStore.csr("key-a", "sensor-1"));
    expect(() => store.storePending([unasked], TRUSTING)).toThrow(expect.objectContaining({ code: "NOT_ENROLLING" }));
    const slot = store.beginEnrolment();
    expect(() => store.storePending([unasked], TRUSTING)).toThrow(expect.objectContaining({ code: "KEY_MISMATCH" }));
    expect(() => store.storePending([], TRUSTING)).toThrow(expect.objectContaining({ code: "BAD_CERTIFICATE" }));
    const stranger = await issueFor(keyStore.csr(slot, "sensor-2"));
    expect(() => store.storePending([stranger], TRUSTING)).toThrow(expect.objectContaining({ code: "WRONG_SUBJECT" }));
    expect(store.pending).toBeUndefined();
  });

  it("keeps the old identity when a pending one is dropped", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    const before = store.active?.certificate.serial;
    store.storePending([await issueFor(keyStore.csr(store.beginEnrolment(), "sensor-1"))], TRUSTING);
    expect(store.countFailedProof()).toBe(1);
    expect(store.countFailedProof()).toBe(2);
    store.drop();
    const again = IdentityStore.load(storage, keyStore);
    expect([again.active?.certificate.serial, again.pending, keyStore.has("key-b")]).toEqual([before, undefined, false]);
  });

  it("has one usable identity after a power cut before or after every single change of a rotation, and can rotate then", async () => {
    let cuts = 0;
    for (const when of ["before", "after"] as const) {
      for (let change = 0; ; change++) {
        const device = await provisioned();
        const { storage, keyStore } = device;
        device.cutAt(change, when);
        let completed = false;
        try {
          await rotate(IdentityStore.load(storage, keyStore), keyStore);
          completed = true;
        } catch (error) {
          expect(error).toBeInstanceOf(PowerCut);
          cuts++;
        }
        device.cutAt(Infinity, "before");
        const store = IdentityStore.load(storage, keyStore);
        expect(usable(store), `cut ${when} change ${change}`).toBe(true);
        if (store.pending) store.commit();
        else await rotate(store, keyStore);
        expect(usable(IdentityStore.load(storage, keyStore))).toBe(true);
        if (completed) break;
      }
    }
    expect(cuts).toBeGreaterThan(10);
  });

  it("installs all or nothing: a cut leaves a device that is provisioned or is not", async () => {
    for (let change = 0; change < 4; change++) {
      const device = flash();
      const { storage, keyStore } = device;
      keyStore.generate("key-a");
      const chain = [await issueFor(keyStore.csr("key-a", "sensor-1"))];
      device.cutAt(change, "before");
      const install = (): void => installIdentity(storage, keyStore, { id: "sensor-1", role: "sensor", chain, trustAnchors: [] });
      expect(install).toThrow(PowerCut);
      device.cutAt(Infinity, "before");
      expect(() => IdentityStore.load(storage, keyStore)).toThrow(expect.objectContaining({ code: "NOT_PROVISIONED" }));
      install();
      expect(usable(IdentityStore.load(storage, keyStore))).toBe(true);
    }
  });

  it("is not provisioned with a pre-shared key's name but without the key", () => {
    const { storage, keyStore } = flash();
    const install = (): void =>
      installIdentity(storage, keyStore, { id: "sensor-1", role: "sensor", pskIdentity: "sensor-1", trustAnchors: [] });
    expect(install).toThrow(expect.objectContaining({ code: "KEY_MISSING" }));
    expect(storage.list("")).toEqual([]);
  });

  it.each<[string, (chain: Uint8Array[]) => Partial<InstalledIdentity>, string]>([
    ["a name that no certificate may carry", () => ({ id: "a/b" }), "INVALID_ID"],
    ["a certificate for another", () => ({ id: "sensor-2" }), "WRONG_SUBJECT"],
    ["no certificate in the chain", () => ({ chain: [] }), "BAD_CERTIFICATE"],
    ["a certificate as PEM", (chain) => ({ chain: [pemOf(chain[0] as Uint8Array)] }), "UNSUPPORTED_CERTIFICATE"],
    ["a trust anchor as PEM", () => ({ trustAnchors: [pemOf(TEST_ANCHOR)] }), "UNSUPPORTED_CERTIFICATE"],
    ["a trust anchor that is damaged", () => ({ trustAnchors: [TEST_ANCHOR.subarray(0, 99)] }), "BAD_CERTIFICATE"],
    ["an issuer that cannot be read", (chain) => ({ chain: [...chain, Uint8Array.of(1)] }), "BAD_CERTIFICATE"],
  ])("does not install %s, and writes nothing", async (_, changed, code) => {
    const { storage, keyStore } = flash();
    keyStore.generate("key-a");
    const chain = [await issueFor(keyStore.csr("key-a", "sensor-1"))];
    const install = (): void =>
      installIdentity(storage, keyStore, { id: "sensor-1", role: "sensor", chain, trustAnchors: [], ...changed(chain) });
    expect(install).toThrow(expect.objectContaining({ code }));
    expect(storage.list("")).toEqual([]);
  });

  it.each(["device", "identity"])("says so when the record %j is of another version, no object, or not text", async (key) => {
    for (const bytes of [text('{"v":2}'), text("null"), text("5"), text("[]"), text(""), Uint8Array.of(0xff, 0xfe)]) {
      const { storage, keyStore } = await provisioned();
      storage.put(key, bytes);
      expect(() => IdentityStore.load(storage, keyStore), String(bytes)).toThrow(expect.objectContaining({ code: "IDENTITY_CORRUPT" }));
    }
  });

  it("says so when the device's own record is gone", async () => {
    const { storage, keyStore } = await provisioned();
    storage.delete("device");
    expect(() => IdentityStore.load(storage, keyStore)).toThrow(expect.objectContaining({ code: "IDENTITY_CORRUPT" }));
  });

  it("is without a certificate, not without a device, when the certificate cannot be read", async () => {
    for (const bytes of [Uint8Array.of(1, 2, 3), new Uint8Array(0), text("a chain of no length")]) {
      const { storage, keyStore } = await provisioned();
      storage.put("chain-a", bytes);
      const store = IdentityStore.load(storage, keyStore);
      expect([store.active, store.device.id, store.trustAnchors.length]).toEqual([undefined, "sensor-1", 1]);
      await rotate(store, keyStore);
      expect(usable(IdentityStore.load(storage, keyStore))).toBe(true);
    }
  });

  it("asks for another certificate when the pending one cannot be read", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    store.storePending([await issueFor(keyStore.csr(store.beginEnrolment(), "sensor-1"))], TRUSTING);
    storage.put("chain-b", Uint8Array.of(0));
    const again = IdentityStore.load(storage, keyStore);
    expect([again.pending, usable(again)]).toEqual([undefined, true]);
    await rotate(again, keyStore);
    expect(again.active?.slot).toBe("b");
  });

  it("trusts nobody when there are no anchors, rather than not loading", async () => {
    const { storage, keyStore } = await provisioned();
    storage.delete("anchors");
    expect(IdentityStore.load(storage, keyStore).trustAnchors).toEqual([]);
  });

  it("makes a new key when the one of an interrupted enrolment is gone", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    keyStore.destroy(store.beginEnrolment());
    expect(keyStore.has(store.beginEnrolment())).toBe(true);
  });

  it("has nothing to commit, and nothing to count, where nothing is pending", async () => {
    const { storage, keyStore } = await provisioned();
    const store = IdentityStore.load(storage, keyStore);
    expect(() => store.commit()).toThrow(expect.objectContaining({ code: "NOTHING_PENDING" }));
    expect(store.countFailedProof()).toBe(0);
    store.beginEnrolment();
    expect(() => store.commit()).toThrow(expect.objectContaining({ code: "NOTHING_PENDING" }));
  });

  it("keeps the first certificate of a device from the factory in slot a", async () => {
    const { storage, keyStore } = flash();
    keyStore.importPsk("psk", new Uint8Array(32));
    installIdentity(storage, keyStore, { id: "sensor-1", role: "sensor", pskIdentity: "sensor-1", trustAnchors: [] });
    const store = IdentityStore.load(storage, keyStore);
    expect([store.active, store.unreported]).toEqual([undefined, false]);
    await rotate(store, keyStore);
    expect([store.active?.slot, usable(IdentityStore.load(storage, keyStore))]).toEqual(["a", true]);
  });

  it("stays in the state of before when a change cannot be stored", async () => {
    const device = await provisioned();
    const { storage, keyStore } = device;
    const store = IdentityStore.load(storage, keyStore);
    const failing = (run: () => unknown): void => {
      device.cutAt(0, "before");
      expect(run).toThrow(PowerCut);
      device.cutAt(Infinity, "before");
    };
    failing(() => store.beginEnrolment());
    expect(store.enrolling).toBeUndefined();
    const certificate = await issueFor(keyStore.csr(store.beginEnrolment(), "sensor-1"));
    failing(() => store.storePending([certificate], TRUSTING));
    expect([store.enrolling, store.pending]).toEqual(["key-b", undefined]);
    store.storePending([certificate], TRUSTING);
    failing(() => store.countFailedProof());
    failing(() => store.commit());
    expect([store.active?.slot, store.pending?.slot, store.unreported]).toEqual(["a", "b", false]);
    store.commit();
    failing(() => store.markReported());
    expect([store.active?.slot, store.unreported]).toEqual(["b", true]);
  });

  it("loads although what an earlier state left cannot be cleared away, and clears it at a later boot", async () => {
    const device = await provisioned();
    const { storage, keyStore } = device;
    keyStore.generate("key-b");
    storage.put("chain-b", Uint8Array.of(1));
    device.cutAt(0, "before");
    expect(usable(IdentityStore.load(storage, keyStore))).toBe(true);
    device.cutAt(Infinity, "before");
    IdentityStore.load(storage, keyStore);
    expect([keyStore.has("key-b"), storage.list("chain-")]).toEqual([false, ["chain-a"]]);
  });
});

function pemOf(der: Uint8Array): Uint8Array {
  return text(`-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`);
}
