import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "../faults/fault-plan.js";
import { drainOnNode, runWorld } from "../node-host.js";
import { drainByTurns } from "../time/virtual-time.js";
import { World } from "./world.js";

/** The first ones, not chosen; `npm run world` plays a thousand. */
const SEEDS = { first: 1, last: 15 };

const logOf = async (seed: string, drain = drainOnNode): Promise<{ lines: string[]; digest: string }> => {
  const lines: string[] = [];
  const result = await new World({ seed, devices: 2, days: 0.5, faults: FAULT_KINDS, drain, onLine: (line) => lines.push(line) }).run();
  return { lines, digest: result.digest };
};

describe("a virtual world", () => {
  it("tells the same story for the same seed, byte for byte", async () => {
    const [one, two] = [await logOf("same"), await logOf("same")];
    expect(one.lines.length).toBeGreaterThan(200);
    expect(two.lines).toEqual(one.lines);
    expect(two.digest).toBe(one.digest);
  });

  it("tells another story for another seed", async () => {
    const [one, two] = [await logOf("one"), await logOf("two")];
    expect(two.digest).not.toBe(one.digest);
  });

  it("does not depend on how the engine lets promises settle", async () => {
    const [macrotask, turns] = [await logOf("engine"), await logOf("engine", drainByTurns)];
    expect(turns.lines).toEqual(macrotask.lines);
  });

  it("keeps every promise under all faults, for many seeds", async () => {
    let deviceDays = 0;
    const kinds = new Set<string>();
    for (let seed = SEEDS.first; seed <= SEEDS.last; seed++) {
      const result = await runWorld({ seed: String(seed), devices: 1, days: 1, faults: FAULT_KINDS });
      expect({ seed, violations: result.violations }).toEqual({ seed, violations: [] });
      deviceDays += result.deviceDays;
      for (const kind of Object.keys(result.faults)) kinds.add(kind);
    }
    expect(deviceDays).toBeGreaterThan(SEEDS.last - SEEDS.first + 1);
    expect(kinds.size).toBeGreaterThan(FAULT_KINDS.length - 4);
  });

  it("lets several devices live in one world without one's bad luck being another's", async () => {
    const result = await runWorld({ seed: "crowd", devices: 8, days: 0.3, faults: FAULT_KINDS });
    expect(result.violations).toEqual([]);
    expect(result.messagesUp).toBeGreaterThan(1_000);
  });

  it("reports what nobody handled", async () => {
    const world = new World({
      seed: "broken",
      devices: 1,
      days: 0.01,
      faults: [],
      drain: drainOnNode,
      backOnlineBoundMs: 60_000,
      script: ({ time }) =>
        time.after(1_000, () => {
          throw new Error("a defect");
        }),
    });
    const { violations } = await world.run();
    expect(violations).toEqual([expect.objectContaining({ invariant: "exception", atMs: 1_000 })]);
  });
});
