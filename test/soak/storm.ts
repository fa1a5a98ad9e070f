/**
 * `npm run soak:storm -- [--devices N] [--away SECONDS] [--after SECONDS] [--predictions N]`: a fleet on a real mosquitto that is killed
 * and stays away; the curve of its return beside what the virtual world predicts for the same file, and beside MQTT.js, which tries again
 * each second. Ends with 1 when peak or return differ from the prediction by more than 20 %, or when a message of the SDK's is lost.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { FleetResult } from "../../sim/fleet/fleet-result.js";
import { stormCurve } from "./storm-curve.js";
import type { StormCurve } from "./storm-curve.js";

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "2000" },
    away: { type: "string", default: "60" },
    /** How long the run goes on after the broker's return. */
    after: { type: "string", default: "180" },
    /** Between the last device's start and the outage. */
    settle: { type: "string", default: "10" },
    /** Seeds of the virtual world whose mean is the prediction. */
    predictions: { type: "string", default: "2" },
  },
});
const devices = Number(values.devices);
const [awaySeconds, afterSeconds, settleSeconds] = [Number(values.away), Number(values.after), Number(values.settle)];
const STARTS_PER_SECOND = 50;
const outageAt = Math.ceil(devices / STARTS_PER_SECOND) + settleSeconds;
const BOUND = 0.2;

const CLI = join(import.meta.dirname, "../../host-tools/cli/main.js");
const folder = mkdtempSync(join(tmpdir(), "hawser-storm-"));

function scenario(client: string): string {
  const file = join(folder, `${client}.yaml`);
  writeFileSync(
    file,
    `name: reconnect storm
fleet:
  devices: ${devices}
  client: ${client}
  startPerSecond: ${STARTS_PER_SECOND}
  publish: { every: 60s, qos: 1 }
  recovery: false
broker: { engine: mosquitto }
duration: ${outageAt + awaySeconds + afterSeconds}s
timeline:
  - { at: ${outageAt}s, name: outage, broker: down, for: ${awaySeconds}s }
expect: [${client === "hawser" ? "no message lost" : '"at the end: at least 0% online"'}]
`,
  );
  return file;
}

async function play(what: string, file: string, ...options: string[]): Promise<{ curve: StormCurve; passed: boolean }> {
  process.stderr.write(`${what}\n`);
  const result = join(folder, "result.json");
  rmSync(result, { force: true });
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, "sim", "scenario", file, "--result", result, ...options], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
    });
    child.on("error", reject);
    // Its code is that of the expectations, which the result names.
    child.on("close", () => resolve());
  });
  const read = JSON.parse(readFileSync(result, "utf8")) as FleetResult;
  return { curve: stormCurve(read), passed: read.passed };
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;

/** One curve out of several: a device that chance let wait longest is then no more than one of many. */
function meanCurve(curves: readonly StormCurve[]): StormCurve {
  const [first] = curves;
  if (first === undefined) throw new Error("no prediction");
  const times = curves.map(({ backMs }) => backMs ?? Infinity);
  return {
    peakPerSecond: mean(curves.map(({ peakPerSecond }) => peakPerSecond)),
    backMs: mean(times),
    attemptsPerDevice: mean(curves.map(({ attemptsPerDevice }) => attemptsPerDevice)),
    points: first.points.map(({ atMs }, index) => ({
      atMs,
      online: mean(curves.map(({ points }) => points[index]?.online ?? devices)),
      attemptsPerSecond: mean(curves.map(({ points }) => points[index]?.attemptsPerSecond ?? 0)),
    })),
  };
}

function row(name: string, { peakPerSecond, backMs, attemptsPerDevice }: StormCurve): string {
  const back = backMs === undefined || backMs === Infinity ? "never" : `${(backMs / 1_000).toFixed(1)} s`;
  return `${name.padEnd(26)} ${peakPerSecond.toFixed(1).padStart(8)} ${attemptsPerDevice.toFixed(1).padStart(20)} ${back.padStart(12)}`;
}

try {
  const file = scenario("hawser");
  const predictions: StormCurve[] = [];
  for (let seed = 1; seed <= Number(values.predictions); seed++)
    predictions.push((await play(`virtual world, seed ${seed}`, file, "--virtual", "--seed", String(seed))).curve);
  const real = await play("mosquitto, Hawser", file);
  const other = await play("mosquitto, MQTT.js", scenario("mqttjs"));
  const predicted = meanCurve(predictions);

  const lines = [
    `${devices} devices over mTLS, mosquitto killed for ${awaySeconds} s`,
    "",
    `${"".padEnd(26)} ${"peak/s".padStart(8)} ${"attempts per device".padStart(20)} ${"99 % back".padStart(12)}`,
    row("Hawser, predicted", predicted),
    row("Hawser, measured", real.curve),
    row("MQTT.js, fixed 1 s", other.curve),
    "",
    "seconds after the return: online predicted / measured / MQTT.js; attempts per second",
    ...predicted.points.map(({ atMs, online, attemptsPerSecond }, index) => {
      const points = [real.curve.points[index], other.curve.points[index]];
      const text = (of: (point: NonNullable<(typeof points)[0]>) => number): string =>
        points.map((point) => (point ? of(point).toFixed(0) : "-").padStart(6)).join(" ");
      return `${String(atMs / 1_000).padStart(5)} ${online.toFixed(0).padStart(6)} ${text((point) => point.online)}   ${attemptsPerSecond.toFixed(0).padStart(6)} ${text((point) => point.attemptsPerSecond)}`;
    }),
    "",
  ];
  const ratios = {
    peak: real.curve.peakPerSecond / predicted.peakPerSecond,
    "99 % back": (real.curve.backMs ?? Infinity) / (predicted.backMs ?? Infinity),
  };
  let failed = !real.passed;
  if (failed) lines.push("FAILED: a message of the SDK's was lost");
  for (const [name, ratio] of Object.entries(ratios)) {
    const isNear = Math.abs(ratio - 1) <= BOUND;
    failed ||= !isNear;
    lines.push(`${isNear ? "passed" : "FAILED"} ${name}: measured / predicted ${ratio.toFixed(2)}`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  process.exitCode = failed ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
