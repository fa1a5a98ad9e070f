/**
 * Messages that the broker answered with "not authorized" (0x87) a moment ago. A name that loses its rights is denied what it publishes
 * before its connections end: on mosquitto for about a second. Those messages were accepted here, so they wait for what the denial meant.
 * When the connection ends first, they are sent again on the next, which may be one with a new certificate. When it lives on, the denial
 * was about the messages. Plain state: no link, no timer.
 */
import type { RefusedError } from "../contract/connect-error.js";
import type { Clock } from "../../platform.js";
import { LazyMap } from "./lazy-map.js";
import type { MessageList, OutgoingMessage } from "./outgoing-message.js";

export const NOT_AUTHORIZED = 0x87;
/** So many messages accepted after a denial show that the name still has rights. */
const ACCEPTED = 3;
/** On so many connections a message may be denied. */
const MOST_DENIALS = 5;

interface Denial {
  readonly error: RefusedError;
  readonly atMs: number;
  /** Messages accepted since. */
  accepted: number;
}

export class DeniedMessages {
  readonly #denials = new LazyMap<OutgoingMessage, Denial>();

  /** @param graceMs how long a connection has to live on after a denial; 0: no denial is doubted */
  constructor(
    private readonly list: MessageList,
    private readonly graceMs: number,
    private readonly clock: Clock,
  ) {}

  /** The broker denied a message, which stands in no list. @returns false when that is final */
  take(message: OutgoingMessage, error: RefusedError): boolean {
    if (this.graceMs === 0 || error.reasonCode !== NOT_AUTHORIZED || message.isBeyondBounds || ++message.denials > MOST_DENIALS)
      return false;
    this.#denials.set(message, { error, atMs: this.clock.monotonicMs(), accepted: 0 });
    this.list.append(message);
    return true;
  }

  /** The denials that are final now that a message to `topic` was accepted: another to the same topic, or several to others. */
  accepted(topic: string): readonly OutgoingMessage[] {
    if (this.list.size === 0) return NONE;
    return [...this.list].filter((message) => {
      const denial = this.#denials.get(message);
      return denial !== undefined && (++denial.accepted >= ACCEPTED || message.topic === topic);
    });
  }

  /** The denials that the connection has outlived. */
  outlived(): OutgoingMessage[] {
    const untilMs = this.clock.monotonicMs() - this.graceMs;
    return [...this.list].filter((message) => (this.#denials.get(message)?.atMs ?? -Infinity) <= untilMs);
  }

  /** Takes a message out. @returns why it was denied; undefined when it was not */
  release(message: OutgoingMessage): RefusedError | undefined {
    const error = this.#denials.get(message)?.error;
    if (error !== undefined) this.#denials.delete(message);
    return error;
  }

  /** The connection ended: the messages in the list are to be sent again, as new, since the broker's answer ended their exchange. */
  end(): void {
    for (const message of this.list) {
      message.dup = false;
      this.#denials.delete(message);
    }
  }
}

const NONE: readonly OutgoingMessage[] = Object.freeze([]);
