/** What a broker reports of its work; the invariants are judged by it. */
import type { Message } from "./message.js";
import type { Scope } from "./access.js";

export interface BrokerObserver {
  /** CONNACK with success was sent. */
  accepted(scope: Scope, clientId: string, sessionPresent: boolean): void;
  /** A SUBACK that grants `filter` was sent. */
  granted(scope: Scope, clientId: string, filter: string): void;
  /** Nothing came from the client for one and a half keep-alive intervals. */
  silent(clientId: string): void;
  /** A message of a client was taken and passed on: once for each message at QoS 2, at least once at QoS 1. */
  arrived(clientId: string, message: Message): void;
  /** The client gave a sign of life on a connection that was accepted. */
  heard(scope: Scope, clientId: string): void;
  /**
   * A message of a client was not passed on: the client may not publish it, or not now. @param isTold the answer says so, which it cannot
   * in 3.1.1
   */
  refused(scope: Scope, message: Message, isTold: boolean): void;
  /** The broker ended the connection for a message to this topic, or a subscription to this filter. */
  hungUp(scope: Scope, item: string): void;
  /** The client has told that it took a message: PUBACK, or PUBREC. */
  taken(clientId: string, message: Message): void;
  /** A message for a client was given up: expired, queue full, or its session ended. */
  gaveUp(clientId: string, message: Message): void;
  /** A session was lost, by expiry or because the broker forgot it, and with it the receipts of these messages at QoS 2. */
  sessionLost(clientId: string, unreleased: readonly Message[]): void;
  /** The client broke the protocol. */
  misbehaved(clientId: string, what: string): void;
}
