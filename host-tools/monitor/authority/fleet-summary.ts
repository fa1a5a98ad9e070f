/** What a CA directory says of its devices: states, certificates that end soon, and the enrolments of the last hour. */
import { join } from "node:path";
import { isOverdue, partsExpiry } from "../../ca/expiry.js";
import type { Expiry } from "../../ca/expiry.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import type { CaView } from "../../ca/ca-without-passphrase.js";
import { readAuditTail } from "../../ca-directory/audit-trail.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { readRevision } from "../../ca-directory/change-journal.js";
import { FILES } from "../../ca-directory/directory-layout.js";
import { parseObject } from "../../ca-directory/registry-entry.js";
import type { NameSummary } from "../../ca-directory/registry-entry.js";
import { currentCertificate } from "../../ca-directory/state-transitions.js";
import { readRegularFile } from "../../../sim/node/files/safe-path.js";
import { revocationListsOf } from "../../doctor/certificate-files.js";

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
const MOST_CRL_BYTES = 64 * 1024 * 1024;
/** A fleet that enrols all day changes its CA all day: reading it takes no more than this part of the time. */
const MOST_OF_TIME = 1 / 20;

/** What Prometheus is told of a CA. No part of it names anybody. */
export interface FleetFacts {
  readonly devices: Readonly<Record<DeviceState, number>>;
  /** When the CA's certificates end. */
  readonly notAfterMs: Readonly<Partial<Record<CertificateKind, number>>>;
  readonly crlNextUpdateMs: number;
  readonly crlEntries: number;
}

export const DEVICE_STATES = ["active", "overdue", "recovery", "revoked", "unfinished"] as const;
/**
 * `overdue`: should have renewed its certificate by now. `recovery`: comes back with its pre-shared key alone. `unfinished`: reserved, and
 * never provisioned to the end.
 */
export type DeviceState = (typeof DEVICE_STATES)[number];

export const CERTIFICATE_KINDS = ["root", "issuing", "broker"] as const;
export type CertificateKind = (typeof CERTIFICATE_KINDS)[number];

/** Read again only after a change of the CA: with many names that takes a while. */
export class Fleet {
  readonly #directory: string;
  #read: { readonly revision: string; readonly view: CaView; readonly trail: string } | undefined;
  readonly #monotonicMs: () => number;
  #nextReadMs = 0;

  constructor(directory: string, monotonicMs = (): number => performance.now()) {
    this.#directory = directory;
    this.#monotonicMs = monotonicMs;
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

  /** Throws as {@link summary}. */
  facts(nowMs: number): FleetFacts {
    const { view } = this.#present();
    const { states } = view.find({ kind: "device" }, 0);
    const isLate = (name: NameSummary): boolean => isOverdue(currentCertificate(name), nowMs);
    const overdue = view.find({ kind: "device", states: ["active"], isWanted: isLate }, 0).count;
    const ends = partsExpiry(view, nowMs).filter((part): part is Expiry & { what: CertificateKind } => isKind(part.what));
    return {
      devices: {
        active: (states.active ?? 0) - overdue,
        overdue,
        recovery: states["certificate-revoked"] ?? 0,
        revoked: states.revoked ?? 0,
        unfinished: states.reserved ?? 0,
      },
      notAfterMs: Object.fromEntries(ends.map(({ what, notAfterMs }) => [what, notAfterMs])),
      crlNextUpdateMs: view.crlNextUpdateMs,
      crlEntries: this.#crlEntries(),
    };
  }

  /** Certificates on the lists, each once: during a rollover two lists have them all. */
  #crlEntries(): number {
    const { bytes } = readRegularFile(join(this.#directory, FILES.crl), MOST_CRL_BYTES);
    return new Set((revocationListsOf(bytes.toString("latin1")) ?? []).flatMap(({ serials }) => [...serials])).size;
  }

  #present(): { readonly view: CaView; readonly trail: string } {
    const { number, auditHash } = readRevision(new CaDirectory(this.#directory));
    // Read before what it stands for: a change meanwhile is read twice rather than missed.
    const revision = `${number} ${auditHash}`;
    if (this.#read === undefined || (this.#read.revision !== revision && this.#monotonicMs() >= this.#nextReadMs)) {
      const startedMs = this.#monotonicMs();
      const view = openCaReadOnly(this.#directory, "used");
      this.#read = { revision, view, trail: readAuditTail(join(this.#directory, FILES.audit), TAIL_BYTES).text };
      const endedMs = this.#monotonicMs();
      this.#nextReadMs = endedMs + (endedMs - startedMs) / MOST_OF_TIME;
    }
    return this.#read;
  }
}

function isKind(what: Expiry["what"]): what is CertificateKind {
  return (CERTIFICATE_KINDS as readonly string[]).includes(what);
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
