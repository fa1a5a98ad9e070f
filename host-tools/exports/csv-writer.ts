/** CSV for people's spreadsheets and other systems (RFC 4180). */

export interface CsvOptions {
  /** `,` or `;`: where a decimal comma is usual, spreadsheets expect `;`. */
  readonly separator?: "," | ";";
  /** Tells spreadsheets that the text is UTF-8. */
  readonly byteOrderMark?: boolean;
}

export function writeCsv(rows: readonly (readonly string[])[], { separator = ",", byteOrderMark = false }: CsvOptions = {}): string {
  const cell = (text: string): string => (/[",;\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text);
  return (byteOrderMark ? "\ufeff" : "") + rows.map((row) => `${row.map(cell).join(separator)}\r\n`).join("");
}

/**
 * A cell that no spreadsheet takes for a formula: one that begins with `=`, `+`, `-`, `@`, a tab or a line break, or that could after a
 * space, gets an apostrophe before it
 * (OWASP, "CSV Injection"). So do the full-width forms of these characters.
 */
export function formulaSafe(text: string): string {
  return /^[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(text) ? `'${text}` : text;
}
