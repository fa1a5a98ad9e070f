/** Devices that have their certificates issued by a way that leads through no broker, through all faults. */
import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "../faults/fault-plan.js";
import { runWorld } from "../node-host.js";

const SEEDS = 5;
const HOUR_MS = 3_600_000;
const IDENTITY = ["authority-down", "authority-refuses", "authority-defective", "authority-slow", "authority-clock-wrong", "renewal-asked"];

describe("a device that enrols elsewhere", () => {
  it.each([
    ["all faults", FAULT_KINDS],
    ["an authority that is late, silent, wrong or refuses", FAULT_KINDS.filter(({ name }) => IDENTITY.includes(name))],
  ])("keeps every promise under %s, with certificates of six hours", { timeout: 180_000 }, async (_, faults) => {
    let rotations = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const device = { recoverable: false, elsewhere: true, bare: seed % 3 === 0 } as const;
      const result = await runWorld({
        seed: `elsewhere ${seed}`,
        devices: 1,
        days: 1,
        faults,
        traits: { world: { lifetimeMs: 6 * HOUR_MS }, device },
      });
      expect({ seed, violations: result.violations }).toEqual({ seed, violations: [] });
      rotations += result.rotations;
    }
    expect(rotations).toBeGreaterThan(SEEDS * 4);
  });
});
