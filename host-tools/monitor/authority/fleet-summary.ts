/** What a CA directory says of its devices: states, certificates that end soon, and the enrolments of the last hour. */
import { join } from "node:path";
import { openCaReadOnly } from "../../ca/read-only.js";
import type { CaView } from "../../ca/read-only.js";
import { readAuditTail } from "../../ca-directory/audit-trail.js";
import { readRevision } from "../../ca-directory/change-journal.js";
import { FILES } from "../../ca-directory/directory-layout.js";
import { parseObject } from "../../ca-directory/registry-entry.js";
import { currentCertificate } from "../../ca-directory/state-transitions.js";

export interface FleetSummary {
  readonly names: number;
  readonly states: Readonly<Record<string, number>>;
  /** Valid certificates that end within two weeks, or have ended. */
  readonly expiring: { readonly count: number; readonly first: readonly { readonly name: string; readonly notAfterMs: number }[] };
  readonly enrolments: { readonly issued: number; readonly refused: number };
}

export const EXPIRING_MS = 14 * 86_400_000;
const HOUR_MS = 3_600_000;
/** Of the audit trail's end; an hour of a large fleet's enrolments. */
const TAIL_BYTES = 1024 * 1024;
const MOST_SHOWN = 5;

/** Read again only after a change of the CA: with many names that takes a while. */
export class Fleet {
  readonly #directory: string;
  #read: { readonly revision: string; readonly view: CaView; readonly trail: string } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Nothing is proved: whoever may write the CA's files decides what this says.
   * @throws HawserError as `openCaReadOnly`; the system's errors
   */
  summary(nowMs: number): FleetSummary {
    const { view, trail } = this.#present();
    const { count, states } = view.find({}, 0);
    const expiring = view.find({ endsBeforeMs: nowMs + EXPIRING_MS, sort: "expiry" }, MOST_SHOWN);
    const first = expiring.first.map((entry) => ({ name: entry.name, notAfterMs: currentCertificate(entry)?.notAfterMs ?? nowMs }));
    return { names: count, states, expiring: { count: expiring.count, first }, enrolments: enrolmentsSince(trail, nowMs - HOUR_MS) };
  }

  #present(): { readonly view: CaView; readonly trail: string } {
    const { number, auditHash } = readRevision(this.#directory);
    // Read before what it stands for: a change meanwhile is read twice rather than missed.
    const revision = `${number} ${auditHash}`;
    if (this.#read?.revision !== revision) {
      const view = openCaReadOnly(this.#directory, "used");
      this.#read = { revision, view, trail: readAuditTail(join(this.#directory, FILES.audit), TAIL_BYTES).text };
    }
    return this.#read;
  }
}

/** @param trail the end of an audit trail; its first line may be half a line */
export function enrolmentsSince(trail: string, sinceMs: number): FleetSummary["enrolments"] {
  let [issued, refused] = [0, 0];
  for (const line of trail.split("\n")) {
    if (!line.includes('"event":"enrol')) continue;
    const { event, at } = parseObject(line) ?? {};
    if (!(Date.parse(String(at)) >= sinceMs)) continue;
    if (event === "enrolled") issued += 1;
    if (event === "enrolment-refused") refused += 1;
  }
  return { issued, refused };
}
