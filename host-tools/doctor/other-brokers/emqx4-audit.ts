/** EMQX 4's emqx.conf: a key and its value a line, with other names and more open defaults than EMQX 5's. */
import { basename } from "node:path";
import type { DoctorReport, Place } from "../finding.js";
import { isLoopbackBind, ReportBuilder } from "./report-builder.js";

interface Line {
  readonly key: string;
  readonly value: string;
  readonly place: Place;
}

/** Names that only EMQX 4 has. */
export function isEmqx4(text: string): boolean {
  return /^[ \t]*(allow_anonymous|acl_nomatch|acl_file|listener\.(tcp|ssl|ws|wss)\.\w+)[ \t]*=/m.test(text);
}

export function auditEmqx4(file: string, text: string): DoctorReport {
  const report = new ReportBuilder();
  const lines = text.split("\n").flatMap((raw, index): Line[] => {
    const [, key, value] = /^\s*([\w.]+)\s*=\s*(.*?)\s*$/.exec(raw) ?? [];
    return key === undefined || value === undefined
      ? []
      : [{ key, value, place: { file: basename(file), line: index + 1, text: raw.trim() } }];
  });
  const last = (key: string): Line | undefined => lines.filter((line) => line.key === key).at(-1);
  const anonymous = last("allow_anonymous");
  if (anonymous?.value !== "false")
    report.find("HW020", "Clients without credentials are let in (allow_anonymous is true, or not set).", anonymous?.place, {
      fix: ["allow_anonymous = false"],
    });
  const noMatch = last("acl_nomatch");
  if (noMatch?.value !== "deny")
    report.find("HW032", "acl_nomatch is allow (or not set): every topic that no rule names is open to every client.", noMatch?.place, {
      fix: ["acl_nomatch = deny"],
    });
  for (const { key, value, place } of lines) {
    const kind = /^listener\.(tcp|ws)\.\w+$/.exec(key)?.[1];
    if (kind === undefined || isLoopbackBind(value)) continue;
    const what = `${kind === "ws" ? "MQTT over WebSocket" : "MQTT"} without TLS on ${value}: credentials and messages can be read and changed on the way.`;
    report.find("HW040", what, place, { fix: [`# ${place.text}`] });
  }
  report.note(
    "This is EMQX 4's format: its anonymous access, default and listeners are read, and no plugin's file. EMQX 4 is no longer maintained.",
  );
  return report.report(file, "emqx", "4", [basename(file)]);
}
