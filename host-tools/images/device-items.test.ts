/** What an image holds, the device finds: the SDK its records, and the chip's own key store (C, over Mbed TLS) its keys. */
import "reflect-metadata";
import { createPublicKey, verify } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { issueFor, TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { NativeDevice } from "../../test/native/harness.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { deviceItems, KEYS_NAMESPACE, nameOfUid, readDeviceItems } from "./device-items.js";
import { newNvsKeys } from "./nvs-keys.js";
import { readNvsImage } from "./nvs-reader.js";
import { buildNvsImage } from "./nvs-writer.js";

let native: NativeDevice;
beforeAll(async () => {
  native = await NativeDevice.create();
});
afterAll(() => native?.remove());

async function identity(): Promise<Parameters<typeof deviceItems>[0]> {
  const keyStore = memoryKeyStore();
  keyStore.generate("key-a");
  const chain = [await issueFor(keyStore.csr("key-a", "sensor-1"))];
  return {
    id: "sensor-1",
    role: "sensor",
    pskIdentity: "sensor-1",
    chain,
    privateKey: keyStore.signingKey("key-a"),
    trustAnchors: [TEST_ANCHOR],
    psk: Buffer.alloc(32, 0x5a),
  };
}

describe("a device's NVS image", () => {
  it("gives the SDK its identity and the chip's key store its keys, once decrypted", async () => {
    const made = await identity();
    const keys = newNvsKeys();
    const { items, problems } = readNvsImage(buildNvsImage({ sizeBytes: 0x10000, items: deviceItems(made), keys }), keys);
    expect(problems).toEqual([]);
    expect(readDeviceItems(items)).toMatchObject({
      device: { id: "sensor-1", role: "sensor", pskIdentity: "sensor-1" },
      hasKey: true,
      hasPsk: true,
    });

    // A device that has been in use goes on with the key that brokers take now.
    const used = deviceItems({ ...made, salts: ["5a".repeat(16), ""] });
    expect(Buffer.from(used.find(({ key }) => key === "identity")?.value as Uint8Array).toString()).toContain(
      `"salts":["${"5a".repeat(16)}",""]`,
    );

    const topics = { base: "sites/b1/sensor-1", identity: "fleet/sensor-1" };
    expect(readDeviceItems(deviceItems({ ...made, topics }))?.topics).toEqual(topics);
    expect(readDeviceItems(items)?.topics).toEqual({ base: "devices/sensor-1", identity: "devices/sensor-1/identity" });

    // On Linux PSA's records are files named by their number, with a header of their own instead of ESP-IDF's.
    expect(nameOfUid(0x485700n)).toBe("AAAAAAAAEQVYA");
    for (const item of items.filter(({ namespace }) => namespace === KEYS_NAMESPACE)) {
      const record = Buffer.from(item.value as Uint8Array);
      const header = Buffer.concat([Buffer.from("HAWSITS1"), record.subarray(8, 12), record.subarray(4, 8)]);
      const uid = item.key === nameOfUid(0x485700n) ? 0x485700 : 0x485708;
      await native.keys("has", "key-a");
      await writeFile(join(native.keyFolder, uid.toString(16).padStart(16, "0")), Buffer.concat([header, record.subarray(12)]), {
        mode: 0o600,
      });
    }
    const publicKey = (await native.keys("public", "key-a")).bytes;
    expect(publicKey.equals(createPublicKey(made.privateKey!).export({ type: "spki", format: "der" }))).toBe(true);
    const signature = (await native.keys("sign", "key-a", "0102")).bytes;
    expect(verify("sha256", Buffer.of(1, 2), { key: createPublicKey(made.privateKey!), dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    expect((await native.keys("has", "psk")).has).toBe(true);
  });

  it("may hold a pre-shared key alone: the device makes its own key and enrols", () => {
    const items = deviceItems({
      id: "sensor-1",
      role: "sensor",
      pskIdentity: "sensor-1",
      psk: Buffer.alloc(32, 1),
      trustAnchors: [TEST_ANCHOR],
    });
    expect(readDeviceItems(items)).toMatchObject({ hasKey: false, hasPsk: true });
    expect(readDeviceItems(items)?.serial).toBeUndefined();
  });

  it("is not made for a key that does not belong to the certificate", async () => {
    const [one, other] = [await identity(), await identity()];
    expect(() => deviceItems({ ...one, ...(other.privateKey && { privateKey: other.privateKey }) })).toThrow(
      expect.objectContaining({ code: "KEY_MISMATCH" }),
    );
  });
});
