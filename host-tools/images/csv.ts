/** Reads CSV (RFC 4180), with the number of each row's first line for messages. */
import { HawserError } from "../../sdk/errors.js";

export interface CsvRow {
  /** From 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * Rows without the empty ones; a byte order mark at the beginning is skipped.
 *
 * @param comments skips lines that begin with `#`
 * @throws HawserError `BAD_TABLE` naming the line
 */
export function parseCsv(text: string, { comments = false } = {}): CsvRow[] {
  const rows: CsvRow[] = [];
  const source = text.replace(/^\ufeff/, "");
  let line = 1;
  for (let at = 0; at < source.length;) {
    const first = line;
    if (comments && source[at] === "#") {
      const end = source.indexOf("\n", at);
      at = end < 0 ? source.length : end + 1;
      line++;
      continue;
    }
    const cells: string[] = [];
    for (let ended = false; !ended;) {
      const cell = source[at] === '"' ? quoted(source, at, first) : plain(source, at);
      cells.push(cell.text);
      line += cell.text.split("\n").length - 1;
      at = cell.end;
      ended = source[at] !== ",";
      if (!ended) at++;
    }
    if (source.startsWith("\r\n", at)) at += 2;
    else if (source[at] === "\n" || source[at] === "\r") at++;
    else if (at < source.length)
      throw new HawserError("BAD_TABLE", `line ${first}: something follows a closing quote`, 'Double a quote inside a quoted cell: "".');
    line++;
    if (cells.some((cell) => cell !== "")) rows.push({ line: first, cells });
  }
  return rows;
}

function plain(source: string, from: number): { text: string; end: number } {
  let end = from;
  while (end < source.length && !",\r\n".includes(source[end] ?? "")) end++;
  return { text: source.slice(from, end), end };
}

function quoted(source: string, from: number, line: number): { text: string; end: number } {
  let text = "";
  for (let at = from + 1; ;) {
    const quote = source.indexOf('"', at);
    if (quote < 0) throw new HawserError("BAD_TABLE", `line ${line}: a quoted cell does not end`, "Close it with a quote.");
    text += source.slice(at, quote);
    if (source[quote + 1] !== '"') return { text, end: quote + 1 };
    text += '"';
    at = quote + 2;
  }
}
