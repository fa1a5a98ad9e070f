/** Lists what is in the registry. */
import { openCaReadOnly } from "../../ca/read-only.js";
import type { ListedName } from "../../ca-directory/registry.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { table } from "../terminal.js";
import type { Json } from "../terminal.js";

export interface ListOptions {
  dir: string;
  json?: boolean;
}

export async function list(options: ListOptions, { terminal }: Context): Promise<void> {
  const names = openCaReadOnly(options.dir).list();
  const rows = names.map(({ name, kind, role, state, serial, notAfterMs }) => [name, kind, role, state, serial ?? "-", notAfterMs === undefined ? "-" : day(notAfterMs)]);
  const lines = rows.length === 0 ? ["No devices or clients yet."] : table([["ID", "KIND", "ROLE", "STATE", "SERIAL", "EXPIRES"], ...rows]);
  terminal.result(names.map(asJson), lines);
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
