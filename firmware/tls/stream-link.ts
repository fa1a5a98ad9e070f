/**
 * The part of a link that plain TCP and TLS have in common: the time limit, the queue towards the socket, the orderly close, and the one
 * `ended` of the contract in `sdk/platform.ts`.
 */
import { failure, type Failure } from "../../sdk/failure.js";
import type { Cancel, Endpoint, Link, LinkHandlers, Scheduler } from "../../sdk/platform.js";
import type { AddressTurns } from "./address-turns.js";
import type { ByteStream, ByteStreamHandlers, ByteStreamOpener } from "./byte-stream.js";

/** How long an orderly close waits for the peer to close in turn before the connection is dropped. */
const CLOSE_GRACE_MS = 1_000;

export interface StreamLinkSurroundings {
  opener: ByteStreamOpener;
  scheduler: Scheduler;
  /** Which address of a name to begin with. */
  turns: AddressTurns;
}

export abstract class StreamLink implements Link, ByteStreamHandlers {
  protected readonly handlers: LinkHandlers;
  readonly #surroundings: StreamLinkSurroundings;
  readonly #address: string;
  readonly #endpoint: Endpoint;
  #stream: ByteStream;
  #stage: "connecting" | "open" | "closing" | "ended" = "connecting";
  #cancelTimer: Cancel;
  /** What the socket had no room for, in order. */
  #backlog: Uint8Array[] = [];
  /** How many times the peer had something to say to the owner. */
  #words = 0;

  constructor(surroundings: StreamLinkSurroundings, endpoint: Endpoint, timeoutMs: number, handlers: LinkHandlers) {
    this.handlers = handlers;
    this.#surroundings = surroundings;
    this.#endpoint = endpoint;
    this.#address = `${endpoint.host}:${endpoint.port}`;
    const late = (): void => this.end(failure("CONNECT_TIMEOUT", `no connection to ${this.#address} within ${timeoutMs} ms`));
    this.#cancelTimer = surroundings.scheduler.after(timeoutMs, late);
    this.#stream = this.#openStream();
  }

  abstract write(bytes: Uint8Array): boolean;
  /** The stream is up. */
  abstract opened(): void;
  /** Bytes came. */
  protected abstract received(bytes: Uint8Array): void;
  /** All that was queued has gone to the socket, also after the owner's `close`. */
  protected abstract drained(): void;
  /** Queues the last bytes of an orderly close. */
  protected abstract sayGoodbye(mayReturn?: boolean): void;
  /** Frees what the link holds beside the stream. Called once. */
  protected abstract release(): void;

  pause(): void {
    this.#stream.pause?.();
  }

  resume(): void {
    this.#stream.resume?.();
  }

  close(mayReturn?: boolean): void {
    this.resume();
    if (this.#stage === "closing" || this.#stage === "ended") return;
    const wasOpen = this.#stage === "open";
    this.#stage = "closing";
    if (wasOpen) this.sayGoodbye(mayReturn);
    this.#startTimer(wasOpen ? CLOSE_GRACE_MS : 0, () => this.end(failure("CLOSED_LOCALLY", "this side closed the connection")));
  }

  data(bytes: Uint8Array): void {
    // When closing, the peer's last words are read and dropped: unread bytes would make TCP take back what was sent.
    if (this.#stage === "connecting" || this.#stage === "open") this.received(bytes);
  }

  writable(): void {
    while (this.#backlog.length > 0) {
      const first = this.#backlog[0] as Uint8Array;
      const taken = this.#stream.write(first);
      if (taken < first.length) {
        this.#backlog[0] = first.subarray(taken);
        return;
      }
      this.#backlog.shift();
    }
    if (this.#stage !== "ended") this.drained();
  }

  ended(reason: Failure): void {
    this.end(reason);
  }

  /** Bytes may be given to and taken from the peer. */
  protected get isOpen(): boolean {
    return this.#stage === "open";
  }

  protected get isOver(): boolean {
    return this.#stage === "closing" || this.#stage === "ended";
  }

  /** True while the socket has no room. */
  protected get isStuffed(): boolean {
    return this.#backlog.length > 0;
  }

  /** Gives the owner what the peer said. */
  protected handOver(bytes: Uint8Array): void {
    this.#words++;
    this.handlers.data(bytes);
  }

  /** Call when the handshake is done: the time limit is off and the owner may write. */
  protected markOpen(): void {
    this.#cancelTimer();
    this.#stage = "open";
  }

  /** Sends bytes, or keeps them until there is room. */
  protected send(bytes: Uint8Array): void {
    if (this.#stage === "ended") return;
    const taken = this.isStuffed ? 0 : this.#stream.write(bytes);
    if (taken < bytes.length) this.#backlog.push(bytes.subarray(taken));
  }

  /** Gives up a connection that is not open yet for another, within the same time limit. */
  protected reopen(): void {
    this.#stream.close();
    this.#backlog = [];
    this.#stream = this.#openStream();
  }

  /** The one end, whoever found it first; after the owner's `close` it is always CLOSED_LOCALLY. */
  protected end(reason: Failure): void {
    if (this.#stage === "ended") return;
    const closing = this.#stage === "closing";
    this.#stage = "ended";
    this.#cancelTimer();
    this.#stream.close();
    this.#backlog = [];
    this.release();
    // The first words may be a refusal.
    if (this.#words < 2) this.#surroundings.turns.cameToNothing(this.#endpoint);
    this.handlers.ended(closing ? failure("CLOSED_LOCALLY", "this side closed the connection") : reason);
  }

  /** The end, found while the owner is calling: reported after that call has returned. */
  protected endSoon(reason: Failure): void {
    this.#startTimer(0, () => this.end(reason));
  }

  #openStream(): ByteStream {
    const { opener, turns } = this.#surroundings;
    return opener.open(this.#endpoint.host, this.#endpoint.port, this, turns.of(this.#endpoint));
  }

  #startTimer(delayMs: number, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#surroundings.scheduler.after(delayMs, run);
  }
}
