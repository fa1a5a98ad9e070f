/** The whole device on XS, with native TLS and keys, against a real plant: the same life, event for event, as on Node. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from "vitest";
import { buildHost } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { base64, NodeDriver, type DeviceDriver } from "../../test/support/xs/device-driver.js";
import { deviceSettings, playDeviceLife } from "../../test/support/xs/device-scenario.js";
import { Plant } from "../../test/support/xs/plant.js";
import { XsDevice } from "./xs-device.js";
import { BITS, no32Bits } from "../../test/support/xs/pointer-sizes.js";

const BUILD_MS = 600_000;

const folder = mkdtempSync(join(tmpdir(), "hawser-xs-device-"));
const devices: XsDevice[] = [];
let plant: Plant;

beforeAll(async () => {
  for (const bits of BITS) await buildHost({ bits, native: await nativeParts(bits) });
  plant = await Plant.build();
}, BUILD_MS);

afterAll(async () => {
  for (const device of devices) {
    device.kill();
    await device.exited;
  }
  await plant.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startXs(name: string, bits: 32 | 64): Promise<XsDevice> {
  const device = await XsDevice.start({ folder: join(folder, name), bits });
  devices.push(device);
  return device;
}

/** What the device said is shown when the test fails. */
function tellWhatHappened(device: DeviceDriver): void {
  onTestFailed(() => void process.stderr.write(`${device.output.map((line) => JSON.stringify(line)).join("\n")}\n`));
}

describe("a device's life against mosquitto", () => {
  it.each([5, 4] as const)("is the same on XS at 32 and 64 bits as on Node, in protocol version %i", async (protocolVersion) => {
    const node = new NodeDriver();
    tellWhatHappened(node);
    const onNode = await playDeviceLife(node, plant, { id: `node-v${protocolVersion}`, protocolVersion });
    for (const bits of BITS) {
      const device = await startXs(`life-${bits}-${protocolVersion}`, bits);
      tellWhatHappened(device);
      expect(await playDeviceLife(device, plant, { id: `xs${bits}-v${protocolVersion}`, protocolVersion })).toEqual(onNode);
    }
    expect(onNode).toContain("recovered");
  });
});

describe("a device on XS that is killed", () => {
  it("goes on with its identity, and delivers what it had accepted", async () => {
    const id = "killed";
    const first = await startXs(id, no32Bits === undefined ? 32 : 64);
    await first.call("install", await plant.provision(id, () => first.call("makeKey", { commonName: id })));
    await first.call("start", { settings: deviceSettings(plant, 5) });
    await first.event("connected");
    await plant.killBroker();
    await first.event("disconnected");
    for (const n of [1, 2, 3])
      await first.call("publish", { topic: `up/kept/${n}`, payload: base64(`${n}`), options: { qos: 1, queue: true, retain: true } });
    first.kill();
    await first.exited;
    await plant.startBroker();
    const second = await startXs(id, no32Bits === undefined ? 32 : 64);
    await second.call("start", { settings: deviceSettings(plant, 5) });
    await second.event("connected");
    for (const n of [1, 2, 3]) await plant.telemetry(id, `kept/${n}`, `${n}`);
    await second.call("stop", {});
  });

  it("keeps records and keys from other users", () => {
    const device = join(folder, "killed");
    for (const name of ["records", "keys"]) {
      expect(statSync(join(device, name)).mode & 0o077).toBe(0);
      for (const file of readdirSync(join(device, name))) expect(statSync(join(device, name, file)).mode & 0o077).toBe(0);
    }
  });
});
