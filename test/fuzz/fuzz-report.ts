/** What the fuzzer prints: a row for each target, and for each finding how to see it again. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Finding, Report } from "./run.js";

const FOLDER = join(".cache", "fuzz");
const MEGABYTE = 1_048_576;

export const HEADING = `${"target".padEnd(14)}${"inputs".padStart(10)}${"inputs/s".padStart(10)}${"heap growth".padStart(13)}  outcomes`;

export function row({ target, inputs, elapsedMs, growthBytes, outcomes }: Report): string {
  const sorted = [...outcomes].sort(([, one], [, other]) => other - one);
  const rate = Math.round(inputs / Math.max(0.001, elapsedMs / 1_000));
  const growth = `${(growthBytes / MEGABYTE).toFixed(1)} MB`;
  return `${target.padEnd(14)}${inputs.toLocaleString("en").padStart(10)}${rate.toLocaleString("en").padStart(10)}${growth.padStart(13)}  ${sorted.map(([name, count]) => `${name} ${count}`).join(", ")}`;
}

/** Keeps the input of a finding in a file. @returns the lines that tell of it */
export function tell({ target, kind, number, input, what }: Finding): string {
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, `${target}-${kind}-${createHash("sha256").update(input).digest("hex").slice(0, 8)}`);
  writeFileSync(file, input);
  return [
    `\n${target}: ${kind} at input ${number} (${input.length} bytes, in ${file})`,
    what,
    `again: npm run fuzz -- --target ${target} --replay ${file}`,
  ].join("\n");
}
