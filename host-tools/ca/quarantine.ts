/** Quarantine without a person: of devices alone, few an hour, and on the audit trail with the reason and the role before. */
import { HawserError } from "../../sdk/errors.js";
import { readAuditTail } from "../ca-directory/audit-trail.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { parseObject } from "../ca-directory/registry-entry.js";
import { unknownId } from "../ca-directory/registry.js";
import { withSettings } from "./ca-policy.js";
import type { CaContext } from "./context.js";

export interface Quarantine {
  readonly id: string;
  /** A role that the policy names. */
  readonly role: string;
  /** Why: the alert's rule, and what it saw. */
  readonly rule: string;
  readonly observed: string;
  /** At most so many devices within an hour, by the audit trail. */
  readonly perHour: number;
}

export type QuarantineOutcome =
  | { readonly done: true; readonly before: string }
  /** Nothing was changed, and nothing is wrong. */
  | { readonly done: false; readonly reason: string };

const EVENT = "quarantined";
const HOUR_MS = 3_600_000;
const MOST_OBSERVED = 200;
const FIRST_TAIL_BYTES = 1024 * 1024;
/** An hour that fills more than this is not one to act in without a person. */
const MOST_TAIL_BYTES = 64 * 1024 * 1024;

/**
 * @throws HawserError `UNKNOWN_ID`, `NOT_A_DEVICE` for an authority or another client, `INVALID_ROLE`, `POLICY_CUTS_OFF`,
 *   `QUARANTINE_LIMIT`, and those of every change
 */
export function quarantine(ca: CaContext, { id, role, rule, observed, perHour }: Quarantine): Promise<QuarantineOutcome> {
  return ca.store.change((draft): QuarantineOutcome => {
    const entry = draft.entries.get(id);
    if (entry === undefined) throw unknownId(id);
    if (entry.kind !== "device")
      throw new HawserError(
        "NOT_A_DEVICE",
        `${id} is a client (${entry.role}): only devices are put into quarantine`,
        "Look, and use `hawser revoke`.",
      );
    if (entry.role === role) return { done: false, reason: `${id} is in quarantine already` };
    if (entry.state === "revoked") return { done: false, reason: `${id} is shut out already` };
    const changed = withSettings(ca, draft, entry, { attributes: {}, role }, "renewing");
    // Under the CA's lock: two hooks at once do not both take the last place.
    if (countSince(ca.directory.pathOf(FILES.audit), draft.nowMs - HOUR_MS, perHour) >= perHour)
      throw new HawserError(
        "QUARANTINE_LIMIT",
        `${perHour} devices were put into quarantine within the last hour: ${id} was not`,
        "Look first: many at once may be one cause. Then use `hawser policy set --role`, or raise --per-hour.",
      );
    draft.put(changed);
    draft.record({ event: EVENT, name: id, role, before: entry.role, rule, observed: observed.slice(0, MOST_OBSERVED) });
    return { done: true, before: entry.role };
  });
}

/** @returns quarantines since then, by the audit trail; `otherwise` when the trail's end does not reach back so far */
function countSince(path: string, sinceMs: number, otherwise: number): number {
  for (let bytes = FIRST_TAIL_BYTES; bytes <= MOST_TAIL_BYTES; bytes *= 4) {
    const { text, isWhole } = readAuditTail(path, bytes);
    const lines = text.split("\n").slice(isWhole ? 0 : 1);
    if (isWhole || timeOf(lines[0] ?? "") < sinceMs)
      return lines.filter((line) => line.includes(`"event":"${EVENT}"`) && timeOf(line) >= sinceMs).length;
  }
  return otherwise;
}

function timeOf(line: string): number {
  return Date.parse(String(parseObject(line)?.["at"]));
}
