/** A batch of boards as the order system wrote it: CSV (RFC 4180), its columns named by a mapping. */
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { readMac } from "../device-answers.js";
import type { PlannedBoard } from "./id-source.js";

export interface BatchRow extends PlannedBoard {
  /** 12 lower-case hexadecimal digits. */
  readonly mac?: string;
}

/** Which column holds what, by their names in the first line. */
export interface BatchColumns {
  readonly id: string;
  readonly mac?: string;
  readonly role?: string;
  /** Attribute of the policy to column. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export const DEFAULT_COLUMNS: BatchColumns = { id: "id", mac: "mac", role: "role" };

/**
 * @param columns a column that is mapped must be there; of {@link DEFAULT_COLUMNS} only `id`
 * @throws HawserError `BAD_BATCH` naming line and column
 */
export function readBatch(text: string, columns: BatchColumns = DEFAULT_COLUMNS): BatchRow[] {
  const [header, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
  if (header === undefined) throw bad(1, "it has no header line");
  const names = header.cells.map((name) => name.trim());
  const isMapped = columns !== DEFAULT_COLUMNS;
  const columnOf = (name: string | undefined, isNeeded: boolean): number => {
    const index = name === undefined ? -1 : names.indexOf(name);
    if (index < 0 && isNeeded) throw bad(1, `it has no column ${JSON.stringify(name)}; it has ${names.join(", ")}`);
    return index;
  };
  const at = {
    id: columnOf(columns.id, true),
    mac: columnOf(columns.mac, isMapped && columns.mac !== undefined),
    role: columnOf(columns.role, isMapped && columns.role !== undefined),
  };
  const attributes = Object.entries(columns.attributes ?? {}).map(([attribute, name]) => [attribute, columnOf(name, true)] as const);
  return rows.map(({ cells, line }) => {
    if (cells.length !== names.length) throw bad(line, `it has ${cells.length} cells; the header has ${names.length}`);
    const cell = (index: number): string => cells[index]?.trim() ?? "";
    const set = attributes.map(([attribute, index]) => [attribute, cell(index)] as const).filter(([, value]) => value !== "");
    return {
      id: checked(line, () => checkId(cell(at.id))),
      ...(cell(at.mac) !== "" && { mac: checked(line, () => readMac(cell(at.mac))) }),
      ...(cell(at.role) !== "" && { role: cell(at.role) }),
      ...(set.length > 0 && { attributes: Object.fromEntries(set) }),
    };
  });
}

/** @throws HawserError `BAD_BATCH` */
export function readColumns(text: string): BatchColumns {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new HawserError("BAD_BATCH", "the column mapping is not JSON", COLUMNS_EXAMPLE);
  }
  const { id, mac, role, attributes = {} } = (value ?? {}) as Record<string, unknown>;
  const isName = (name: unknown): boolean => name === undefined || typeof name === "string";
  const areNames =
    typeof attributes === "object" && attributes !== null && Object.values(attributes).every((name) => typeof name === "string");
  if (typeof id !== "string" || !isName(mac) || !isName(role) || !areNames)
    throw new HawserError("BAD_BATCH", "the column mapping does not name its columns", COLUMNS_EXAMPLE);
  return value as BatchColumns;
}

const COLUMNS_EXAMPLE = 'Write: {"id":"Serial No","mac":"MAC","role":"Variant","attributes":{"site":"Plant"}}.';

interface CsvRow {
  readonly cells: readonly string[];
  /** Where it begins, from 1. */
  readonly line: number;
}

/** The separator is the one the header has most of: comma, semicolon or tab. */
function parseCsv(text: string): CsvRow[] {
  const header = text.split("\n", 1)[0] ?? "";
  const count = (separator: string): number => header.split(separator).length;
  const separator = [",", ";", "\t"].reduce((best, one) => (count(one) > count(best) ? one : best));
  const rows: CsvRow[] = [];
  let [cells, cell, line, begun, isQuoted]: [string[], string, number, number, boolean] = [[], "", 1, 1, false];
  const endRow = (): void => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim() !== "") rows.push({ cells, line: begun });
    [cells, cell] = [[], ""];
  };
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (char === "\n") line += 1;
    if (isQuoted) {
      if (char !== '"') cell += char;
      else if (text[index + 1] === '"') cell += text[++index];
      else isQuoted = false;
    } else if (char === '"' && cell === "") isQuoted = true;
    else if (char === separator) {
      cells.push(cell);
      cell = "";
    } else if (char === "\n") {
      endRow();
      begun = line;
    } else if (char !== "\r") cell += char;
  }
  if (isQuoted) throw bad(begun, "a quote is not closed");
  endRow();
  return rows;
}

function checked(line: number, read: () => string): string {
  try {
    return read();
  } catch (error) {
    throw bad(line, error instanceof Error ? error.message : String(error));
  }
}

function bad(line: number, what: string): HawserError {
  return new HawserError("BAD_BATCH", `line ${line} of the batch: ${what}`, "Correct the file, or map its columns with --columns.");
}
