import { describe, expect, it } from "vitest";
import type { HeapSample, ProgramAccount, ProgramFault, ProgramPlan, ProgramReport, TopicSummary } from "../program/program-plan.js";
import { programChecks, programFacts } from "./program-facts.js";

const PLAN: ProgramPlan = {
  file: "/x/main.js",
  source: "main.ts",
  sensors: {},
  pressEveryMs: {},
  commands: [],
  publishesPerSecond: 10,
  growthKilobytes: 64,
};

const account = (id: string, rest: Partial<ProgramAccount> = {}): ProgramAccount => ({
  id,
  published: new Float64Array(),
  givenUp: 0,
  commandsTaken: new Map(),
  filters: [],
  rate: 1,
  ...rest,
});

/** Commands 1 to `count`, each once. */
const numbered = (count: number): Map<number, number> => new Map(Array.from({ length: count }, (_, n) => [n + 1, 1]));

const report = (rest: Partial<ProgramReport> = {}): ProgramReport => ({ faults: [], topics: [], heap: [], devices: 1, ...rest });

const fault = (kind: ProgramFault["kind"], what: string, rest: Partial<ProgramFault> = {}): ProgramFault => ({
  kind,
  what,
  where: "",
  firstId: "a",
  atMs: 1_000,
  count: 1,
  longestMs: 0,
  ...rest,
});

interface Found {
  readonly accounts?: readonly ProgramAccount[];
  readonly reports?: readonly ProgramReport[];
  readonly denied?: readonly ProgramFault[];
  readonly commanded?: Readonly<Record<string, number>>;
}

const factsOf = ({
  accounts = [account("a")],
  reports = [report()],
  denied = [],
  commanded = {},
}: Found): ReturnType<typeof programFacts> =>
  programFacts(PLAN, accounts, reports, denied, new Map(Object.entries(commanded).map(([id, count]) => [id, numbered(count)])));

/** The failed checks and what they say. */
const failures = (found: Found): Record<string, string> =>
  Object.fromEntries(
    programChecks(factsOf(found))
      .filter(({ passed }) => !passed)
      .map(({ name, detail }) => [name, detail]),
  );

const TOO_FAST = "no device publishes more than 10 times a second";
const COMMANDS = "the program takes every command";
const REFUSED = "no message of the program is refused";
const GROWTH = "the program's memory does not grow";

describe("what a run says of a product's program", () => {
  it("says nothing against one that does nothing wrong", () => {
    expect(failures({ accounts: [account("a", { commandsTaken: numbered(2) })], commanded: { a: 2 } })).toEqual({});
  });

  it("names what a worker and what the broker saw refused, and no other check fails", () => {
    const reports = [report({ faults: [fault("refused", "a message to up/x is refused: TOO_LARGE", { count: 2 })] })];
    const denied = [fault("refused", "status/x is denied by the policy", { firstId: "b" })];
    expect(failures({ reports, denied })).toEqual({
      [REFUSED]: "a message to up/x is refused: TOO_LARGE, 2 times, first on a; status/x is denied by the policy, once, first on b",
    });
  });

  it.each([
    ["error", "the program throws nothing"],
    ["block", "the program never blocks the engine for a second"],
  ] as const)("holds an %s against its own check alone", (kind, check) => {
    expect(Object.keys(failures({ reports: [report({ faults: [fault(kind, "x")] })] }))).toEqual([check]);
  });

  it("adds the same fault of two workers up, and names the device that had it first and the longest block", () => {
    const early = fault("block", "the program blocks", { where: "main.ts:3", firstId: "b", atMs: 500, count: 2, longestMs: 1_200 });
    const late = fault("block", "the program blocks", { where: "main.ts:3", firstId: "a", atMs: 900, count: 3, longestMs: 2_500 });
    for (const faults of [
      [early, late],
      [late, early],
    ])
      expect(factsOf({ reports: faults.map((one) => report({ faults: [one] })) }).faults).toEqual([
        { ...early, count: 5, longestMs: 2_500 },
      ]);
  });

  it("shows five faults, the most frequent first, and how many others there are", () => {
    const faults = Array.from({ length: 7 }, (_, n) => fault("error", `e${n}`, { count: n + 1 }));
    const detail = failures({ reports: [report({ faults })] })["the program throws nothing"];
    expect(detail).toMatch(/^e6, 7 times, first on a; e5.*; e2, 3 times, first on a; and 2 others$/);
  });

  it("names the fastest device and how many are too fast; the limit itself is allowed", () => {
    expect(failures({ accounts: [account("a", { rate: 10 })] })).toEqual({});
    expect(failures({ accounts: [account("a", { rate: 10.1 }), account("b", { rate: 25 }), account("c")] })).toEqual({
      [TOO_FAST]: "b is the fastest: 25 a second in its busiest 10 s; 2 devices are above the limit",
    });
  });

  it("tells a device that never subscribes from one that subscribed and missed commands", () => {
    expect(failures({ accounts: [account("a")], commanded: { a: 3 } })).toEqual({
      [COMMANDS]: "3 of 3 were not taken, on 1 devices: a took 0 of 3, and never subscribes",
    });
    const half = account("a", { commandsTaken: numbered(1), filters: ["devices/{id}/down/#"] });
    expect(failures({ accounts: [half], commanded: { a: 3 } })).toEqual({
      [COMMANDS]: "2 of 3 were not taken, on 1 devices: a took 1 of 3, subscribed to devices/{id}/down/#",
    });
  });

  it("does not let commands that one device took twice stand for those that another missed", () => {
    const accounts = [account("a", { commandsTaken: numbered(4) }), account("b", { commandsTaken: numbered(1) })];
    expect(failures({ accounts, commanded: { a: 2, b: 2 } })[COMMANDS]).toMatch(/^1 of 4 were not taken, on 1 devices: b took 1 of 2/);
  });

  it("does not let a command that came twice stand for one that was missed, and allows the copy", () => {
    const twice = account("a", { commandsTaken: new Map([[1, 2]]), filters: ["devices/{id}/down/#"] });
    expect(failures({ accounts: [twice], commanded: { a: 2 } })[COMMANDS]).toMatch(/^1 of 2 were not taken, on 1 devices: a took 1 of 2/);
    expect(failures({ accounts: [twice], commanded: { a: 1 } })).toEqual({});
  });

  it("asks nothing of a device that no command was sent to", () => {
    expect(failures({ accounts: [account("a", { commandsTaken: numbered(1) }), account("b")], commanded: { a: 1 } })).toEqual({});
  });

  it("asks for no command where none was sent", () => {
    expect(programChecks(factsOf({})).map(({ name }) => name)).not.toContain(COMMANDS);
  });

  it("sums a topic up over the workers, and names each filter once", () => {
    const row: TopicSummary = { topic: "up/x", qos: 0, count: 2, leastBytes: 5, mostBytes: 9, example: "first" };
    const other: TopicSummary = { topic: "up/x", qos: 1, count: 3, leastBytes: 3, mostBytes: 20, example: "second" };
    const facts = factsOf({
      accounts: [account("a", { filters: ["down/b", "down/a"] }), account("b", { filters: ["down/a"] })],
      reports: [report({ topics: [row] }), report({ topics: [other, { ...row, topic: "up/a" }] })],
    });
    expect(facts.filters).toEqual(["down/a", "down/b"]);
    expect(facts.topics).toEqual([
      { ...row, topic: "up/a" },
      { topic: "up/x", qos: 1, count: 5, leastBytes: 3, mostBytes: 20, example: "first" },
    ]);
  });
});

