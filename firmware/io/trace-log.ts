/** The log port over `trace`: one line an entry, bounded, whatever was put into it. */
import type { Log, LogLevel } from "../../sdk/platform.js";

const ORDER: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const LONGEST_LINE = 400;

/** @param trace prints text as it is given */
export function traceLog(trace: (text: string) => void, minimum: LogLevel = "info"): Log {
  return (level, message, fields = {}) => {
    if (ORDER.indexOf(level) < ORDER.indexOf(minimum)) return;
    const details = Object.entries(fields).map(([name, value]) => ` ${name}=${String(value)}`);
    trace(`${printable(`${level}: ${message}${details.join("")}`)}\n`);
  };
}

/** What came from outside must not forge a second line or move the terminal's cursor. */
function printable(text: string): string {
  let line = "";
  for (const character of text) {
    const code = character.charCodeAt(0);
    line += code < 0x20 || (code >= 0x7f && code < 0xa0) ? "." : character;
    if (line.length >= LONGEST_LINE) return `${line}...`;
  }
  return line;
}
