/**
 * Which labels were made, by the CA's audit trail: a reprint is known, and a label on the wrong box is found out by scanning it. Secrets
 * are kept as hashes only.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FILES } from "../ca-directory/directory-layout.js";
import { parseObject } from "../ca-directory/registry-entry.js";
import { sha256Hex } from "./payloads.js";

export const LABEL_EVENT = "label-made";

export interface LoggedLabel {
  readonly id: string;
  readonly at: string;
  readonly kind: string;
  /** SHA-256 of what the code says, lower-case hex. */
  readonly payloadSha256: string;
  /** 1 for the first of this device, and so on. */
  readonly copy: number;
}

/** Every label in the trail, in order. Read as it stands: `hawser ca verify` proves it. */
export function labelsOf(directory: string): LoggedLabel[] {
  const found: LoggedLabel[] = [];
  for (const line of readFileSync(join(directory, FILES.audit), "utf8").split("\n")) {
    if (!line.includes(`"${LABEL_EVENT}"`)) continue;
    const { event, name, at, kind, payloadSha256, copy } = parseObject(line) ?? {};
    if (event !== LABEL_EVENT || typeof name !== "string" || typeof payloadSha256 !== "string") continue;
    found.push({ id: name, at: String(at), kind: String(kind), payloadSha256, copy: Number(copy) });
  }
  return found;
}

export type ScanVerdict =
  /** The newest label of this device. */
  | { readonly verdict: "current"; readonly label: LoggedLabel }
  /** A label of this device that a later one replaced. */
  | { readonly verdict: "replaced"; readonly label: LoggedLabel; readonly by: LoggedLabel }
  | { readonly verdict: "unknown" };

/** What a scanned text is: compared as a whole with every label made. */
export function judgeScan(labels: readonly LoggedLabel[], scanned: string): ScanVerdict {
  const hash = sha256Hex(scanned.trim());
  const latestFirst = [...labels].reverse();
  const label = latestFirst.find(({ payloadSha256 }) => payloadSha256 === hash);
  if (label === undefined) return { verdict: "unknown" };
  const last = latestFirst.find(({ id, kind }) => id === label.id && kind === label.kind) ?? label;
  return last.payloadSha256 === hash ? { verdict: "current", label } : { verdict: "replaced", label, by: last };
}
