/** A device's events as a person reads them. */
import type { DeviceEvent } from "../../../sdk/events.js";
import type { Colour, Json, Terminal } from "../terminal.js";
import { hostAndPort } from "../flag-values.js";

/** Prints one event; with `--json` the event itself, its type named `event`. */
export function printDeviceEvent(terminal: Terminal, event: DeviceEvent): void {
  const { type, ...fields } = event;
  terminal.event(type, fields as Readonly<Record<string, Json>>, summary(event), COLOURS[type] ?? "cyan");
}

const COLOURS: Partial<Record<DeviceEvent["type"], Colour>> = {
  connected: "green",
  recovered: "green",
  renewed: "green",
  disconnected: "yellow",
  retrying: "yellow",
  "credential-changed": "yellow",
  "login-refused": "red",
  "enrolment-stopped": "red",
  "renewal-failed": "red",
  "identity-dropped": "red",
  "message-dropped": "red",
  "message-uncertain": "red",
  "subscription-refused": "red",
  connecting: "dim",
};

function summary(event: DeviceEvent): string {
  switch (event.type) {
    case "connecting":
      return `${hostAndPort(event)} with ${event.identity === "psk" ? "the pre-shared key" : `the ${event.identity} certificate`}`;
    case "connected":
      return `${event.credential}${event.serial === undefined ? "" : `, certificate ${event.serial}`}, ${event.tlsVersion}, MQTT ${event.protocolVersion === 5 ? "5" : "3.1.1"}${event.sessionPresent ? ", session resumed" : ""}`;
    case "disconnected":
      return `${event.code}: ${event.message}`;
    case "protocol-version":
      return "the broker does not speak MQTT 5: 3.1.1 from now on";
    case "retrying":
      return `in ${(event.delayMs / 1000).toFixed(1)} s`;
    case "no-network":
      return "waiting for this machine to be on a network";
    case "credential-changed":
      return `${event.from} -> ${event.to} because of ${event.code}: ${event.message}`;
    case "login-refused":
      return `${event.code}: ${event.message}`;
    case "enrolment-stopped":
      return `${event.code}: ${event.message}; no further one for ${(event.retryMs / 3_600_000).toFixed(1)} h`;
    case "renewing":
      return REASONS[event.reason];
    case "renewal-failed":
      return `${event.code}: ${event.message}; again in ${Math.round(event.retryMs / 1000)} s`;
    case "pending":
      return `certificate ${event.serial} is to be proved`;
    case "renewed":
      return `${event.oldSerial ?? "none"} -> ${event.newSerial}, valid until ${new Date(event.notAfterMs).toISOString()}`;
    case "anchors-changed":
      return [
        ...event.added.map((serial) => `trusts ${serial} from now on`),
        ...event.removed.map((serial) => `trusts ${serial} no longer`),
      ].join(", ");
    case "anchors-refused":
      return `${event.code}: ${event.message}`;
    case "topics-changed":
      return `below ${event.base} from now on, for certificates below ${event.identityBase}`;
    case "identity-dropped":
      return `certificate ${event.serial}: ${event.code}: ${event.message}`;
    case "recovered":
      return `back on mutual TLS with certificate ${event.serial}`;
    case "message-dropped":
    case "message-uncertain":
      return `${event.topic}: ${event.code}`;
    case "message-held":
      return `this broker does not take a message on ${event.topic} (${event.code}): it waits for another`;
    case "subscription-refused":
      return `${event.filter}: ${event.code}`;
    case "redirected":
      return `to ${hostAndPort(event)} (${event.code})`;
    case "stopped":
      return "in an orderly way";
  }
}

const REASONS = {
  due: "the certificate's time has come",
  asked: "asked for",
  recovery: "a new certificate is needed to get back on mutual TLS",
} as const;
