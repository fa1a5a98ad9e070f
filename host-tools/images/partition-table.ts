/**
 * ESP-IDF's partition table as CSV: `name,type,subtype,offset,size,flags`, with the offsets that it leaves out computed as ESP-IDF does.
 */
import { HawserError } from "../../sdk/errors.js";
import { parseCsv } from "./csv.js";
import { hexOffset } from "./nvs-format.js";

export interface Partition {
  readonly name: string;
  readonly type: string;
  readonly subtype: string;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly encrypted: boolean;
}

export const DEFAULT_TABLE_OFFSET = 0x8000;
/** Of the table itself, with its MD5 and room for a signature. */
const TABLE_BYTES = 0x1000;
const SECTOR_BYTES = 0x1000;
const APP_ALIGN_BYTES = 0x10000;

/**
 * @param tableOffset of the table in flash; partitions without an offset begin after it
 * @throws HawserError `BAD_TABLE` naming the line
 */
export function parsePartitionTable(text: string, tableOffset = DEFAULT_TABLE_OFFSET): Partition[] {
  const partitions: Partition[] = [];
  let next = tableOffset + TABLE_BYTES;
  for (const { line, cells } of parseCsv(text, { comments: true })) {
    const [name = "", type = "", subtype = "", offsetText = "", sizeText = "", flags = ""] = cells.map((cell) => cell.trim());
    const bad = (problem: string, advice: string): HawserError =>
      new HawserError("BAD_TABLE", `line ${line} of the partition table: ${problem}`, advice);
    if (!/^[\x21-\x7e]{1,16}$/.test(name)) throw bad(`invalid name ${JSON.stringify(name)}`, "Use 1 to 16 printable characters.");
    const sizeBytes = sizeOf(sizeText);
    if (sizeBytes === undefined || sizeBytes === 0) throw bad(`invalid size ${JSON.stringify(sizeText)}`, "Use 0x10000, 64K or 1M.");
    const align = type === "app" || type === "0" || type === "0x00" ? APP_ALIGN_BYTES : SECTOR_BYTES;
    const offset = offsetText === "" ? Math.ceil(next / align) * align : sizeOf(offsetText);
    if (offset === undefined || offset % align !== 0)
      throw bad(`invalid offset ${JSON.stringify(offsetText)}`, `Use a multiple of ${hexOffset(align)}.`);
    const other = partitions.find((one) => one.name === name || (offset < one.offset + one.sizeBytes && one.offset < offset + sizeBytes));
    if (other !== undefined)
      throw bad(`partition ${name} at ${hexOffset(offset)} collides with ${other.name}`, "Give it another name, offset or size.");
    partitions.push({ name, type, subtype, offset, sizeBytes, encrypted: flags.split(":").includes("encrypted") });
    next = offset + sizeBytes;
  }
  return partitions;
}

/** Bytes of `0x1000`, `4096`, `4K`, `1M`; undefined for anything else. */
export function sizeOf(text: string): number | undefined {
  const match = /^(0x[0-9a-f]{1,8}|\d{1,9})([km]?)$/i.exec(text);
  if (match === null || (match[2] !== "" && match[1]?.toLowerCase().startsWith("0x"))) return undefined;
  return Number(match[1]) * ({ k: 1024, m: 1024 * 1024 }[match[2]?.toLowerCase() ?? ""] ?? 1);
}
