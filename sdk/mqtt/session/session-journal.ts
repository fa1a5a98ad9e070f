/** What the session has kept over a reboot: asked of storage in {@link StoredJournal}, of nobody in {@link VolatileJournal}. */
import { LazyMap } from "./lazy-map.js";
import type { OutgoingMessage } from "./outgoing-message.js";

/**
 * `store` is done when it returns. The others may be done later; what must not happen before is given as `then`, which is called in the
 * order of the calls, once each.
 */
export interface Journal {
  /** QoS 2 identifiers received and not released, as the last run left them; the receiver works on this set. */
  readonly received: LazyMap<number, true>;
  /** Keeps a message. Throws what storage throws, having kept nothing. */
  store(message: OutgoingMessage): void;
  /** The broker has sent PUBREC for a QoS 2 message. */
  release(message: OutgoingMessage, then: () => void): void;
  /** The broker has lost a QoS 2 message after PUBREC, or has delivered it: nobody knows. */
  doubt(message: OutgoingMessage, then: () => void): void;
  /** Nothing is left to be done for a message. */
  remove(message: OutgoingMessage, then: () => void): void;
  /** {@link received} has changed. */
  saveReceived(then: () => void): void;
  /** Does what is still to be done. Returns false when storage refuses: then it is tried again next time. */
  commit(): boolean;
}

/** Keeps nothing: the state is gone with the process. */
export class VolatileJournal implements Journal {
  readonly received = new LazyMap<number, true>();

  store(): void {
    return;
  }

  release(_message: OutgoingMessage, then: () => void): void {
    then();
  }

  doubt(_message: OutgoingMessage, then: () => void): void {
    then();
  }

  remove(_message: OutgoingMessage, then: () => void): void {
    then();
  }

  saveReceived(then: () => void): void {
    then();
  }

  commit(): boolean {
    return true;
  }
}
