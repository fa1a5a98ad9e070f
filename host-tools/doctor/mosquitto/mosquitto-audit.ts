/** The doctor's examination of a mosquitto configuration: what it means to the version it is for. */
import { relative, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import type { DoctorReport, Finding } from "../finding.js";
import { sortFindings } from "../finding.js";
import { AuditContext, removeLine, replaceLine } from "./audit-context.js";
import { checkAccess } from "./check-access.js";
import { checkAcls } from "./check-acl.js";
import { checkBridges } from "./check-bridges.js";
import { checkCertificates } from "./check-certificates.js";
import { checkFiles } from "./check-files.js";
import { checkOperation } from "./check-operation.js";
import { checkTransport } from "./check-transport.js";
import { readConf } from "./conf-reader.js";
import type { ReadConf } from "./conf-reader.js";
import { buildModel } from "./model-builder.js";
import { factsOf, nearestOption } from "./option-table.js";
import { MosquittoVersion } from "./version.js";

export interface AuditOptions {
  /** The version the verdict is for, e.g. `2.0.11`. */
  readonly version: string;
  readonly nowMs: number;
}

/** A file of so many lines has one option at least, if it is mosquitto's at all. */
const FEWEST_LINES = 3;

/** A wrong file would otherwise come out as a broker that does not start, with a finding for each line. */
function requireOptions(file: string, { events }: ReadConf): void {
  const names = events.flatMap((event) => (event.kind === "line" ? [event.directive.name] : []));
  if (names.length < FEWEST_LINES || names.some((name) => factsOf(name) !== undefined || nearestOption(name) !== undefined)) return;
  throw new HawserError(
    "BAD_BROKER_CONFIG",
    `${file} is not a configuration of mosquitto: none of its ${names.length} settings is one of mosquitto's`,
    "Pass the file that the broker is started with; --broker names another broker's.",
  );
}

/** @throws HawserError `BAD_VERSION`, `BAD_BROKER_CONFIG`; the file system's error when the file cannot be read */
export function auditMosquitto(file: string, options: AuditOptions): DoctorReport {
  const conf = readConf(file);
  requireOptions(file, conf);
  const model = buildModel(conf, MosquittoVersion.parse(options.version));
  const ctx = new AuditContext(conf, model, options.nowMs);
  for (const { what, place, meant } of model.startErrors) {
    ctx.find("HW001", what, {
      place,
      fix: meant === undefined ? [] : [meant],
      edits: place.line === 0 ? [] : [meant === undefined ? removeLine(place) : replaceLine(place, meant)],
    });
  }
  checkFiles(ctx);
  const stops = (finding: Finding): boolean => /does not start/.test(finding.what);
  checkAccess(ctx);
  checkTransport(ctx);
  checkCertificates(ctx);
  checkAcls(ctx);
  checkBridges(ctx);
  checkOperation(ctx);
  const starts = !ctx.findings.some(stops);
  // What does not run has no open ports: only what stops it is wrong today; the rest is worth knowing before it runs.
  const isForToday = (finding: Finding): boolean => starts || stops(finding) || finding.id === "HW005";
  const later = ctx.findings.filter((finding) => !isForToday(finding));
  return {
    kind: "config",
    target: relative(process.cwd(), resolve(file)) || file,
    broker: "mosquitto",
    version: options.version,
    starts,
    findings: sortFindings(ctx.findings.filter(isForToday)),
    notes: [...later.map(({ id, what, place }) => ({ what: `Once the broker starts: ${id} ${what}`, place })), ...ctx.notes],
    checked: [...conf.files.keys()],
  };
}
