import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "../faults/fault-plan.js";
import { runWorld } from "../node-host.js";
import { comparisonText, differenceText } from "./comparison.js";
import { addUp, figuresText, violationText } from "./figures.js";
import { parseWorldCommand, USAGE } from "./world-options.js";

describe("npm run world", () => {
  it("understands its options", () => {
    const asked = parseWorldCommand("--seed 7 --devices 3 --days 0.5 --faults reset,dns-failure --seeds 2 --timeline --json".split(" "));
    expect(asked).toMatchObject({ command: "run", seed: 7, seeds: 2, devices: 3, days: 0.5, timeline: true, json: true });
    expect(asked.faults.map((kind) => kind.name)).toEqual(["reset", "dns-failure"]);
    expect(parseWorldCommand([]).faults).toBe(FAULT_KINDS);
    expect(parseWorldCommand(["--faults", "none"]).faults).toEqual([]);
    expect(parseWorldCommand(["storm"]).command).toBe("storm");
    expect([parseWorldCommand([]).engine, parseWorldCommand(["--engine", "xs"]).engine]).toEqual(["node", "xs"]);
  });

  it("takes as much as anybody played so far", () => {
    expect(parseWorldCommand(["storm", "--devices", "10000"]).devices).toBe(10_000);
    expect(parseWorldCommand(["--seeds", "1000"]).seeds).toBe(1_000);
    expect(parseWorldCommand(["--devices=1000", "--days=1"])).toMatchObject({ devices: 1_000, days: 1 });
    expect(parseWorldCommand(["--days", "365"]).days).toBe(365);
  });

  it.each([
    ["--seed", "Option '--seed <value>' argument missing"],
    ["--seed x", '--seed wants a whole number from 0 to 1,000,000,000,000,000, not "x"'],
    ["--seed 9007199254740991", "--seed wants a whole number from 0 to 1,000,000,000,000,000"],
    ["--seeds 1e9", '--seeds wants a whole number from 1 to 100,000, not "1e9"'],
    ["--days 0", '--days wants a number from 0.001 to 365, not "0"'],
    ["--days 1e9", '--days wants a number from 0.001 to 365, not "1e9"'],
    ["--devices 0", '--devices wants a whole number from 1 to 1,000, not "0"'],
    ["--devices 1e9", '--devices wants a whole number from 1 to 1,000, not "1e9"'],
    ["storm --devices 10001", "--devices wants a whole number from 1 to 10,000"],
    ["--devices 200 --days 10", "200 devices for 10 days exceed the 1,000 device-days allowed in one world", "Run more worlds"],
    ["--faults nope", 'unknown fault "nope"', "Use all, none, or a comma-separated list of: "],
    ["--faults", "Option '--faults <value>' argument missing"],
    ["--faults=", 'unknown fault ""', "Use all, none"],
    ["dance", 'unknown command "dance"; use run, storm, mutations, power-cuts, help'],
    ["run storm", 'one command at a time, not "run" and "storm"'],
    ["--dance", "Unknown option '--dance'"],
    ["--engine jsc", '--engine wants node or xs, not "jsc"'],
    ["storm --engine xs", "--engine xs goes with run, not with storm"],
    ["--engine xs --timeline", "--timeline does not go with --engine xs"],
  ])('refuses "%s", says what is wanted and what to do next', (words, message, nextStep = "Run: npm run world -- --help") => {
    const refused = (): unknown => parseWorldCommand(words.split(" "));
    expect(refused).toThrow(
      expect.objectContaining({
        code: "BAD_ARGUMENT",
        message: expect.stringContaining(message) as string,
        nextStep: expect.stringContaining(nextStep) as string,
      }),
    );
  });

  it("names every kind of fault to whoever asked for one that there is not", () => {
    for (const { name } of FAULT_KINDS)
      expect(() => parseWorldCommand(["--faults", "nope"])).toThrow(
        expect.objectContaining({ nextStep: expect.stringContaining(name) as string }),
      );
  });

  it("names every kind of fault in its help", () => {
    for (const { name } of FAULT_KINDS) expect(USAGE).toContain(name);
  });

  it("adds up what several worlds report", async () => {
    const run = (seed: string) =>
      runWorld({ seed, devices: 1, days: 0.1, faults: FAULT_KINDS.filter((kind) => kind.name === "reset"), backOnlineBoundMs: 600_000 });
    const results = [await run("1"), await run("2")];
    const figures = addUp(results);
    expect(figures.deviceDays).toBeCloseTo(results[0]!.deviceDays + results[1]!.deviceDays);
    expect(figures.faultsTotal).toBe((results[0]!.faults["reset"] ?? 0) + (results[1]!.faults["reset"] ?? 0));
    expect(figures.brokenSeeds).toEqual([]);
    expect(figuresText(figures)).toMatch(/invariants broken {3}none\n$/);
  });

  it("names the seed and how to see it again when something broke", async () => {
    const result = await runWorld({ seed: "9", devices: 1, days: 0.01, faults: [], backOnlineBoundMs: 60_000 });
    const broken = {
      ...result,
      violations: [{ atMs: 61_000, invariant: "order" as const, device: "dev-1", what: "message 2 arrived after 3" }],
    };
    expect(addUp([broken]).brokenSeeds).toEqual(["9"]);
    expect(violationText(broken, "npm run world -- --seed 9")).toBe(
      "seed 9 broke 1 invariant(s):\n  0d 00:01:01.000 dev-1 order: message 2 arrived after 3\n  again: npm run world -- --seed 9\n",
    );
  });

  it("says which seeds are equal on two engines, and where others differ", async () => {
    const result = await runWorld({ seed: "9", devices: 1, days: 0.01, faults: [], backOnlineBoundMs: 60_000 });
    const difference = { line: 3, before: "b", node: "n", xs: undefined };
    const text = comparisonText(
      [
        { result, lines: 5, nodeMs: 10, xsMs: 90 },
        { result: { ...result, seed: "10" }, lines: 4, nodeMs: 10, xsMs: 110, difference },
      ],
      250,
    );
    expect(text).toMatch(/^seeds equal +1 of 2\nseeds unequal +10\nlines compared +9\n/);
    expect(text).toMatch(/time on Node, XS +0\.0 s, 0\.2 s; 0\.3 s in all\n$/);
    expect(differenceText("10", difference, "npm run world")).toBe(
      "seed 10 differs in line 3:\n  before  b\n  Node    n\n  XS      (its log has ended)\n  again: npm run world\n",
    );
  });
});
