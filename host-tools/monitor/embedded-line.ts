/** Reads one line of what `hawser broker run --json` prints: the embedded broker's events, which no client can write into. */
import { parseObject } from "../ca-directory/registry-entry.js";
import type { LogFact, LogLine, RefusalReason } from "./mosquitto-line.js";

/** Of `RefusalReason` in sim/brokers/broker-events.ts. A broker that stops is nobody's fault, and not here. */
export const REFUSALS: Readonly<Record<string, RefusalReason>> = {
  TOO_MANY_CONNECTIONS: "limit",
  TOO_MANY_SESSIONS: "limit",
  TLS_FAILED: "tls",
  PSK_IDENTITY_UNKNOWN: "psk",
  PSK_KEY_WRONG: "psk",
  PSK_WITHDRAWN: "psk",
  CONNECT_TIMEOUT: "scan",
  CONNECTION_CLOSED: "scan",
  MALFORMED_CONNECT: "protocol",
  UNSUPPORTED_PROTOCOL_VERSION: "protocol",
  PACKET_TOO_LARGE: "oversize",
  NO_CERTIFICATE: "no_certificate",
  CERTIFICATE_CA_UNKNOWN: "certificate",
  CERTIFICATE_EXPIRED: "certificate",
  CERTIFICATE_NOT_YET_VALID: "certificate",
  CERTIFICATE_REVOKED: "certificate",
  CERTIFICATE_REJECTED: "certificate",
  CRL_EXPIRED: "certificate",
  CRL_MISSING: "certificate",
  NAME_INVALID: "password",
  NOT_ALLOWED: "password",
  CLIENT_ID_REJECTED: "password",
  PASSWORD_REFUSED: "password",
};

type End = "disconnected" | "timed-out" | "taken-over" | "kicked";
/** Of `EndReason` there. */
export const ENDS: Readonly<Record<string, End>> = {
  CLIENT_DISCONNECTED: "disconnected",
  CONNECTION_LOST: "disconnected",
  PROTOCOL_ERROR: "disconnected",
  PACKET_TOO_LARGE: "disconnected",
  SLOW_CONSUMER: "disconnected",
  BROKER_STOPPED: "disconnected",
  KEEPALIVE_TIMEOUT: "timed-out",
  SESSION_TAKEN_OVER: "taken-over",
  CERTIFICATE_REVOKED: "kicked",
  CERTIFICATE_EXPIRED: "kicked",
  CRL_EXPIRED: "kicked",
  CRL_MISSING: "kicked",
  PSK_WITHDRAWN: "kicked",
  NOT_ALLOWED: "kicked",
};

export function readEmbeddedLine(text: string): LogLine {
  const fields = parseObject(text) ?? {};
  const timeMs = Date.parse(String(fields["time"]));
  const fact = factOf(fields);
  return { ...(Number.isNaN(timeMs) ? {} : { timeMs }), ...(fact === undefined ? {} : { fact }) };
}

function factOf(fields: Readonly<Record<string, unknown>>): LogFact | undefined {
  const text = (name: string): string | undefined => (typeof fields[name] === "string" ? fields[name] : undefined);
  const [client, user, reason = ""] = [text("clientId"), text("name"), text("reason")];
  const who = client === undefined ? {} : { client };
  const ended = Object.hasOwn(ENDS, reason) ? ENDS[reason] : undefined;
  switch (fields["event"]) {
    case "ready":
      return { kind: "broker-started", version: "Hawser" };
    case "stopped":
      return { kind: "broker-stopped" };
    case "reloaded":
      return { kind: "reloaded" };
    case "reload-failed":
      return { kind: "configuration-error", detail: text("message") ?? "" };
    case "connected":
      return { kind: "connected", ...who, ...(user === undefined ? {} : { user }) };
    case "disconnected":
      return ended === undefined ? undefined : { kind: ended, ...who };
    case "denied": {
      const topic = text("topic");
      const access = fields["action"] === "subscribe" ? { access: "subscribe" as const } : {};
      return { kind: "denied", ...who, ...(topic === undefined ? {} : { topic }), ...access };
    }
    case "refused": {
      const claimed = user ?? client;
      const refused = Object.hasOwn(REFUSALS, reason) ? REFUSALS[reason] : undefined;
      if (refused === undefined) return undefined;
      return { kind: "refused", reason: refused, ...(claimed === undefined ? {} : { claimedClient: claimed }) };
    }
    default:
      return undefined;
  }
}
