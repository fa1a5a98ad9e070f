/** What a scanner reads at a station: badges, commands, and everything else, which is taken for a label. */

export type Scan =
  | { readonly kind: "badge"; readonly name: string }
  | { readonly kind: "start" | "stop" | "approve" | "reject" }
  | { readonly kind: "retry"; readonly head: string }
  | { readonly kind: "reprint"; readonly id: string }
  | { readonly kind: "label"; readonly text: string };

/** Longer than any label's payload. */
export const MAX_SCAN_CHARACTERS = 2_048;

const COMMANDS: ReadonlySet<string> = new Set(["start", "stop", "approve", "reject"]);

/** Badges read `OP:name`; commands `START`, `STOP`, `RETRY:head`, `REPRINT:id`, `APPROVE`, `REJECT`, in either case. */
export function readScan(raw: string): Scan {
  // Some scanners send group separators and their own line ends.
  const text = raw
    .slice(0, MAX_SCAN_CHARACTERS)
    .replace(/[\u0000-\u001c\u001e\u001f\u007f]/g, "")
    .trim();
  const command = text.toLowerCase();
  if (COMMANDS.has(command)) return { kind: command as "start" };
  const [, prefix = "", value = ""] = /^(OP|RETRY|REPRINT):\s*([\w.@ -]{1,64})$/i.exec(text) ?? [];
  if (prefix === "") return { kind: "label", text };
  if (prefix.toUpperCase() === "OP") return { kind: "badge", name: value.trim() };
  return prefix.toUpperCase() === "RETRY" ? { kind: "retry", head: value.trim() } : { kind: "reprint", id: value.trim() };
}
