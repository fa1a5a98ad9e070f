/** What of a connected device's heap comes at which step: over mutual TLS, 32 bits, code in ROM. */
import { join } from "node:path";
import { XsDevice } from "../../../../sim/xs/xs-device.js";
import { SESSION_HEAP } from "../../../support/xs/budgets.js";
import { deviceSettings } from "../../../support/xs/device-scenario.js";
import type { Plant } from "../../../support/xs/plant.js";
import type { Rows } from "./profile.js";

/** Live heap that each step adds, bytes. */
export async function profileDeviceHeap(plant: Plant, folder: string): Promise<Rows> {
  const device = await XsDevice.start({ folder: join(folder, "device-heap"), bits: 32, heap: SESSION_HEAP });
  const rows: (readonly [step: string, bytes: number])[] = [];
  let before = 0;
  const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    await work();
    const { slotsUsed, slotBytes, chunkBytesUsed } = await device.call("heap", {});
    const used = slotsUsed * slotBytes + chunkBytesUsed;
    rows.push([name, used - before]);
    before = used;
  };
  try {
    await step("empty machine", () => Promise.resolve());
    const identity = await plant.provision("heap-steps", () => device.call("makeKey", { commonName: "heap-steps" }));
    await step("the identity is installed", () => device.call("install", identity));
    await step("the device is made and connected: identity, supervisor, session, TLS", async () => {
      await device.call("start", { settings: { ...deviceSettings(plant, 5), outbox: { persistent: false } } });
      await device.event("connected");
    });
    await step("it has subscribed", () => device.call("subscribe", { filter: "down/#", options: { qos: 1 } }));
    await device.call("stop", {});
    return rows.slice(1);
  } finally {
    device.kill();
    await device.exited;
  }
}
