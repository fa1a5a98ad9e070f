/**
 * What a device costs at 32 bits with its code in ROM, beside what it may cost: `measureBudgets` for the bench, and bars for the tests.
 * The figures are the engine's own, so they do not depend on the machine.
 */
import { join } from "node:path";
import type { HeapFigures } from "../../../sim/xs/host-natives.js";
import { bundleDeviceProgram, XsDevice } from "../../../sim/xs/xs-device.js";
import { base64 } from "./device-driver.js";
import { deviceSettings } from "./device-scenario.js";
import type { Plant } from "./plant.js";

/** 16 KiB of chunks, 40 KiB of slots, 8 KiB of stack: 64 KiB. */
export const SESSION_HEAP = { chunkBytes: 16_384, slotCount: 2_560, stackSlots: 512 } as const;

export interface Budget {
  name: string;
  value: number;
  target: number;
  unit: "bytes" | "byte codes";
}

const MESSAGES = 20;
const PAYLOAD_BYTES = 128;

/** One mTLS session with messages of QoS 1, in a heap of 64 KiB. Throws `XS_ENDED` when that is not enough. */
export async function measureBudgets(plant: Plant, folder: string, id: string): Promise<Budget[]> {
  const { library } = await bundleDeviceProgram(join(folder, "bundle"));
  const device = await XsDevice.start({ folder: join(folder, "device"), bits: 32, heap: SESSION_HEAP });
  try {
    const empty = await device.call("heap", {});
    await device.call("install", await plant.provision(id, () => device.call("makeKey", { commonName: id })));
    await device.call("start", { settings: { ...deviceSettings(plant, 5), outbox: { persistent: false } } });
    await device.event("connected");
    await device.call("subscribe", { filter: "down/#", options: { qos: 1 } });
    const connected = await device.call("heap", {});
    for (let n = 0; n < MESSAGES; n++)
      await device.call("publish", { topic: "up/a", payload: base64("x".repeat(PAYLOAD_BYTES)), options: { qos: 1 } });
    const end = await device.call("heap", {});
    await device.call("stop", {});
    return [
      {
        name: "bundle, minified (its target is a lean one's: npm run bench:bundle)",
        value: library.sizeBytes,
        target: 112_640,
        unit: "bytes",
      },
      {
        name: "live heap, connected and subscribed, beyond the empty machine",
        value: usedBytes(connected) - usedBytes(empty),
        target: 20_480,
        unit: "bytes",
      },
      { name: "heap of a whole mTLS QoS 1 session", value: heapBytes(), target: 65_536, unit: "bytes" },
      {
        name: "a QoS 1 message of 128 bytes, command and answer included",
        value: Math.round((end.meter - connected.meter) / MESSAGES),
        target: Infinity,
        unit: "byte codes",
      },
    ];
  } finally {
    device.kill();
    await device.exited;
  }
}

/** What the firmware gives XS on the chip: manifest.json, `static`. */
const CHIP_HEAP = { chunkBytes: 49_152, slotCount: 2_560, stackSlots: 512 } as const;
/** More than a device keeps, in fewer messages than mosquitto has in flight at once. */
const FLOOD = { messages: 60, payloadBytes: 4_000, keptBytes: 20_000 } as const;

/**
 * A device in the heap of the chip whose application reads none of 240,000 bytes of commands, and then all.
 * @returns its heap while nobody reads, beyond the empty machine, and what it read in the end, in order
 */
export async function measureUnread(plant: Plant, folder: string, id: string): Promise<{ unread: Budget; read: string[]; sent: string[] }> {
  const device = await XsDevice.start({ folder: join(folder, "unread"), bits: 32, heap: CHIP_HEAP });
  const used = async (): Promise<number> => usedBytes(await device.call("heap", {}));
  try {
    const empty = await used();
    await device.call("install", await plant.provision(id, () => device.call("makeKey", { commonName: id })));
    await device.call("start", { settings: { ...deviceSettings(plant, 5), outbox: { persistent: false } } });
    await device.event("connected");
    await device.call("subscribe", { filter: "down/#", options: { qos: 1 }, unread: true });
    const connected = await used();
    const sent = Array.from({ length: FLOOD.messages }, (_, n) => `${n} `.padEnd(FLOOD.payloadBytes, "x"));
    await plant.flood(id, "a", sent);
    let most = 0;
    while (most < connected + FLOOD.keptBytes) most = Math.max(most, await used());
    // It reads no more: whatever the broker would still send stays in the socket.
    for (let again = 0; again < 20; again++) most = Math.max(most, await used());
    await device.call("read", {});
    await device.line((line) => "message" in line && line.message.payload === base64(sent.at(-1) ?? ""));
    const read = device.output.flatMap((line) => ("message" in line ? [Buffer.from(line.message.payload, "base64").toString()] : []));
    await device.call("stop", {});
    const unread = {
      name: "live heap while nobody reads 240,000 bytes of commands, beyond the empty machine",
      value: most - empty,
      target: 65_536,
      unit: "bytes",
    } as const;
    return { unread, read, sent };
  } finally {
    device.kill();
    await device.exited;
  }
}

function usedBytes(heap: HeapFigures): number {
  return heap.slotsUsed * heap.slotBytes + heap.chunkBytesUsed;
}

function heapBytes(): number {
  return SESSION_HEAP.chunkBytes + 16 * (SESSION_HEAP.slotCount + SESSION_HEAP.stackSlots);
}
