/** `hawser/testing`, as a firmware developer uses it: a real broker, virtual time, matchers, and what stays behind (nothing). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Program } from "../../sdk/device/program.js";
import { makeDevice, startBroker, virtualWorld, type TestBroker } from "./index.js";
import "./vitest.js";

const thermometer: Program = async ({ device, scheduler, sensor, onButton }) => {
  const report = (): void =>
    void device.publish("up/temperature", JSON.stringify({ celsius: sensor("temperature") }), { qos: 1, queue: true });
  const again = (): void => {
    report();
    scheduler.after(60_000, again);
  };
  onButton("report", report);
  again();
  for await (const { payload } of device.subscribe("down/echo", { qos: 1 }))
    await device.publish("up/echo", payload, { qos: 1, queue: true });
};

describe("a real broker", () => {
  let broker: TestBroker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(() => broker.stop());

  it("runs a program with its sensors, buttons and commands", async () => {
    const device = await makeDevice(broker, { id: "sensor-1", program: thermometer, sensors: { temperature: 21.5 } });
    await expect(broker).toReceive("devices/sensor-1/up/temperature", { celsius: 21.5 });
    device.setSensor("temperature", 30);
    expect(device.press("report")).toBe(1);
    await expect(broker).toReceive("devices/+/up/temperature", { celsius: 30 });
    await broker.publish("devices/sensor-1/down/echo", "hello");
    await expect(broker).toReceive("devices/sensor-1/up/echo", /^hel/);
    expect(broker).toHaveReceivedTimes(1, "devices/sensor-1/up/echo");
    expect(device.programErrors).toEqual([]);
  });

  it("renews, survives the broker's death and a reboot, and recovers from a revocation", async () => {
    const device = await makeDevice(broker, { id: "sensor-2" });
    await expect(device).toBeOnline();
    device.renew();
    await expect(device).toReport("renewed");
    await broker.killBroker();
    await expect(device).toReport("disconnected", { wasConnected: true });
    await broker.startBroker();
    await expect(device).toBeOnline();
    expect(device).not.toHaveUsedPsk();
    await broker.revoke("sensor-2");
    await expect(device).toReport("recovered");
    expect(device).toHaveUsedPsk();
    const again = await device.reboot();
    await expect(again).toBeOnline();
  });

  it("names what a program threw, and what was seen instead of what was expected", async () => {
    const device = await makeDevice(broker, { program: ({ sensor }) => sensor("pressure") });
    expect(device.programErrors).toMatchObject([{ code: "UNKNOWN_INPUT" }]);
    await expect(expect(broker).toReceive("devices/nobody/up/#", "x", { withinMs: 50 })).rejects.toThrow(
      /devices\/nobody\/up\/# with x did not happen within 50 ms\. Seen instead: .*sensor-/s,
    );
    await expect(broker).not.toReceive("devices/nobody/up/#", undefined, { withinMs: 50 });
  });
});

it("leaves no directory and no memory of its CA behind", async () => {
  const memory = join(process.env["HAWSER_STATE_DIR"] ?? "", "ca");
  const remembered = (directory: string): string[] =>
    readdirSync(memory).filter((name) => readFileSync(join(memory, name), "utf8").includes(directory));
  const broker = await startBroker();
  const own = broker.caDirectory;
  expect(remembered(own)).toHaveLength(2);
  await broker.stop();
  expect(existsSync(own)).toBe(false);
  expect(remembered(own)).toEqual([]);
});

describe("the virtual world", () => {
  it("plays a day of a program in an instant, the same each time", async () => {
    const play = async (): Promise<string[]> => {
      const world = virtualWorld({ seed: "a day", deviceLifetimeMs: 12 * 3_600_000 });
      const device = await makeDevice(world, {
        id: "sensor-1",
        program: thermometer,
        sensors: { temperature: () => world.nowMs / 3_600_000 },
      });
      await world.pass(24 * 3_600_000);
      await expect(world).toReceive("devices/sensor-1/up/temperature", { celsius: 1 });
      await expect(device).toReport("renewed");
      expect(device).not.toHaveUsedPsk();
      return world.received.map(({ topic, text }) => `${topic} ${text}`);
    };
    const [one, two] = [await play(), await play()];
    expect(one).toEqual(two);
    expect(one.length).toBeGreaterThan(1_440);
  });

  it("cuts power, network and certificates", async () => {
    await using world = virtualWorld();
    const device = await makeDevice(world, {
      program: thermometer,
      sensors: { temperature: 20 },
      config: { outbox: { persistent: true } },
    });
    await expect(device).toBeOnline();
    device.network.blackHole = true;
    await expect(device).toReport("disconnected", { code: "KEEPALIVE_TIMEOUT" });
    device.network.blackHole = false;
    device.press("report");
    const again = await device.reboot();
    await expect(again).toBeOnline();
    await world.revoke(again.id);
    await expect(again).toReport("recovered", {}, { withinMs: 3_600_000 });
    await world.shutOut(again.id);
    await world.pass(3_600_000);
    await expect(again).not.toBeOnline();
    expect(again.programErrors).toEqual([]);
  });

  it("ends with the error that a program's timer threw", async () => {
    const world = virtualWorld();
    await makeDevice(world, { program: ({ scheduler, sensor }) => void scheduler.after(1_000, () => sensor("pressure")) });
    await expect(world.pass(2_000)).rejects.toMatchObject({ code: "UNKNOWN_INPUT" });
  });
});
