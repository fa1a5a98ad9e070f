/** The command line of the fuzzer. */
import { readFileSync } from "node:fs";
import { CommandLine, rangeText, type Range } from "../../sim/virtual/cli/arguments.js";
import { findTarget, TARGETS } from "./targets/targets.js";
import type { Target } from "./fuzz-target.js";
import { PATIENCE_MS } from "./watchdog.js";

const INPUTS: Range = { lowest: 1, highest: 1e12 };
const MINUTES: Range = { lowest: 0.01, highest: 10_000 };
const SEED: Range = { lowest: 0, highest: 1e15 };
const FIRST: Range = { lowest: 0, highest: 1e12 };
const PATIENCE_SECONDS: Range = { lowest: 0.1, highest: 3_600 };
const TARGET_NAMES = [...TARGETS.map(({ name }) => name), "tls"].join(", ");

export const USAGE = `npm run fuzz -- [options]
  --target NAME   only this one: ${TARGET_NAMES} (the native engine under sanitizers; needs gcc and mosquitto)
  --inputs N      so many inputs for each target (default: ${TARGETS.reduce((sum, { inputs }) => sum + inputs, 0).toLocaleString("en")} shared out among all)
  --minutes M     stop after so long, shared out evenly, ${rangeText(MINUTES)}; without --inputs as many inputs as fit
  --seed S        other inputs; a whole number (default 1)
  --first N       begin with input N of the seed
  --replay FILE   only the input in this file; needs --target
  --patience S    an input that takes so many seconds of the processor is a hang, ${rangeText(PATIENCE_SECONDS)} (default ${PATIENCE_MS / 1_000})

Exit codes: 0 nothing found; 1 a finding; 2 nothing was fuzzed, or not to the end: a bad command line, a file that cannot be read
`;

export interface FuzzOptions {
  readonly targets: readonly Target[];
  readonly tls: boolean;
  readonly inputs: number | undefined;
  readonly forMs: number | undefined;
  readonly seed: string;
  readonly first: number;
  readonly replay: string | undefined;
  readonly patienceMs: number;
}

const COMMAND_LINE = new CommandLine("npm run fuzz");

const TEXT = { type: "string" } as const;
const OPTIONS = {
  target: TEXT,
  inputs: TEXT,
  minutes: TEXT,
  seed: TEXT,
  first: TEXT,
  replay: TEXT,
  patience: TEXT,
  help: { type: "boolean", short: "h" },
} as const;
/** The engine's own fuzzer knows nothing of these. */
const NOT_WITH_TLS = ["minutes", "first", "replay", "patience"] as const;

/** @returns undefined when help is asked for. Throws HawserError `BAD_ARGUMENT`. */
export function readOptions(args: readonly string[]): FuzzOptions | undefined {
  const { values } = COMMAND_LINE.parse({ args: [...args], options: OPTIONS });
  if (values.help === true) return undefined;
  const tls = values.target === "tls";
  const target = values.target === undefined || tls ? undefined : targetOf(values.target);
  const misplaced = NOT_WITH_TLS.find((name) => tls && values[name] !== undefined);
  if (misplaced !== undefined) throw COMMAND_LINE.bad(`--${misplaced} does not go with --target tls`);
  if (values.replay !== undefined && target === undefined) throw COMMAND_LINE.bad("--replay needs the --target that the input is for");
  const number = (name: "minutes" | "patience", range: Range): number | undefined =>
    values[name] === undefined ? undefined : COMMAND_LINE.number(`--${name}`, values[name], range);
  const whole = (name: "inputs" | "first" | "seed", range: Range): number | undefined =>
    values[name] === undefined ? undefined : COMMAND_LINE.wholeNumber(`--${name}`, values[name], range);
  const minutes = number("minutes", MINUTES);
  const targets = target ? [target] : tls ? [] : TARGETS;
  return {
    targets,
    tls,
    inputs: whole("inputs", INPUTS) ?? (minutes === undefined ? undefined : INPUTS.highest),
    forMs: minutes === undefined ? undefined : (minutes * 60_000) / Math.max(1, targets.length),
    seed: String(whole("seed", SEED) ?? 1),
    first: whole("first", FIRST) ?? 0,
    replay: values.replay,
    patienceMs: (number("patience", PATIENCE_SECONDS) ?? PATIENCE_MS / 1_000) * 1_000,
  };
}

/**
 * The input to replay.
 * @throws HawserError `BAD_ARGUMENT`
 */
export function readInput(file: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(file));
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = { ENOENT: "is not there", EISDIR: "is a folder" }[code] ?? `cannot be read (${code})`;
    throw COMMAND_LINE.bad(
      `--replay ${JSON.stringify(file)}: this file ${why}`,
      "Give a file of .cache/fuzz/, where findings are kept, or of test/fuzz/corpus/",
    );
  }
}

function targetOf(name: string): Target {
  const target = findTarget(name);
  if (target === undefined) throw COMMAND_LINE.bad(`there is no target ${JSON.stringify(name)}`, `Give one of these: ${TARGET_NAMES}`);
  return target;
}
