/**
 * Finds the one item that makes a broker end the connection, so that it takes nothing else down with it. Every item that is sent again
 * until it is answered (PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE) counts the connections that the broker ended while it was unanswered.
 * After two it is set apart: the others go first, then it is sent alone on a connection that has just answered a PINGREQ. Alone it may fail
 * three times; then it is given up, provided that the broker takes other messages: one that hangs up on all of them has a trouble of its
 * own. Plain state: no link, no timer.
 */
import type { Clock } from "../../platform.js";
import type { Blame } from "../contract/blame.js";
import { LazyMap } from "./lazy-map.js";

/** An item that is sent again on each connection until the broker answers it. */
export interface Retried {
  /** Connections that the broker ended while this was unanswered; 0 again with its answer. */
  strikes: number;
}

/** From so many strikes on, an item is sent only alone. */
export const APART_STRIKES = 2;
/** At so many it is given up. Only what is sent alone gets more than {@link APART_STRIKES}. */
const LAST_STRIKE = 5;
/** What an end counts for a message while the broker has not answered any other since: less where others are there that fare no better. */
const UNPROVED_STRIKE = 1 / 16;
const LONELY_STRIKE = 1 / 2;
/** Names given up lately that are remembered. */
const MAX_VERDICTS = 8;
/** How long a topic is refused at the call after several of its messages in a row were given up, milliseconds. */
const SHUNNED_MS = 600_000;

interface Verdict {
  /** The smallest message given up. */
  sizeBytes: number;
  /** Messages answered when the last one was given up. */
  answersBefore: number;
  shunnedUntilMs: number;
}

export class Suspects {
  /** The item under way alone. */
  trial: Retried | undefined;
  /** False: no item is set apart. */
  isAny = false;
  /** Messages answered. */
  #answers = 0;
  /** How many were when a message was set apart. */
  readonly #answersBefore = new LazyMap<Retried, number>();
  /** By topic or filter. */
  readonly #verdicts = new LazyMap<string, Verdict>();

  constructor(private readonly clock: Clock) {}

  /** The broker answered the item. */
  answered(item: Retried): void {
    if (item.strikes > 0) this.#answersBefore.delete(item);
    item.strikes = 0;
    if (this.trial === item) this.trial = undefined;
  }

  /** The connection ended, and nothing that was sent on it is the reason. */
  acquitTrial(): undefined {
    this.trial = undefined;
  }

  /**
   * The broker ended the connection, or answered too late.
   * @param unanswered the items that were sent on it and not answered
   * @param isLonely no message of another topic is there
   * @returns the item that is to be given up
   */
  judge(unanswered: readonly Retried[], blame: Blame, isLonely: boolean): Retried | undefined {
    const { trial } = this;
    this.trial = undefined;
    if (trial !== undefined && unanswered.length === 1 && unanswered[0] === trial) {
      const isProved = this.#answers > (this.#answersBefore.get(trial) ?? -1);
      const strike = isProved ? 1 : isLonely ? LONELY_STRIKE : UNPROVED_STRIKE;
      trial.strikes = blame === "item" ? LAST_STRIKE : trial.strikes + strike;
      return trial.strikes >= LAST_STRIKE ? trial : undefined;
    }
    for (const item of unanswered) {
      if (item.strikes >= APART_STRIKES) continue;
      item.strikes++;
      if (item.strikes < APART_STRIKES) continue;
      this.isAny = true;
      if (isMessage(item)) this.#answersBefore.set(item, this.#answers);
    }
    return undefined;
  }

  /**
   * An item of this topic or filter was given up.
   * @returns true when the name itself is to be blamed, not the one message: it was given up before, and only what has other names got
   *   through since
   */
  convict(name: string, sizeBytes: number): boolean {
    const earlier = this.#verdicts.get(name);
    const isShunned = earlier !== undefined && this.#answers > earlier.answersBefore;
    this.#verdicts.delete(name);
    for (const oldest of this.#verdicts.keys()) {
      if (this.#verdicts.size < MAX_VERDICTS) break;
      this.#verdicts.delete(oldest);
    }
    const smallest = Math.min(sizeBytes, earlier?.sizeBytes ?? Infinity);
    this.#verdicts.set(name, {
      sizeBytes: smallest,
      answersBefore: this.#answers,
      shunnedUntilMs: isShunned ? this.clock.monotonicMs() + SHUNNED_MS : 0,
    });
    return isShunned;
  }

  /** A message to this topic, or a request for this filter, was answered. */
  acquit(name: string, item: Retried): void {
    if (isMessage(item)) this.#answers++;
    if (this.#verdicts.size > 0) this.#verdicts.delete(name);
  }

  /** True while messages of this topic, from this size on, are not even tried. */
  shuns(topic: string, sizeBytes: number): boolean {
    const verdict = this.#verdicts.size > 0 ? this.#verdicts.get(topic) : undefined;
    return verdict !== undefined && sizeBytes >= verdict.sizeBytes && this.clock.monotonicMs() < verdict.shunnedUntilMs;
  }

  /** A new item: where another of its name was given up, it is tried alone, once. */
  begin(item: Retried, name: string): void {
    if (this.#verdicts.size === 0 || !this.#verdicts.has(name)) return;
    this.isAny = true;
    item.strikes = LAST_STRIKE - 1;
    if (isMessage(item)) this.#answersBefore.set(item, this.#answers);
  }
}

/** The suspect to be tried next; undefined: there is none. */
export function fewestStrikes<T extends Retried>(items: readonly T[]): T | undefined {
  let best: T | undefined;
  for (const item of items) if (item.strikes >= APART_STRIKES && item.strikes < (best?.strikes ?? Infinity)) best = item;
  return best;
}

function isMessage(item: Retried): boolean {
  return "payload" in item;
}
