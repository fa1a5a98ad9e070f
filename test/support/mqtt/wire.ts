/** For tests: a link between a client and a broker in the same test, with a latency, that can be cut or held up. */
import { failure, type Failure } from "../../../sdk/failure.js";
import type { Link, LinkHandlers } from "../../../sdk/platform.js";
import type { ManualTime } from "./manual-time.js";

/** What a broker in a test does with a link. */
export interface WireEnd {
  /** The handshake resumes a session. */
  readonly resumes?: boolean;
  opened(wire: Wire): void;
  data(wire: Wire, bytes: Uint8Array): void;
  closed(wire: Wire): void;
}

export class Wire implements Link {
  /** What the client wrote, piece by piece. */
  readonly written: Uint8Array[] = [];
  /** True: the client is told that the link has enough. */
  isHeldUp = false;
  /** True: nothing comes through either way, and nobody is told. */
  isDead = false;
  isClosed = false;
  /** What the client said of the peer when it closed. */
  mayReturn: boolean | undefined;
  /** The client does not read; what comes meanwhile. */
  isPaused = false;
  readonly kept: Uint8Array[] = [];

  constructor(
    private readonly time: ManualTime,
    private readonly handlers: LinkHandlers,
    private readonly end: WireEnd,
    private readonly latencyMs: number,
  ) {
    this.time.after(latencyMs, () => {
      if (this.isClosed || this.isDead) return;
      handlers.opened({ tlsVersion: "none", cipher: "", resumed: end.resumes === true });
      end.opened(this);
    });
  }

  write(bytes: Uint8Array): boolean {
    const piece = Uint8Array.from(bytes);
    this.written.push(piece);
    this.time.after(this.latencyMs, () => {
      if (!this.isClosed && !this.isDead) this.end.data(this, piece);
    });
    return !this.isHeldUp;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (const piece of this.kept.splice(0)) this.toClient(piece);
  }

  close(mayReturn = false): void {
    this.mayReturn ??= mayReturn;
    // Orderly: what was written still arrives.
    this.time.after(this.latencyMs, () => this.cut(failure("CLOSED_LOCALLY", "closed")));
  }

  drain(): void {
    this.isHeldUp = false;
    this.handlers.drain();
  }

  /** From the broker. */
  toClient(bytes: Uint8Array): void {
    const piece = Uint8Array.from(bytes);
    this.time.after(this.latencyMs, () => {
      if (this.isClosed || this.isDead) return;
      if (this.isPaused) return void this.kept.push(piece);
      this.handlers.data(piece);
      // The bytes are the client's only during the call.
      piece.fill(0xee);
    });
  }

  /** The link ends; what is under way is lost. */
  cut(reason: Failure = failure("CONNECTION_RESET", "cut")): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.end.closed(this);
    this.handlers.ended(reason);
  }
}
