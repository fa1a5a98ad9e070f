/**
 * `npm run soak:fleet -- [--devices N] [--minutes N] [--engine embedded|mosquitto]`: a fleet through every fault that a scenario knows, one
 * after the other, while each device renews its certificate about once a minute. Ends with 1 when a message is lost, a device does not come
 * back, or memory grows.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "500" },
    minutes: { type: "string", default: "30" },
    engine: { type: "string", default: "embedded" },
    seed: { type: "string", default: "" },
  },
});
const devices = Number(values.devices);
const durationSeconds = Number(values.minutes) * 60;

/** What happens, and whether it lasts. A passing mosquitto keeps sessions of revoked devices: they are revoked at the embedded broker. */
const FAULTS: readonly (readonly [what: string, lasts: boolean])[] = [
  ["network: { latency: { latency: 200, jitter: 100 } }", true],
  ["broker: down", true],
  ["network: { bandwidth: { rate: 20 } }", true],
  ["network: { reset_peer: { timeout: 50 } }", true],
  ["authority: away", true],
  ["network: { stall: { probability: 0.2, stall: 1000 } }", true],
  ["dns: down", true],
  ["network: { timeout: { timeout: 0 } }", true],
  ["ca: rollover", false],
  ["network: { slicer: { average_size: 20, size_variation: 10, delay: 1 } }", true],
  ["network: { half_open: {} }", true],
  ["broker: restart", false],
  ["network: { slow_close: { delay: 500 } }", true],
  ["clock: +40d", true],
  ["network: { limit_data: { bytes: 6000 } }", true],
  ["network: down", true],
  ["network: { captive_portal: {} }", true],
  ["clock: -1h", true],
  ...(values.engine === "embedded" ? ([["revoke: 5%", false]] as const) : []),
];

/** Each fault has a turn: half of it, then rest. The last ones are for coming back. */
const TURNS = FAULTS.length + 2;

function scenario(): string {
  const turn = durationSeconds / TURNS;
  const events = FAULTS.map(([what, lasts], index) => {
    const at = `at: ${((index + 1) * turn).toFixed(1)}s`;
    return `  - { ${at}, ${what}${lasts ? `, for: ${(turn / 2).toFixed(1)}s` : ""} }`;
  });
  // A short run says more of the engine than of the devices.
  const isLong = durationSeconds >= 1_200;
  return `name: soak of a fleet
fleet:
  devices: ${devices}
  startPerSecond: ${Math.max(20, Math.ceil((2 * devices) / turn))}
  publish: { every: 5s, qos: mixed }
  renewalsPerHour: 60
  retryCap: 10s
broker: { engine: ${values.engine} }
duration: ${durationSeconds}s
drain: 10m
timeline:
${events.join("\n")}
expect:
  - no message lost
  - "at least ${devices} certificates renewed"
  - "at the end: at least 90% online by mtls"
${isLong ? '  - "memory grows by less than 2 KB a device and minute"\n' : ""}`;
}

const CLI = join(import.meta.dirname, "../../host-tools/cli/main.js");
const folder = mkdtempSync(join(tmpdir(), "hawser-soak-"));
try {
  const file = join(folder, "soak.yaml");
  writeFileSync(file, scenario());
  const seed = values.seed === "" ? [] : ["--seed", values.seed];
  const { status } = spawnSync(process.execPath, [CLI, "sim", "scenario", file, ...seed], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
