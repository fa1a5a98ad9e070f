/** A link through a TLS engine: moves bytes between the stream, the engine and the owner, and tells of failures in the SDK's words. */
import { failure, type Failure, type Shown } from "../../sdk/failure.js";
import type { Endpoint, LinkHandlers } from "../../sdk/platform.js";
import { StreamLink, type StreamLinkSurroundings } from "./stream-link.js";
import {
  cipherName,
  engineFailure,
  TLS_CLOSED,
  TLS_FAILED,
  TLS_HANDSHAKING,
  TLS_OPEN,
  versionName,
  wantsFallback,
  type TlsEngine,
} from "./tls-engine.js";

export interface TlsLinkOptions {
  endpoint: Endpoint;
  timeoutMs: number;
  shown: Shown;
  /** Started, with its first flight ready to pull; the link closes it. */
  engine: TlsEngine;
  /** Another one, for a second connection, when {@link wantsFallback}. */
  fallback?: () => TlsEngine | undefined;
}

export class TlsLink extends StreamLink {
  #engine: TlsEngine;
  #fallback: TlsLinkOptions["fallback"];
  readonly #shown: Shown;
  readonly #address: string;
  /** What the owner wrote and the engine had no room for. */
  #unwritten: Uint8Array[] = [];

  constructor(surroundings: StreamLinkSurroundings, options: TlsLinkOptions, handlers: LinkHandlers) {
    super(surroundings, options.endpoint, options.timeoutMs, handlers);
    this.#engine = options.engine;
    this.#fallback = options.fallback;
    this.#shown = options.shown;
    this.#address = `${options.endpoint.host}:${options.endpoint.port}`;
  }

  opened(): void {
    this.#flush();
  }

  write(bytes: Uint8Array): boolean {
    if (!this.isOpen) return false;
    this.#unwritten.push(bytes);
    this.#encrypt();
    return this.#unwritten.length === 0;
  }

  protected received(bytes: Uint8Array): void {
    const engine = this.#engine;
    for (let offset = 0; offset < bytes.length && !this.isOver;) {
      const taken = engine.feed(bytes, offset);
      offset += taken;
      this.#advance();
      // What else came is of a connection that is given up.
      if (engine !== this.#engine) return;
      if (taken === 0) return this.end(failure("TLS_FAILED", `TLS with ${this.#address}: the engine takes no more bytes`));
    }
  }

  protected drained(): void {
    if (this.#unwritten.length === 0) return this.#flush();
    this.#encrypt();
    if (this.#unwritten.length > 0) return;
    if (this.isOpen) this.handlers.drain();
    else this.sayGoodbye();
  }

  protected sayGoodbye(mayReturn?: boolean): void {
    // Nothing can be written after it: what still waits goes first.
    if (this.#unwritten.length > 0) return;
    this.#engine.closeNotify(mayReturn);
    this.#flush();
  }

  protected release(): void {
    this.#engine.close();
    this.#unwritten = [];
  }

  /** Goes on as far as the bytes fed allow, and sends in one piece what the engine then has to say. */
  #advance(): void {
    if (this.#engine.state() === TLS_HANDSHAKING && this.#engine.handshake() === TLS_OPEN) {
      this.#flush();
      this.markOpen();
      const engine = this.#engine;
      const unproved = engine.serverProved() ? {} : ({ serverAuth: false } as const);
      this.handlers.opened({
        tlsVersion: versionName(engine.version()),
        cipher: cipherName(engine.cipherSuite()),
        resumed: engine.resumed(),
        ...unproved,
      });
    }
    while (this.isOpen) {
      const plaintext = this.#engine.read();
      if (plaintext === undefined) break;
      this.handOver(new Uint8Array(plaintext));
    }
    if (this.isOver) return;
    // Also after a failure: our own alert may be waiting.
    this.#flush();
    const state = this.#engine.state();
    if (state === TLS_FAILED && !this.#beganAgain()) this.end(this.#explain());
    else if (state === TLS_CLOSED) this.end(failure("CONNECTION_CLOSED", `${this.#address} closed the connection`));
  }

  #beganAgain(): boolean {
    const engine = wantsFallback(this.#engine) ? this.#fallback?.() : undefined;
    this.#fallback = undefined;
    if (engine === undefined) return false;
    this.#engine.close();
    this.#engine = engine;
    this.reopen();
    return true;
  }

  #explain(): Failure {
    return engineFailure(this.#engine, this.#shown, this.#address);
  }

  #encrypt(): void {
    while (this.#unwritten.length > 0 && !this.isStuffed) {
      const first = this.#unwritten[0] as Uint8Array;
      const taken = this.#engine.write(first, 0);
      if (taken < first.length) this.#unwritten[0] = first.subarray(taken);
      else this.#unwritten.shift();
      this.#flush();
      if (this.#engine.state() === TLS_FAILED) return this.endSoon(this.#explain());
      if (taken === 0) return;
    }
  }

  /** Nothing is pulled while the socket has no room: the engine's own bound then holds back the writer. */
  #flush(): void {
    if (this.isStuffed) return;
    const bytes = this.#engine.pull();
    if (bytes !== undefined) this.send(new Uint8Array(bytes));
  }
}
