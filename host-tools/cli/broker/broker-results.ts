/** What happened at each configured broker, as commands tell it. */
import { HawserError } from "../../../sdk/errors.js";
import type { OutputResult } from "../../ca/broker-sync.js";
import type { Json } from "../terminal.js";

/** Problems that a command tells in its own result instead of as warnings. */
export const BROKER_PROBLEMS = [
  "OUTPUT_NEWER",
  "OUTPUT_TAKEN",
  "OUTPUT_REFUSED",
  "OUTPUT_NOT_RELOADED",
  "OUTPUT_UNPROVED",
  "SESSIONS_NOT_ENDED",
  "STORAGE_FAILED",
  "STORAGE_FULL",
];

export function brokersJson(results: readonly OutputResult[]): Json {
  return results.map(({ directory, loaded, ended, held, problem }) => ({
    broker: directory,
    filesLoaded: loaded === true,
    sessionsEnded: [...ended],
    held: [...held],
    ...(problem === undefined ? {} : { problem: { code: problem.code, message: problem.message } }),
  }));
}

/** One line a broker. */
export function brokerLines(results: readonly OutputResult[]): string[] {
  return results.map(({ directory, loaded, ended, problem }) => {
    if (problem !== undefined) return `  broker in ${directory}: NOT PROVED: ${problem.message}`;
    if (loaded !== true) return `  broker in ${directory}: files written; no broker answers`;
    return `  broker in ${directory}: files loaded${ended.length === 0 ? "" : `, sessions ended (${ended.join(", ")})`}`;
  });
}

/**
 * @param done what holds in spite of it, as the beginning of a sentence
 * @throws HawserError `OUTPUT_FAILED` when something could not be proved at a broker
 */
export function checkBrokers(results: readonly OutputResult[], done: string): void {
  const failed = results.filter(({ problem }) => problem !== undefined && problem.code !== "OUTPUT_GONE");
  const first = failed[0]?.problem;
  if (first === undefined) return;
  const others = failed.length === 1 ? "" : ` (and ${failed.length - 1} more)`;
  throw new HawserError(
    "OUTPUT_FAILED",
    `${done} at the broker in ${failed[0]?.directory ?? ""}${others}: ${first.message}`,
    first.nextStep,
  );
}
