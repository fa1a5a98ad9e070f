/** `npm run fuzz`: every reader of foreign bytes against a million inputs. Exit code 1 means a finding; see options.ts for the rest. */
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { errorText } from "../../sim/virtual/cli/arguments.js";
import { readCorpus } from "./inputs.js";
import { readInput, readOptions, USAGE, type FuzzOptions } from "./fuzz-options.js";
import { HEADING, row, tell } from "./fuzz-report.js";
import { runTarget, tryInput, type Report } from "./run.js";
import { findTarget } from "./targets/targets.js";
import { fuzzTls } from "./native-tls-fuzz.js";
import { runWatched, type WorkerOrder } from "./watchdog.js";

const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(options: FuzzOptions | undefined): Promise<number> {
  if (options === undefined) return (process.stdout.write(USAGE), 0);
  if (options.replay !== undefined) return replay(options, options.replay);
  if (options.tls) return fuzzTls(options.inputs ?? 1_000_000, options.seed);
  print(HEADING);
  const { seed, first, forMs } = options;
  let total = 0;
  const findings: string[] = [];
  for (const target of options.targets) {
    const inputs = options.inputs ?? target.inputs;
    const order = { seed, first, inputs, ...(forMs === undefined ? {} : { forMs }) };
    const report = await runWatched(fileURLToPath(import.meta.url), target, order, options.patienceMs);
    total += report.inputs;
    print(row(report));
    findings.push(...report.findings.map(tell));
  }
  print(`${total.toLocaleString("en")} inputs, seed ${seed}: ${findings.length === 0 ? "nothing found" : `${findings.length} findings`}`);
  for (const text of findings) print(text);
  return findings.length === 0 ? 0 : 1;
}

/** In this thread, so that a debugger sees it. */
async function replay(options: FuzzOptions, file: string): Promise<number> {
  const [target] = options.targets;
  if (target === undefined) return 2;
  const input = readInput(file);
  let unhandled: unknown;
  process.on("unhandledRejection", (error) => (unhandled = error));
  const result = await tryInput(await target.open(), input);
  await new Promise((resolve) => setImmediate(resolve));
  const error = "error" in result ? result.error : unhandled;
  if (error === undefined) print("outcome" in result ? result.outcome : "");
  else print(error instanceof Error ? (error.stack ?? String(error)) : String(error));
  return error === undefined ? 0 : 1;
}

async function work({ target: name, order, at }: WorkerOrder): Promise<void> {
  const target = findTarget(name);
  if (target === undefined) throw new Error(`there is no target ${name}`);
  const report: Report = await runTarget(target, readCorpus(name), order, (number) => (at[0] = number));
  parentPort?.postMessage(report);
}

if (isMainThread) {
  try {
    process.exitCode = await main(readOptions(process.argv.slice(2)));
  } catch (error) {
    // 1 is kept for findings.
    process.stderr.write(errorText(error));
    process.exitCode = 2;
  }
} else {
  await work(workerData as WorkerOrder);
}
