/** Events of `hawser monitor` in a person's words. */
import type { RefusalReason } from "../../monitor/mosquitto-line.js";
import type { ReportKind } from "../../monitor/device-reports.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import type { AlertRule } from "../../monitor/alert.js";
import type { Colour } from "../terminal.js";

const REASONS: Readonly<Record<RefusalReason, string>> = {
  certificate: "certificate of an unknown CA, expired or revoked",
  no_certificate: "no certificate",
  broker_distrusted: "the client does not trust the broker's certificate",
  psk: "unknown PSK identity or wrong key",
  password: "not authorized: wrong name or password",
  plaintext: "no TLS on a TLS port",
  scan: "connection closed during the handshake",
  tls: "TLS failed",
  protocol: "protocol error",
  oversize: "packet too large",
  limit: "too many connections",
};

const ALERTS: Readonly<Record<AlertRule, string>> = {
  "failed-logins": "failed logins",
  "denied-publishes": "publishes where it may not",
  "clone-suspected": "connections fight for one client id (a copied credential?)",
  "slow-connect": "holds connections without signing in",
  "message-rate": "more messages than normal",
  "message-size": "larger messages than normal",
  "connect-rate": "more connections than normal",
  "denied-rate": "more denied publishes than normal",
  "new-topic": "a topic that its role never used",
  "new-network": "a network that its role never came from",
  "unusual-hour": "an hour at which its role was never active",
  silent: "no messages for longer than normal",
  "role-drift": "what is normal has moved far",
};

const REPORTS: Readonly<Record<ReportKind, string>> = {
  denied: "publishes that the broker denied",
  recovery: "recoveries by its pre-shared key",
  clock: "broker certificates that are not valid by its clock",
};

const COLOURS: Readonly<Record<MonitorEvent["kind"], Colour>> = {
  connected: "green",
  disconnected: "dim",
  "timed-out": "dim",
  "taken-over": "yellow",
  kicked: "yellow",
  denied: "yellow",
  refused: "yellow",
  reloaded: "cyan",
  "broker-started": "cyan",
  "broker-stopped": "cyan",
  "configuration-error": "red",
  "log-gap": "red",
  alert: "red",
  authority: "cyan",
  report: "yellow",
};

export function monitorColour({ kind }: MonitorEvent): Colour {
  return COLOURS[kind];
}

/** One line; what senders call themselves is marked as such. */
export function monitorSummary(event: MonitorEvent): string {
  switch (event.kind) {
    case "refused": {
      const claimed = event.claimedClient === undefined ? "" : `, calls itself ${JSON.stringify(event.claimedClient)}`;
      return `${REASONS[event.reason]}${from(event.address)}${claimed}`;
    }
    case "denied":
      return `${name(event.client)} may not ${event.access ?? "publish"} to ${event.topic === undefined ? "a topic" : JSON.stringify(event.topic)}${event.sizeBytes === undefined ? "" : ` (${event.sizeBytes} bytes)`}`;
    case "connected":
      return `${name(event.client)}${event.user === undefined || event.user === event.client ? "" : ` (user ${JSON.stringify(event.user)})`}${from(event.address)}`;
    case "disconnected":
    case "timed-out":
    case "taken-over":
      return `${name(event.client)}${from(event.address)}`;
    case "kicked":
      return name(event.client);
    case "alert":
      if ("normal" in event) return `${ALERTS[event.rule]}: ${JSON.stringify(event.offender)}: ${event.observed}; normal: ${event.normal}`;
      return `${ALERTS[event.rule]}: ${event.by === "claimedClient" ? "somebody calling itself " : ""}${JSON.stringify(event.offender)}, about ${event.count} in the last minutes`;
    case "authority":
      return [event.change, ...(event.name === undefined ? [] : [JSON.stringify(event.name)]), event.detail ?? ""].join(" ").trimEnd();
    case "report": {
      const what = event.topic ?? event.code;
      const first = what === undefined ? "" : `, the first: ${JSON.stringify(what)}`;
      return `${name(event.client)} reports ${event.count} ${REPORTS[event.report]}${first}`;
    }
    case "broker-started":
      return /^[A-Z]/.test(event.version) ? event.version : `mosquitto ${event.version}`;
    case "broker-stopped":
      return "mosquitto";
    case "reloaded":
      return "the broker reads its configuration again";
    case "configuration-error":
    case "log-gap":
      return event.detail;
  }
}

function name(client: string | undefined): string {
  return client === undefined ? "a client" : JSON.stringify(client);
}

function from(address: string | undefined): string {
  return address === undefined ? "" : ` from ${address}`;
}
