/** The command line of the fuzzer. */
import { parseArgs } from "node:util";
import { findTarget, TARGETS } from "./targets/targets.js";
import type { Target } from "./target.js";
import { PATIENCE_MS } from "./watchdog.js";

export const USAGE = `npm run fuzz -- [options]
  --target NAME   only this one: ${TARGETS.map(({ name }) => name).join(", ")}, or tls (the native engine under sanitizers; needs gcc and mosquitto)
  --inputs N      so many inputs for each target (default: ${TARGETS.reduce((sum, { inputs }) => sum + inputs, 0).toLocaleString("en")} shared out among all)
  --minutes M     stop after so long, shared out evenly; without --inputs as many inputs as fit
  --seed S        other inputs (default 1)
  --first N       begin with input N of the seed
  --replay FILE   only the input in this file; needs --target
  --patience S    an input that takes so many seconds of the processor is a hang (default ${PATIENCE_MS / 1_000})`;

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

/** What the user asked for cannot be done. */
export class UsageError extends Error {}

/** @throws UsageError */
export function readOptions(args: readonly string[]): FuzzOptions {
  const { values } = parse(args);
  const target = values.target === undefined ? undefined : findTarget(values.target);
  const tls = values.target === "tls";
  if (values.target !== undefined && target === undefined && !tls) throw new UsageError(`there is no target ${values.target}`);
  if (values.replay !== undefined && target === undefined) throw new UsageError("--replay needs the --target that the input is for");
  const inputs = whole("inputs", values.inputs);
  const minutes = values.minutes === undefined ? undefined : positive("minutes", values.minutes);
  const targets = target ? [target] : tls ? [] : TARGETS;
  return {
    targets,
    tls,
    inputs: inputs ?? (minutes === undefined ? undefined : Number.MAX_SAFE_INTEGER),
    forMs: minutes === undefined ? undefined : (minutes * 60_000) / Math.max(1, targets.length),
    seed: values.seed ?? "1",
    first: whole("first", values.first) ?? 0,
    replay: values.replay,
    patienceMs: values.patience === undefined ? PATIENCE_MS : positive("patience", values.patience) * 1_000,
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({ args: [...args], options: { target: text, inputs: text, minutes: text, seed: text, first: text, replay: text, patience: text } });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && value < Infinity) return value;
  throw new UsageError(`--${name} ${text} is no number above 0`);
}

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll(/[_,]/g, ""));
  if (!Number.isSafeInteger(value) || value < 0) throw new UsageError(`--${name} ${text} is no whole number`);
  return value;
}
