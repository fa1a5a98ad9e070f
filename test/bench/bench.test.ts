/** The bench at its smallest, as its users run it: so that it cannot rot. Nothing is said about speed here. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Result } from "./measure.js";
import type { Target } from "./bench-report.js";

interface Report {
  machine: { node: string; cores: number };
  mqttJs: string;
  settings: object;
  results: Result[];
  targets: Target[];
}

const SMALLEST = ["--rounds", "1", "--messages", "40", "--connections", "20"];

// Below the project, so that packages are found.
const directory = mkdtempSync(fileURLToPath(new URL("../../node_modules/.hawser-bench-", import.meta.url)));
const program = join(directory, "main.js");

beforeAll(async () => {
  writeFileSync(join(directory, "package.json"), '{"type":"module"}');
  const entryPoints = ["main.ts", "decisions.ts", "bench-policy.ts"].map((file) => fileURLToPath(new URL(file, import.meta.url)));
  await build({
    entryPoints,
    outdir: directory,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "error",
  });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function bench(...options: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, ...SMALLEST, ...options]);
  expect(stderr).toBe("");
  return stdout;
}

function expectMeasured(results: readonly Result[]): void {
  for (const { hawser, theirs, ratio, smallestRatio, largestRatio } of results) {
    for (const value of [hawser, theirs, ratio]) expect(Number.isFinite(value)).toBe(true);
    expect(smallestRatio).toBeLessThanOrEqual(ratio);
    expect(largestRatio).toBeGreaterThanOrEqual(ratio);
  }
}

it.concurrent("npm run bench:decisions asks a decision point on schedule, and every answer is right", async () => {
  const run = (...options: string[]): Promise<{ stdout: string }> =>
    promisify(execFile)(process.execPath, [join(directory, "decisions.js"), ...options]);
  const { stdout } = await run("--rate", "50", "--seconds", "1", "--devices", "3", "--json");
  expect(JSON.parse(stdout)).toMatchObject({
    settings: { rate: 50, seconds: 1, devices: 3 },
    questions: 50,
    wrong: 0,
    ms: { p99: expect.any(Number) as number },
  });
  await expect(run("--rate", "0")).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--rate wants a whole number") as string,
  });
});

it.concurrent(
  "npm run bench:policy checks, compiles, and changes a device under a mosquitto that runs",
  async () => {
    const options = ["--devices", "300", "--live", "3", "--json"];
    const { stdout } = await promisify(execFile)(process.execPath, [join(directory, "bench-policy.js"), ...options]);
    expect(JSON.parse(stdout)).toMatchObject({
      settings: { devices: 300, live: 3 },
      measured: Array.from({ length: 4 }, () => ({ cpuMs: expect.any(Number) as number, wallMs: expect.any(Number) as number })),
    });
  },
  300_000,
);

describe("npm run bench", () => {
  it("measures every level both ways, round trips and idle connections, plain and mTLS, against the sink", async () => {
    const { machine, mqttJs, results, targets } = JSON.parse(await bench("--only", "sink", "--json")) as Report;
    expect(machine.node).toBe(process.version);
    expect(mqttJs).toBe("5.16.0");
    expectMeasured(results);
    const flows = ["publish", "receive"].flatMap((kind) =>
      [0, 1, 2].flatMap((qos) => ["32 B", "1 KiB"].map((size) => `${kind} QoS ${qos}, ${size}`)),
    );
    for (const transport of ["plain", "mTLS"]) {
      const named = (what: string): string[] =>
        results.filter((result) => result.what === what && result.name.includes(transport)).map(({ name }) => name);
      expect(named("CPU")).toEqual(flows.map((flow) => `${flow}, ${transport}, sink`));
      expect(named("wall")).toHaveLength(2);
      expect(named("heap")).toEqual([`idle connection, ${transport}, sink`]);
      expect(named("RSS")).toEqual(named("heap"));
    }
    for (const { rival, target, floor } of results.filter(({ rival }) => rival === "MQTT.js"))
      expect({ rival, hasFloor: floor !== undefined }).toEqual({ rival, hasFloor: target !== undefined });
    expect(targets).toHaveLength(2 * (4 + 1 + 2));
  });

  it("measures against a mosquitto of its own too, and ends with what was to be reached", async () => {
    const lines = (await bench("--only", "mTLS, mosquitto")).trimEnd().split("\n");
    expect(lines[0]).toMatch(/^median of 1 rounds +Hawser +MQTT\.js +ratio \(spread\)$/);
    expect(
      lines.filter((line) =>
        /^(publish|receive) QoS [012], (32 B|1 KiB), mTLS, mosquitto, CPU +[\d.]+ us +[\d.]+ us +[\d.]+ \([\d.]+\.\.[\d.]+\)$/.test(line),
      ),
    ).toHaveLength(12);
    expect(lines.at(-1)).toMatch(/^(met|missed) +round trip QoS 1, 32 B, mTLS, mosquitto, wall: \d+ us, at most 300 us$/);
  });

  it.concurrent.each([
    [["--bogus"], "Unknown option '--bogus'. Next: Run: npm run bench -- --help."],
    [["--only"], "Option '--only <value>' argument missing. Next: "],
    [["--rounds", "0"], '--rounds wants a whole number from 1 to 1,000, not "0". Next: '],
    [["--messages", "1e9"], '--messages wants a whole number from 1 to 10,000,000, not "1e9". Next: '],
    [["--quick=3"], "Option '--quick' does not take an argument. Next: "],
    [
      ["--only", "nothing-like-this"],
      'the name of no row contains "nothing-like-this"; a name is, for one, "publish QoS 0, 32 B, plain, sink". Next: Give some of these, as in the name: publish QoS 0, ',
    ],
  ])("refuses %j in one line and ends with 2", async (args, line) => {
    const refused = (await promisify(execFile)(process.execPath, [program, ...args]).catch((error: unknown) => error)) as {
      code: number;
      stdout: string;
      stderr: string;
    };
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain(`error BAD_ARGUMENT: ${line}`);
    expect(refused.stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  it("explains its options when asked", async () => {
    const help = await bench("--help");
    for (const option of ["--quick", "--only TEXT", "--json", "--rounds N", "--messages N", "--connections N"])
      expect(help).toContain(`\n  ${option} `);
  });
});
