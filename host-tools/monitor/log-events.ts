/** Turns a broker's log into events: joins the two lines of a failed handshake, and keeps what a reader needs to resume. */
import type { LogFormat } from "./log-formats.js";
import { readEmbeddedLine } from "./embedded-line.js";
import { readMosquittoLine } from "./mosquitto-line.js";
import type { LogFact, LogLine } from "./mosquitto-line.js";

/** Facts that are joined, counted or acted on here and reported in another form. */
type Inner = "accepted" | "published" | "handshake-error" | "handshake-ended" | "client-text";

export type BrokerEvent = Exclude<LogFact, { kind: Inner }> & { readonly timeMs: number };

export type Publish = Extract<LogFact, { kind: "published" }> & { readonly timeMs: number };

/** What a reader needs from earlier lines to resume after this one. */
export interface ReaderState {
  /** The broker's version, once a line said it. */
  readonly version?: string | undefined;
  /** Handshake errors whose second line is still to come. */
  readonly owed: number;
}

/** Past this, second lines are lost rather than late. */
const MAX_OWED = 1000;

export interface Owner {
  /** A TCP connection. Nothing else is known of it yet. */
  accepted(peer: string, timeMs: number, end: number, state: ReaderState): void;
  /** A publish that the broker let through: too many to be events. */
  published(publish: Publish, end: number, state: ReaderState): void;
  /**
   * @param end offset where the line that completed the event ended
   * @param peer address and port of the connection, where the broker wrote them
   */
  event(event: BrokerEvent, end: number, state: ReaderState, peer?: string): void;
  /** The broker cut a line short, and whom it is about is not told. */
  cut(): void;
  /** The log holds a line that a client may have written: nothing in it can be believed. */
  untrusted(line: string): void;
}

export class LogEvents {
  #state: ReaderState;
  #held: { readonly fact: LogFact & { kind: "handshake-error" }; readonly timeMs: number; readonly end: number } | undefined;
  #unfamiliar = 0;
  #isFamiliar = false;
  readonly #owner: Owner;
  readonly #now: () => number;
  readonly #read: (text: string, isSince21: boolean) => LogLine;

  constructor(owner: Owner, state: ReaderState, now: () => number, format: LogFormat = "mosquitto") {
    this.#read = format === "mosquitto" ? readMosquittoLine : readEmbeddedLine;
    this.#owner = owner;
    this.#state = state;
    this.#now = now;
  }

  /** After the last line that was read, with {@link flush} behind it. */
  get state(): ReaderState {
    return this.#state;
  }

  /** Lines so far, when none of them had the time or the form of the broker's: 0 once one had. */
  get unfamiliarLines(): number {
    return this.#isFamiliar ? 0 : this.#unfamiliar;
  }

  /** @param end the line's end, for the owner */
  line(text: string, end: number): void {
    const { fact, timeMs: writtenMs, peer, isCut } = this.#read(text, isSince21(this.#state.version));
    if (isCut === true) this.#owner.cut();
    this.#isFamiliar ||= fact !== undefined || writtenMs !== undefined;
    if (!this.#isFamiliar) this.#unfamiliar += 1;
    const timeMs = writtenMs ?? this.#now();
    const held = this.#held;
    if (fact?.kind === "handshake-ended") {
      this.#held = undefined;
      // With another handshake's second line outstanding, this address may belong to that one: name none.
      const isSure = held === undefined || this.#state.owed === 0;
      const address = fact.address === undefined || !isSure ? {} : { address: fact.address };
      const ended = isSure ? peer : undefined;
      if (held !== undefined) this.#emit({ kind: "refused", reason: held.fact.reason, ...address, timeMs: held.timeMs }, end, ended);
      else if (this.#state.owed > 0) this.#state = { ...this.#state, owed: this.#state.owed - 1 };
      else this.#emit({ kind: "refused", reason: "protocol", ...address, timeMs }, end, ended);
      return;
    }
    this.flush();
    if (fact === undefined) return;
    if (fact.kind === "handshake-error") this.#held = { fact, timeMs, end };
    else if (fact.kind === "accepted") this.#owner.accepted(peer ?? fact.address, timeMs, end, this.#state);
    else if (fact.kind === "published") this.#owner.published({ ...fact, timeMs }, end, this.#state);
    else if (fact.kind === "client-text") this.#owner.untrusted(text);
    else this.#report(fact, timeMs, end, peer);
  }

  /** Call when the source has no more lines for now: reports a handshake error that still waits for its second line. */
  flush(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#state = { ...this.#state, owed: Math.min(MAX_OWED, this.#state.owed + 1) };
    this.#emit({ kind: "refused", reason: held.fact.reason, timeMs: held.timeMs }, held.end);
  }

  #report(fact: Exclude<LogFact, { kind: Inner }>, timeMs: number, end: number, peer: string | undefined): void {
    if (fact.kind === "broker-started") this.#state = { version: fact.version, owed: 0 };
    this.#emit({ ...fact, timeMs }, end, peer);
  }

  #emit(event: BrokerEvent, end: number, peer?: string): void {
    this.#owner.event(event, end, this.#state, peer);
  }
}

/** Whether the broker writes the line format of 2.1. Addresses from a broker of unknown version are not believed. */
function isSince21(version: string | undefined): boolean {
  const [major = 0, minor = 0] = (version ?? "").split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 1);
}
