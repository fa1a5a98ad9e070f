/**
 * The doctor's examination of a fleet, by its CA directory: certificates, revocation, names and the brokers' files. Needs no passphrase and
 * changes nothing. AWS Device Defender's audit list is the floor; what it sees of live connections belongs to the live check.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isOverdue } from "../../ca/expiry.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import type { CaView } from "../../ca/ca-without-passphrase.js";
import type { ListedName } from "../../ca-directory/registry.js";
import { FILES } from "../../ca-directory/directory-layout.js";
import { certificatesOf, revocationListsOf } from "../certificate-files.js";
import { sortFindings } from "../finding.js";
import type { DoctorReport, Finding, Note, Severity } from "../finding.js";
import { auditMosquitto } from "../mosquitto/mosquitto-audit.js";
import { ruleOf } from "../rule-book.js";
import type { RuleId } from "../rule-book.js";

const DAY_MS = 86_400_000;
const AUTHORITY_WARNING_MS = 90 * DAY_MS;
const BROKER_WARNING_MS = 14 * DAY_MS;
const CRL_WARNING_MS = 2 * DAY_MS;
/** Long lists tire: each kind of finding names this many names. */
const NAMES_SHOWN = 5;

/** @throws HawserError as `openCaReadOnly` */
export function auditFleet(directory: string, brokerVersion: string, nowMs: number): DoctorReport {
  const view = openCaReadOnly(directory);
  const audit = new FleetAudit(view, nowMs);
  audit.authorities();
  audit.revocation();
  audit.names();
  audit.brokers(brokerVersion);
  const names = view.list();
  return {
    kind: "fleet",
    target: directory,
    broker: `fleet of ${view.name},`,
    version: `${names.length} names`,
    findings: sortFindings(audit.findings),
    notes: audit.notes,
    checked: [`${names.length} names`, `${view.outputs.length} broker configurations`],
  };
}

class FleetAudit {
  readonly findings: Finding[] = [];
  readonly notes: Note[] = [];

  constructor(
    readonly view: CaView,
    readonly nowMs: number,
  ) {}

