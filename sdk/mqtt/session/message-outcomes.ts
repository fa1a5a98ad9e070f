/** How a message looks from outside, and the errors it may end with. */
import { HawserError } from "../../errors.js";
import type { Clock } from "../../platform.js";
import type { OutboxMessage } from "../contract/options.js";
import type { OutgoingMessage } from "./outgoing-message.js";

export function view(
  { topic, payload, qos, retain, properties, sizeBytes }: OutgoingMessage,
  state: OutboxMessage["state"],
): OutboxMessage {
  return { topic, payload, qos, retain, ...(properties === undefined ? {} : { properties }), sizeBytes, state };
}

export function sessionLostError(message: OutgoingMessage): HawserError {
  return new HawserError(
    "SESSION_LOST",
    `the broker lost the session: a message to ${message.topic} may or may not have been delivered`,
    'Ask the receiver, or set onSessionLost to "resend" if duplicates are harmless.',
  );
}

export function isExpired(message: OutgoingMessage, clock: Clock): boolean {
  return message.expiresAtMs !== undefined && !message.dup && clock.monotonicMs() >= message.expiresAtMs;
}

export function overflowError(message: OutgoingMessage): HawserError {
  return new HawserError(
    "MESSAGE_DROPPED",
    `a message to ${message.topic} made room in the outbox for a newer one`,
    "Publish less, or use a larger outbox.",
  );
}

export function expiredError(message: OutgoingMessage): HawserError {
  return new HawserError(
    "MESSAGE_EXPIRED",
    `a message to ${message.topic} expired before it could be sent`,
    "Use a longer expiry, or none.",
  );
}

export function discardedError(message: OutgoingMessage): HawserError {
  return new HawserError(
    "MESSAGE_DISCARDED",
    `the application discarded a message to ${message.topic}`,
    "Publish it again if you still need it.",
  );
}
