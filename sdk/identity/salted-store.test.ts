/** The pre-shared key of a device, from salt to salt: what is kept, what is told, what is shown. */
import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { World } from "../../test/support/device/test-world.js";
import { saltProofInput, saltedKeyInput } from "./psk-salt.js";
import { IdentityStore } from "./store.js";

/** As the test world provisions it. */
const PSK = new Uint8Array(32);
const mac = (data: Uint8Array): Buffer => createHmac("sha256", PSK).update(data).digest();
const proofBy = (by: "device" | "authority", salt: string): string => mac(saltProofInput(by, salt)).toString("base64");
const keyOf = (salt: string): Buffer => mac(saltedKeyInput(salt));
const [FIRST, SECOND, THIRD] = ["5a", "5b", "5c"].map((byte) => byte.repeat(16)) as [string, string, string];

async function scene({ psk = true } = {}) {
  const world = await World.provisioned({ psk });
  const store = IdentityStore.load(world.storage, world.keyStore);
  return {
    world,
    store,
    /** A certificate comes, with a salt to take and what the authority proves. */
    answered: async (fresh: string, proof?: string): Promise<void> => {
      const slot = store.beginEnrolment();
      store.storePending([await world.issueFor(world.keys.csr(slot, store.device.id))], world.platform.chains, fresh, proof);
    },
    /** It is proved, committed and reported. */
    reported: (): void => {
      store.commit();
      store.markReported();
    },
    /** The key that a dialer would find. */
    shown: (of = store): Buffer => world.keys.psk(of.readyPsk()),
  };
}

describe("The salts of a pre-shared key", () => {
  it("begin with the first certificate that is asked for, and the new key is shown once it is reported", async () => {
    const { store, answered, shown } = await scene();
    expect([store.salts, store.toldSalt, shown()]).toEqual([undefined, {}, Buffer.from(PSK)]);
    await answered(FIRST);
    expect([store.salts, shown()]).toEqual([[FIRST, ""], Buffer.from(PSK)]);
    store.commit();
    expect(store.toldSalt).toEqual({ salt: FIRST, saltProof: proofBy("device", FIRST) });
    expect(shown()).toEqual(Buffer.from(PSK));
    store.markReported();
    expect(shown()).toEqual(keyOf(FIRST));
  });

  it("change with every certificate whose answer proves that the authority has the last one, and with no other", async () => {
    const { store, answered, reported } = await scene();
    await answered(FIRST);
    reported();
    const others = [undefined, "", proofBy("device", FIRST), proofBy("authority", SECOND), keyOf(FIRST).toString("base64")];
    for (const forged of others) {
      await answered(SECOND, forged);
      reported();
      expect(store.salts).toEqual([FIRST, ""]);
    }
    await answered(SECOND, proofBy("authority", FIRST));
    reported();
    expect(store.salts).toEqual([SECOND, FIRST]);
    await answered(THIRD, proofBy("authority", FIRST));
    expect(store.salts).toEqual([SECOND, FIRST]);
  });

  it("outlive a reboot at any time, and a certificate that is given up", async () => {
    const { world, store, answered, shown } = await scene();
    await answered(FIRST);
    expect([world.stored.salts, shown(world.stored)]).toEqual([[FIRST, ""], Buffer.from(PSK)]);
    store.drop();
    expect(world.stored.salts).toEqual([FIRST, ""]);
    await answered(SECOND);
    store.commit();
    store.markReported();
    expect([world.stored.salts, shown(world.stored)]).toEqual([[FIRST, ""], keyOf(FIRST)]);
  });

  it("take turns while brokers refuse them, the likelier one first", async () => {
    const { store, answered, reported, shown } = await scene();
    expect(store.pskRefused()).toBe(false);
    await answered(FIRST);
    reported();
    await answered(SECOND, proofBy("authority", FIRST));
    expect(shown()).toEqual(keyOf(FIRST));
    expect([store.pskRefused(), shown()]).toEqual([true, keyOf(SECOND)]);
    expect([store.pskRefused(), shown()]).toEqual([false, keyOf(FIRST)]);
    reported();
    expect(shown()).toEqual(keyOf(SECOND));
    expect([store.pskRefused(), shown()]).toEqual([true, keyOf(FIRST)]);
  });

  it("are none of a device without a pre-shared key, and cost nothing where the key is lost", async () => {
    const bare = await scene({ psk: false });
    await bare.answered(FIRST);
    bare.reported();
    expect([bare.store.salts, bare.store.toldSalt]).toEqual([undefined, {}]);
    const { world, store, answered, reported } = await scene();
    await answered(FIRST);
    world.keys.destroy("psk");
    reported();
    expect(store.toldSalt).toEqual({ salt: FIRST, saltProof: undefined });
    await answered(SECOND);
    expect(store.salts).toEqual([FIRST, ""]);
  });
});
