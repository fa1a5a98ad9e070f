/** The embedded broker's events as a person reads them. */
import type { BrokerEvent } from "../../../sim/brokers/broker-events.js";
import type { Colour, Json, Terminal } from "../terminal.js";

export function printBrokerEvent(terminal: Terminal, event: BrokerEvent): void {
  const { type, ...fields } = event;
  terminal.event(type, fields as Readonly<Record<string, Json>>, summary(event), COLOURS[type]);
}

const COLOURS: Readonly<Record<BrokerEvent["type"], Colour>> = {
  connected: "green",
  disconnected: "yellow",
  refused: "red",
  denied: "red",
  dropped: "red",
};

function summary(event: BrokerEvent): string {
  switch (event.type) {
    case "connected":
      return `${event.name} on the ${event.port} port, ${event.serial === undefined ? "pre-shared key" : `certificate ${event.serial}`}, ${event.tlsVersion}`;
    case "disconnected":
      return `${event.name}: ${event.reason}`;
    case "refused":
      return `${event.name ?? "a stranger"} on the ${event.port} port: ${event.reason}${event.detail === undefined ? "" : ` (${event.detail})`}`;
    case "denied":
      return `${event.name} may not ${event.action} ${event.topic}`;
    case "dropped":
      return `a message for ${event.clientId} on ${event.topic}: ${event.reason}`;
  }
}
