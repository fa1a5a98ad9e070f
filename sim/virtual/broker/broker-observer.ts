/** What a broker reports of its work; the invariants are judged by it. */
import type { Message } from "./message.js";
import type { Scope } from "./access.js";

export interface BrokerObserver {
  /** CONNACK with success was sent. */
  accepted(scope: Scope, clientId: string, sessionPresent: boolean): void;
  /** A SUBACK that grants `filter` was sent. */
  granted(scope: Scope, filter: string): void;
  /** A message of a client was taken and passed on: once for each message at QoS 2, at least once at QoS 1. */
  arrived(clientId: string, message: Message): void;
  /** The client has told that it took a message: PUBACK, or PUBREC. */
  taken(clientId: string, message: Message): void;
  /** A message for a client was given up: expired, queue full, or its session ended. */
  gaveUp(clientId: string, message: Message): void;
  /** A session that held something was lost, by expiry or because the broker forgot it. */
  sessionLost(clientId: string): void;
  /** The client broke the protocol. */
  misbehaved(clientId: string, what: string): void;
}