describe("the growth of a program's memory", () => {
  const MEGABYTE = 2 ** 20;
  /** A sample every 2 s from the moment that all devices run. */
  const heap = (count: number, bytesAt: (seconds: number) => number, devices = 2): HeapSample[] =>
    Array.from({ length: count }, (_, n) => ({ atMs: n * 2_000, devices, bytes: bytesAt(n * 2) }));
  const grown = (...samples: HeapSample[][]): Found => ({ reports: samples.map((one) => report({ heap: one, devices: 2 })) });

  it("is told of a device and minute, and fails above the limit where it is steady", () => {
    // 100 KB a second on two devices.
    const found = grown(heap(12, (seconds) => 40 * MEGABYTE + seconds * 100 * 1024));
    expect(failures(found)).toEqual({ [GROWTH]: "3000 KB a device and minute, steadily; the limit is 64" });
  });

  it("is allowed up to the limit, and summed up over the workers", () => {
    const worker = (kilobytes: number): ProgramReport =>
      report({ heap: heap(12, (seconds) => (seconds * 100 * kilobytes * 1024) / 60, 100), devices: 100 });
    expect(failures({ reports: [worker(60), worker(64)] })).toEqual({});
    expect(failures({ reports: [worker(60), worker(70)] })[GROWTH]).toMatch(/^65 KB/);
  });

  it("is not told of a run that was too short, counted from when all devices run and have settled", () => {
    const leak = (seconds: number): number => seconds * MEGABYTE;
    expect(factsOf(grown(heap(8, leak))).growth).toBeUndefined();
    expect(factsOf(grown(heap(9, leak))).growth).toBeDefined();
    const starting = heap(20, leak).map((sample, n) => ({ ...sample, devices: n < 18 ? 1 : 2 }));
    expect(factsOf(grown(starting)).growth).toBeUndefined();
  });

  it("passes memory that goes up and down, that shrinks, and that moves by less than a process does by itself", () => {
    expect(failures(grown(heap(12, (seconds) => 40 * MEGABYTE + (seconds % 8) * MEGABYTE)))).toEqual({});
    expect(failures(grown(heap(12, (seconds) => 40 * MEGABYTE - seconds * MEGABYTE)))).toEqual({});
    expect(failures(grown(heap(12, (seconds) => 40 * MEGABYTE + seconds * 20 * 1024)))).toEqual({});
  });
});
