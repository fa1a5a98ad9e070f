/** The table for an ERP: one row a device, columns that never change their order. */
import type { ExportDevice } from "../ca/exporting.js";
import { formulaSafe, writeCsv } from "./csv-writer.js";
import type { CsvOptions } from "./csv-writer.js";

/** New ones are added at the end. What neither registry nor ledger knows comes from the device's attribute of the same name. */
export const ERP_COLUMNS = [
  "id",
  "serial",
  "mac",
  "role",
  "batch",
  "order",
  "station",
  "operator",
  "certificate_serial",
  "certificate_sha256",
  "not_before",
  "not_after",
  "public_key_sha256",
  "firmware_sha256",
  "result",
  "seconds",
  "label_sha256",
] as const;

export type ErpColumn = (typeof ERP_COLUMNS)[number];

export interface ErpOptions extends CsvOptions {
  /** SHA-256 of the newest label's code, by device. */
  readonly labels?: ReadonlyMap<string, string>;
  /** From a station's ledger, by device: see `stationFacts`. */
  readonly facts?: ReadonlyMap<string, Partial<Record<ErpColumn, string>>>;
}

export function erpCsv(
  devices: readonly ExportDevice[],
  { labels = new Map<string, string>(), facts = new Map<string, never>(), ...options }: ErpOptions = {},
): string {
  const rows = devices.map((device) => {
    const known: Partial<Record<ErpColumn, string>> = {
      ...facts.get(device.id),
      id: device.id,
      role: device.role,
      certificate_serial: device.serial,
      certificate_sha256: device.certificateSha256,
      public_key_sha256: device.publicKeySha256,
      not_before: new Date(device.notBeforeMs).toISOString(),
      not_after: new Date(device.notAfterMs).toISOString(),
      label_sha256: labels.get(device.id) ?? "",
    };
    return ERP_COLUMNS.map((column) => formulaSafe(known[column] || device.attributes[column] || ""));
  });
  return writeCsv([ERP_COLUMNS, ...rows], { byteOrderMark: true, ...options });
}
