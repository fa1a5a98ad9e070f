/** Lists what is in the registry. */
import type { ListedName } from "../../ca-directory/registry.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { readCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { table } from "../terminal.js";
import type { Json } from "../terminal.js";

/** Hexadecimal digits. */
const SHORT_SERIAL = 8;

export interface ListOptions extends PassphraseOptions {
  dir: string;
  json?: boolean;
}

export async function list(options: ListOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const names = (await readCaOf(options, context)).list();
  const rows = names.map(({ name, kind, role, state, serial, notAfterMs }) => [
    name,
    kind,
    role,
    state,
    shortSerial(serial),
    notAfterMs === undefined ? "-" : day(notAfterMs),
  ]);
  const lines = rows.length === 0 ? ["No devices or clients yet."] : table([["ID", "KIND", "ROLE", "STATE", "SERIAL", "EXPIRES"], ...rows]);
  terminal.result(names.map(asJson), lines);
}

/** Enough to tell a fleet's certificates apart, and short enough for a row of 80 columns; `--json` has it in full. */
function shortSerial(serial: string | undefined): string {
  if (serial === undefined) return "-";
  return serial.length > SHORT_SERIAL ? `${serial.slice(0, SHORT_SERIAL)}..` : serial;
}

function asJson({ name, kind, role, state, serial, notAfterMs, certificates }: ListedName): Json {
  return {
    id: name,
    kind,
    role,
    state,
    serial,
    notAfter: notAfterMs === undefined ? undefined : isoTime(notAfterMs),
    certificates: certificates.map((certificate) => ({
      serial: certificate.serial,
      status: certificate.status,
      notBefore: isoTime(certificate.notBeforeMs),
      notAfter: isoTime(certificate.notAfterMs),
      reason: certificate.reason,
      revokedAt: certificate.revokedAtMs === undefined ? undefined : isoTime(certificate.revokedAtMs),
    })),
  };
}