  #find(id: RuleId, what: string, severity: Severity = ruleOf(id).severity, fix: readonly string[] = []): void {
    this.findings.push({ id, severity, what, fix, edits: [] });
  }

  #file(name: string): string {
    return readFileSync(join(this.view.directory, name), "utf8");
  }

  authorities(): void {
    const kinds = [
      [FILES.root, "The root CA", AUTHORITY_WARNING_MS],
      [FILES.issuing, "The issuing CA", AUTHORITY_WARNING_MS],
      [FILES.brokerChain, "The broker's certificate", BROKER_WARNING_MS],
    ] as const;
    for (const [file, who, warningMs] of kinds) {
      const leaf = certificatesOf(this.#file(file))?.[0];
      if (leaf === undefined) continue;
      const day = dayOf(leaf.notAfterMs);
      if (leaf.notAfterMs <= this.nowMs) this.#find("HW081", `${who} expired on ${day}.`, "critical");
      else if (leaf.notAfterMs - this.nowMs < warningMs) this.#find("HW081", `${who} expires on ${day}.`);
      if (leaf.weakness !== undefined) this.#find("HW084", `${who} is weak: ${leaf.weakness}.`);
    }
  }

  revocation(): void {
    const { crlNextUpdateMs, directory } = this.view;
    const fix = [`hawser ca crl --dir ${directory}`];
    const when = new Date(crlNextUpdateMs).toISOString().slice(0, 16).replace("T", " ");
    if (crlNextUpdateMs <= this.nowMs)
      this.#find("HW083", `The revocation list expired at ${when} UTC: brokers refuse the whole fleet.`, "critical", fix);
    else if (crlNextUpdateMs - this.nowMs < CRL_WARNING_MS) this.#find("HW083", `The revocation list expires at ${when} UTC.`, "high", fix);
    const revoked = new Set((revocationListsOf(this.#file(FILES.crl)) ?? []).flatMap(({ serials }) => [...serials]));
    const forgotten = this.view
      .list()
      .filter(({ certificates }) =>
        certificates.some(
          ({ status, serial, notAfterMs }) => status === "revoked" && notAfterMs > this.nowMs && !revoked.has(bare(serial)),
        ),
      );
    if (forgotten.length > 0)
      this.#find("HW085", `${named(forgotten)}: revoked in the registry, but not in the revocation list.`, "high", fix);
  }

  names(): void {
    const names = this.view.list();
    const active = names.filter(({ state }) => state === "active");
    const expired = active.filter(({ notAfterMs }) => notAfterMs === undefined || notAfterMs <= this.nowMs);
    if (expired.length > 0) this.#find("HW082", `${named(expired)}: active, and without a certificate that is in date.`);
    const overdue = active.filter(
      ({ notBeforeMs, notAfterMs }) =>
        notBeforeMs !== undefined &&
        notAfterMs !== undefined &&
        notAfterMs > this.nowMs &&
        isOverdue({ notBeforeMs, notAfterMs }, this.nowMs),
    );
    if (overdue.length > 0)
      this.#find(
        "HW082",
        `${named(overdue)}: past nine tenths of the certificate's life and not renewed. The device is silent, or its renewal fails.`,
      );
    const waiting = names.filter(({ state }) => state === "certificate-revoked");
    if (waiting.length > 0) this.#find("HW086", `${named(waiting)}: certificate revoked, back only through recovery.`);
    const reserved = names.filter(({ state }) => state === "reserved");
    if (reserved.length > 0) this.#find("HW087", `${named(reserved)}: reserved, never provisioned to the end.`);
    this.#sharedSerials(names);
  }

  #sharedSerials(names: readonly ListedName[]): void {
    const holders = new Map<string, string>();
    for (const { name, serial } of names) {
      if (serial === undefined) continue;
      const other = holders.get(serial);
      if (other !== undefined) this.#find("HW080", `${other} and ${name} have the same certificate (${serial}).`);
      holders.set(serial, name);
    }
  }

  /** Each configuration this CA has written: there, in date, obeying the registry, and sound by itself. */
  brokers(version: string): void {
    const { outputs } = this.view;
    if (outputs.length === 0) this.notes.push({ what: "This CA has written no broker configuration (`hawser broker config`)." });
    for (const { directory } of outputs) {
      const main = join(directory, "mosquitto.conf");
      if (!existsSync(main)) {
        this.#find("HW088", `The broker configuration ${main} is not there.`, "high");
        continue;
      }
      this.#agreement(directory);
      for (const finding of auditMosquitto(main, { version, nowMs: this.nowMs }).findings) {
        this.findings.push({
          ...finding,
          place: finding.place === undefined ? undefined : { ...finding.place, file: join(directory, finding.place.file) },
        });
      }
    }
  }

  #agreement(directory: string): void {
    for (const [file, mine] of [["crl.pem", FILES.crl]] as const) {
      const path = join(directory, file);
      if (existsSync(path) && readFileSync(path, "utf8") !== this.#file(mine))
        this.#find("HW088", `${path} is not the revocation list of this CA as it is now.`, "high", ["hawser broker config ..."]);
    }
    const psks = join(directory, "psk.txt");
    const shutOut = this.view.list().filter(({ state }) => state === "revoked");
    if (!existsSync(psks) || shutOut.length === 0) return;
    const holders = new Set(
      readFileSync(psks, "utf8")
        .split("\n")
        .map((line) => line.split(":")[0]),
    );
    const open = shutOut.filter(({ name }) => holders.has(name));
    if (open.length > 0) this.#find("HW085", `${named(open)}: shut out, but a pre-shared key still opens ${psks}.`, "high");
  }
}

function named(names: readonly ListedName[]): string {
  const shown = names.slice(0, NAMES_SHOWN).map(({ name }) => name);
  return names.length > NAMES_SHOWN ? `${shown.join(", ")} and ${names.length - NAMES_SHOWN} more` : shown.join(", ");
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function bare(serial: string): string {
  return serial.toLowerCase().replace(/^0+(?=.)/, "");
}
