/** Says whether what was scanned is the current label of a device. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { openCaParts } from "../../ca/ca-without-passphrase.js";
import { judgeScan, labelsOf } from "../../labels/label-log.js";
import { readLabel } from "../../labels/payloads.js";
import type { Context } from "../command-runner.js";

export interface LabelCheckOptions {
  dir: string;
  scanFile?: string;
  device?: string;
  json?: boolean;
}

export async function labelCheck({ dir, scanFile, device }: LabelCheckOptions, { terminal }: Context): Promise<void> {
  openCaParts(dir);
  const scanned =
    readFileSync(scanFile ?? 0, "utf8")
      .split(/\r?\n/)[0]
      ?.trim() ?? "";
  const found = judgeScan(labelsOf(dir), scanned);
  if (found.verdict === "unknown") {
    const id = readLabel(scanned)?.id;
    throw new HawserError(
      "LABEL_WRONG",
      `no label with this code was made here${id === undefined ? "" : `, although it names ${id}`}`,
      "Make the device's label again.",
    );
  }
  const { label } = found;
  if (device !== undefined && label.id !== device)
    throw new HawserError("LABEL_WRONG", `this is the label of ${label.id}, not of ${device}`, "Put the right label on the box.");
  if (found.verdict === "replaced")
    throw new HawserError(
      "LABEL_WRONG",
      `this label of ${label.id} was replaced on ${found.by.at.slice(0, 10)}`,
      "Destroy it, and use the newer one.",
    );
  terminal.result({ verdict: "current", device: label.id, kind: label.kind, madeAt: label.at, copy: label.copy }, [
    `Current ${label.kind} label of ${label.id}.`,
  ]);
}
