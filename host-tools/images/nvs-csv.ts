/** The table of Espressif's NVS generator: `key,type,encoding,value`, one namespace line before the keys of each namespace. */
import { HawserError } from "../../sdk/errors.js";
import { parseCsv } from "./csv.js";
import { INTEGERS, isIntegerType } from "./nvs-format.js";
import type { NvsItem, NvsValue } from "./nvs-format.js";

const COLUMNS = ["key", "type", "encoding", "value"];
const ENCODINGS = [...Object.keys(INTEGERS), "string", "hex2bin", "base64", "binary"];

/**
 * @param readFile reads a file that a line of type `file` names, relative to wherever the caller decides
 * @throws HawserError `BAD_TABLE` naming the line, and what `readFile` throws
 */
export function parseNvsCsv(text: string, readFile: (path: string) => Buffer): NvsItem[] {
  const [head, ...rows] = parseCsv(text, { comments: true });
  if (head === undefined || COLUMNS.some((name) => !head.cells.includes(name)))
    throw badLine(head?.line ?? 1, "the first line is not key,type,encoding,value", "Begin the file with that line.");
  const items: NvsItem[] = [];
  let namespace: string | undefined;
  for (const { line, cells } of rows) {
    const [key = "", type = "", encoding = "", value = ""] = COLUMNS.map((name) => cells[head.cells.indexOf(name)] ?? "");
    if (type === "namespace") {
      namespace = key;
      continue;
    }
    if (type !== "data" && type !== "file") throw badLine(line, `unknown type ${JSON.stringify(type)}`, "Use namespace, data or file.");
    if (namespace === undefined)
      throw badLine(line, `key ${JSON.stringify(key)} comes before any namespace`, "Add a line NAME,namespace,, before it.");
    items.push({ namespace, key, ...valueOf(encoding, type === "file" ? readFile(value) : value, line) });
  }
  return items;
}

function valueOf(encoding: string, value: string | Buffer, line: number): NvsValue {
  const text = (): string => (typeof value === "string" ? value : value.toString("utf8"));
  const filled = /^blob(_sz)?_fill\((\d{1,6});0x([0-9a-fA-F]{2})\)$/.exec(encoding);
  if (filled)
    return { type: "blob", value: fill(text(), Number(filled[2]), Number.parseInt(filled[3] ?? "0", 16), filled[1] !== undefined, line) };
  const name = encoding.toLowerCase();
  if (isIntegerType(name)) return { type: name, value: integer(text().trim(), line) };
  switch (name) {
    case "string":
      return { type: "string", value: text() };
    case "binary":
      return { type: "blob", value: typeof value === "string" ? Buffer.from(value, "utf8") : value };
    case "hex2bin":
      return { type: "blob", value: hex(text().trim(), line) };
    case "base64":
      return { type: "blob", value: base64(text(), line) };
    default:
      throw badLine(line, `unknown encoding ${JSON.stringify(encoding)}`, `Use one of ${ENCODINGS.join(", ")}.`);
  }
}

/** `blob_fill(8;0xff)`: the text and then the byte, up to that length; `blob_sz_fill`: the text's length, 32 bits, before it. */
function fill(text: string, sizeBytes: number, byte: number, withSize: boolean, line: number): Buffer {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length > sizeBytes)
    throw badLine(line, `the value has ${bytes.length} bytes, and ${sizeBytes} are to be filled`, "Give a larger length.");
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.length);
  return Buffer.concat([...(withSize ? [size] : []), bytes, Buffer.alloc(sizeBytes - bytes.length, byte)]);
}

function integer(text: string, line: number): bigint {
  const match = /^([+-]?)(\d+|0x[0-9a-f]+)$/i.exec(text);
  if (match === null)
    throw badLine(line, `${JSON.stringify(text)} is not a whole number`, "Use decimal digits, or 0x and hexadecimal ones.");
  const magnitude = BigInt(match[2] ?? "0");
  return match[1] === "-" ? -magnitude : magnitude;
}

function hex(text: string, line: number): Buffer {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text))
    throw badLine(line, "the value is not pairs of hexadecimal digits", "Give two digits a byte, without spaces.");
  return Buffer.from(text, "hex");
}

function base64(text: string, line: number): Buffer {
  const packed = text.replace(/\s+/g, "");
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(packed))
    throw badLine(line, "the value is not Base64", "Give it with its padding (=).");
  return Buffer.from(packed, "base64");
}

function badLine(line: number, problem: string, next: string): HawserError {
  return new HawserError("BAD_TABLE", `line ${line} of the NVS table: ${problem}`, next);
}
