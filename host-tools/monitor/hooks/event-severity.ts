/** How much an event matters, for whoever is told of it. */
import type { AlertRule } from "../alert.js";
import type { MonitorEvent } from "../log-monitor.js";

/** From the least to the most. */
export const SEVERITIES = ["info", "warning", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

const SEVERITY_OF: Readonly<Record<MonitorEvent["kind"], Severity>> = {
  connected: "info",
  disconnected: "info",
  "timed-out": "info",
  "broker-started": "info",
  "broker-stopped": "info",
  reloaded: "info",
  kicked: "info",
  authority: "info",
  "taken-over": "warning",
  denied: "warning",
  refused: "warning",
  report: "warning",
  alert: "critical",
  "configuration-error": "critical",
  "log-gap": "critical",
};

export const EVENT_KINDS = Object.keys(SEVERITY_OF) as readonly MonitorEvent["kind"][];

/** Alerts that ask for a look rather than for an act: honest devices move, are replaced and get updates. */
const WARNINGS: ReadonlySet<AlertRule> = new Set<AlertRule>(["new-topic", "new-network", "unusual-hour", "silent", "role-drift"]);

/** What the audit trail says of somebody without the holder's key who asks for a certificate. */
const REFUSED = "enrolment-refused";

export function severityOf(event: MonitorEvent): Severity {
  if (event.kind === "authority" && event.change === REFUSED) return "critical";
  return event.kind === "alert" && WARNINGS.has(event.rule) ? "warning" : SEVERITY_OF[event.kind];
}
