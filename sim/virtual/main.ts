/** `npm run world`: see {@link USAGE}. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import { addUp, figuresText, violationText } from "./cli/figures.js";
import { parseWorldCommand, USAGE, type WorldCommand } from "./cli/world-options.js";
import { FAULT_KINDS } from "./faults/fault-plan.js";
import { runWorld } from "./node-host.js";
import type { WorldResult } from "./world/world.js";

const print = (text: string): void => void process.stdout.write(text);
/** A sign of life on a terminal, milliseconds. */
const PROGRESS_EVERY_MS = 5_000;

async function runWorlds(asked: WorldCommand): Promise<number> {
  const results: WorldResult[] = [];
  let shownAtMs = Date.now();
  for (let seed = asked.seed; seed < asked.seed + asked.seeds; seed++) {
    const onLine = asked.timeline && !asked.json ? { onLine: (line: string): void => print(`${line}\n`) } : {};
    const result = await runWorld({ seed: String(seed), devices: asked.devices, days: asked.days, faults: asked.faults, ...onLine });
    results.push(result);
    if (result.violations.length > 0 && !asked.json) print(violationText(result, again(asked, seed)));
    if (process.stderr.isTTY && Date.now() - shownAtMs > PROGRESS_EVERY_MS) {
      shownAtMs = Date.now();
      process.stderr.write(`${results.length} of ${asked.seeds} seeds\n`);
    }
  }
  const figures = addUp(results);
  if (asked.json) print(`${JSON.stringify({ ...figures, digests: results.map(({ digest }) => digest), violations: results.flatMap(({ seed, violations }) => violations.map((one) => ({ seed, ...one }))) })}\n`);
  else print(figuresText(figures));
  return figures.brokenSeeds.length === 0 ? 0 : 1;
}

function again({ devices, days, faults }: WorldCommand, seed: number): string {
  const names = faults === FAULT_KINDS ? "all" : faults.map((kind) => kind.name).join(",") || "none";
  return `npm run world -- --seed ${seed} --devices ${devices} --days ${days} --faults ${names} --timeline`;
}

async function main(): Promise<number> {
  const asked = parseWorldCommand(process.argv.slice(2));
  if (asked.command === "help") print(USAGE);
  else if (asked.command === "run") return runWorlds(asked);
  return 0;
}

main().then(
  (exitCode) => (process.exitCode = exitCode),
  (error: unknown) => {
    process.stderr.write(`${errorCode(error)}: ${errorMessage(error)}\n`);
    process.exitCode = 2;
  },
);
