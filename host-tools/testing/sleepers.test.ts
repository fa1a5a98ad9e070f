/** Devices that sleep between their deliveries, in the virtual world: `Device.deliver` over days, faults and power cuts. */
import { describe, expect, it } from "vitest";
import type { Program } from "../../sdk/device/program.js";
import { makeDevice, virtualWorld, type VirtualTestDevice } from "./index.js";
import "./vitest.js";

const SLEEP_MS = 600_000;
const HOUR_MS = 3_600_000;
/** The default of `withinMs`, and the goodbye. */
const LONGEST_MS = 25_000;

/** Numbers its readings, and notes how long each waking took. */
function sleeping(): { program: Program; awakeMs: number[]; sensors: { reading: () => number }; read: () => number } {
  let read = 0;
  const awakeMs: number[] = [];
  const program: Program = ({ device, scheduler, clock, sensor }) => {
    const wake = async (): Promise<void> => {
      const begunMs = clock.monotonicMs();
      await device.deliver([{ topic: "up/reading", payload: String(sensor("reading")) }]);
      awakeMs.push(clock.monotonicMs() - begunMs);
      scheduler.after(SLEEP_MS, () => void wake());
    };
    return wake();
  };
  return { program, awakeMs, sensors: { reading: () => (read += 1) }, read: () => read };
}

describe("a sleeper", () => {
  it("is awake for less than two seconds in ten minutes, and renews its certificate on the way", async () => {
    const world = virtualWorld({ seed: "sleeper", deviceLifetimeMs: 12 * HOUR_MS });
    const { awakeMs, read, ...made } = sleeping();
    const device = await makeDevice(world, { id: "sensor-1", start: false, keepSessions: true, ...made });
    await world.pass(48 * HOUR_MS);
    // The broker refuses every third ticket, and each new certificate begins with a full handshake.
    const wakings = device.history.filter((event) => event.type === "connected");
    expect(wakings.filter(({ resumed }) => resumed).length / wakings.length).toBeGreaterThan(0.6);
    expect(world.received.filter(({ topic }) => topic === "devices/sensor-1/up/reading").map(({ text }) => Number(text))).toEqual(
      Array.from({ length: read() }, (_, i) => i + 1),
    );
    expect(read()).toBeGreaterThan(280);
    expect([...awakeMs].sort((a, b) => a - b)[Math.floor(awakeMs.length / 2)]).toBeLessThan(2_000);
    expect(device.history.filter(({ type }) => type === "renewed").length).toBeGreaterThan(3);
    expect(device).not.toHaveUsedPsk();
  });

  it.each(Array.from({ length: 20 }, (_, seed) => String(seed)))(
    "loses nothing to faults and power cuts, and is never awake for long: seed %s",
    async (seed) => {
      const world = virtualWorld({ seed, deviceLifetimeMs: 12 * HOUR_MS });
      const { awakeMs, read, ...made } = sleeping();
      let device: VirtualTestDevice = await makeDevice(world, {
        id: "sensor-1",
        start: false,
        config: { outbox: { persistent: true } },
        keepSessions: Number(seed) % 2 === 0,
        ...made,
      });
      // Periods that share no divisor with the sleep meet the wakings at ever other moments; the seed moves them.
      for (let step = 0; step < 60; step++) {
        const turn = step + Number(seed);
        device.network.blackHole = turn % 5 === 1;
        device.network.dns = turn % 7 === 2 ? "silent" : "works";
        device.network.reach = turn % 11 === 3 ? "refused" : "works";
        if (turn % 4 === 0) device.network.resetLinks();
        await world.pass(601_000 + 37 * (turn % 20));
        if (turn % 3 === 0) device = await device.reboot();
        // Into the waking that the boot began.
        await world.pass(1 + ((turn * 29) % 400));
        if (turn % 6 === 0) device = await device.reboot();
      }
      device.network.blackHole = false;
      device.network.dns = "works";
      device.network.reach = "works";
      await world.pass(2 * SLEEP_MS);
      const arrived = new Set(world.received.map(({ text }) => text));
      const missing = Array.from({ length: read() }, (_, i) => String(i + 1)).filter((reading) => !arrived.has(reading));
      expect(missing).toEqual([]);
      expect(Math.max(...awakeMs)).toBeLessThanOrEqual(LONGEST_MS);
    },
  );
});
