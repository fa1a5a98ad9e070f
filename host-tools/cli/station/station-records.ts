/** What is done with a station's ledger while the station rests: summaries, re-work, replacement. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { Ledger } from "../../station/factory/ledger.js";
import { summarizeShift, verifySummary } from "../../station/factory/shift-summary.js";
import type { SignedSummary } from "../../station/factory/shift-summary.js";
import type { Context } from "../command-runner.js";

interface StationOptions {
  station: string;
  json?: boolean;
}

/** @returns the file's path */
export function writeSummaryFile(directory: string): { file: string; summary: SignedSummary } {
  const summary = summarizeShift(directory);
  const file = join(directory, `summary-${summary.to.replace(/[:.]/g, "-")}.json`);
  writeFileAtomic(file, `${JSON.stringify(summary, null, 2)}\n`);
  return { file, summary };
}

export function writeSummary({ station }: StationOptions, { terminal }: Context): Promise<void> {
  const { file, summary } = writeSummaryFile(station);
  const { operator, order, passed, failed } = summary;
  terminal.result({ file, operator, order, passed: passed.length, failed: failed.length }, [
    `Order ${order}, ${operator}: ${passed.length} passed, ${failed.length} failed. Wrote ${file}.`,
  ]);
  return Promise.resolve();
}

export function verifySummaryFile(
  { station, summary, key }: StationOptions & { summary: string; key?: string },
  { terminal }: Context,
): Promise<void> {
  const proved = verifySummary(station, readFileSync(summary, "utf8"), key === undefined ? undefined : readFileSync(key, "utf8"));
  const { operator, order, passed, failed, publicKey } = proved;
  terminal.result({ operator, order, passed: passed.length, failed: failed.length, publicKey }, [
    `The summary is this station's, and its ledger agrees: order ${order}, ${operator}, ${passed.length} passed, ${failed.length} failed.`,
  ]);
  return Promise.resolve();
}

type ReopenOptions = StationOptions & { id: string; operator: string; reason: string };

export function rework(options: ReopenOptions, context: Context): Promise<void> {
  reopen("rework", options);
  context.terminal.result({ id: options.id }, [`${options.id} may be provisioned again: plug the board in.`]);
  return Promise.resolve();
}

export function replace(options: ReopenOptions, context: Context): Promise<void> {
  reopen("replace", options);
  context.terminal.result({ id: options.id }, [`The next new board at this station becomes ${options.id}.`]);
  return Promise.resolve();
}

function reopen(event: "rework" | "replace", { station, id, operator, reason }: ReopenOptions): void {
  const ledger = Ledger.open(station);
  try {
    if (ledger.board(id) === undefined)
      throw new HawserError(
        "UNKNOWN_ID",
        `the ledger in ${station} has no board ${id}`,
        "Name the station that made the board with --station.",
      );
    ledger.append({ event, id, by: operator, reason });
  } finally {
    ledger.close();
  }
}
