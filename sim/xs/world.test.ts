/** The virtual world on XS: the same story as on Node, byte for byte. */
import { beforeAll, describe, expect, it } from "vitest";
import { addUp } from "../virtual/cli/figures.js";
import { FAULT_KINDS } from "../virtual/faults/fault-plan.js";
import { compareWorlds, firstDifference, type ComparedWorld } from "./compare-worlds.js";
import { buildHost } from "./host-build.js";
import type { WorldRequest } from "./world-protocol.js";
import { BITS, no32Bits } from "../../test/support/xs/pointer-sizes.js";

const BUILD_MS = 600_000;
/** HAWSER_XS_WORLDS=100 makes the long run; `npm run world -- --engine xs` plays whole days. */
const SEEDS = Number(process.env["HAWSER_XS_WORLDS"] ?? 40);

/**
 * About five hours of faults. A device that is refused for no reason it can see waits up to half an hour before it goes to PSK
 * (up to an hour where its broker has no TLS 1.3), and must be back in an hour and a quarter.
 */
const world = (seed: string, devices = 1): WorldRequest => ({
  seed,
  devices,
  days: 0.2,
  faults: FAULT_KINDS.map(({ name }) => name),
  backOnlineBoundMs: 75 * 60_000,
});
const differences = (worlds: readonly ComparedWorld[]): unknown[] =>
  worlds.flatMap(({ result, difference }) => (difference ? [{ seed: result.seed, ...difference }] : []));

beforeAll(async () => {
  for (const bits of BITS) await buildHost({ bits });
}, BUILD_MS);

describe("the virtual world on XS", () => {
  it("writes the same event log as on Node, byte for byte, for many seeds with all faults", async () => {
    const requests = Array.from({ length: SEEDS }, (_, index) => world(String(index + 1)));
    const worlds = await compareWorlds(requests, { processes: 2 });
    expect(differences(worlds)).toEqual([]);
    const figures = addUp(worlds.map(({ result }) => result));
    const lines = worlds.reduce((total, each) => total + each.lines, 0);
    const { faultsTotal, connections, rotations, boots, brokenSeeds } = figures;
    process.stdout.write(
      `${worlds.length} worlds: ${lines} lines, ${faultsTotal} faults, ${connections} connections, ${rotations} rotations, ${boots} power-ons\n`,
    );
    // No empty run: every world has something to tell, and most kinds of fault strike.
    expect(worlds.map(({ result }) => result.seed)).toEqual(requests.map(({ seed }) => seed));
    expect(Math.min(...worlds.map((each) => each.lines))).toBeGreaterThanOrEqual(8);
    expect(new Set(worlds.map(({ result }) => result.digest)).size).toBe(SEEDS);
    expect(lines).toBeGreaterThan(100 * SEEDS);
    expect(faultsTotal).toBeGreaterThan(2 * SEEDS);
    expect(Object.keys(figures.faults).length).toBeGreaterThan(0.75 * FAULT_KINDS.length);
    expect(connections).toBeGreaterThan(5 * SEEDS);
    expect(rotations).toBeGreaterThan(0.4 * SEEDS);
    expect(boots).toBeGreaterThan(2 * SEEDS);
    expect(brokenSeeds).toEqual([]);
  }, 600_000);

  it.skipIf(no32Bits)(
    "does so at 32 bits too, with several devices in one world",
    async () => {
      const worlds = await compareWorlds(
        ["small", "words"].map((seed) => world(seed, 3)),
        { bits: 32, processes: 2 },
      );
      expect(differences(worlds)).toEqual([]);
      expect(Math.min(...worlds.map((each) => each.lines))).toBeGreaterThan(100);
    },
    600_000,
  );
});

describe("the comparison", () => {
  it("names the first line that differs, an end that comes early, and figures that differ", async () => {
    const [{ result }] = (await compareWorlds([{ ...world("compare"), days: 0.001 }], { processes: 1 })) as [ComparedWorld];
    const told = (lines: string[], digest = "d") => ({ lines, result: { ...result, digest } });
    expect(firstDifference(told(["a", "b"]), told(["a", "b"]))).toBeUndefined();
    expect(firstDifference(told(["a", "b", "c"]), told(["a", "x", "c"]))).toEqual({ line: 2, before: "a", node: "b", xs: "x" });
    expect(firstDifference(told(["a", "b"]), told(["a"]))).toEqual({ line: 2, before: "a", node: "b", xs: undefined });
    expect(firstDifference(told(["a"]), told(["a"], "e"))).toMatchObject({
      line: 2,
      before: "a",
      node: expect.stringContaining('"d"') as string,
    });
  });
});
