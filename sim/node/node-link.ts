/** One socket of Node as the SDK's {@link Link}: whatever order Node's events come in, the owner sees the order of the contract. */
import type { OnReadOpts, Socket } from "node:net";
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import type { Link, LinkHandlers, LinkInfo } from "../../sdk/platform.js";
import { ProxyFault } from "./proxied-connection.js";
import { LONGEST_TIMEOUT_MS } from "./node-scheduler.js";

/** How long an orderly close may take before the socket is cut. */
const CLOSE_GRACE_MS = 2_000;
/** How long after a failed write a reason may still arrive that the peer sent before it went away. */
const LAST_WORDS_MS = 500;

// Node hands out read bytes before it reads on, and they are the receiver's only until it returns: one buffer serves all links.
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** What kind of socket it is and what its events mean. */
export interface LinkPlan {
  /** Starts connecting; a promise where TCP comes from a proxy. May throw or reject. */
  connect(onread: OnReadOpts): Socket | Promise<Socket>;
  /** Which event says that the link is up. */
  readonly openedBy: "connect" | "secureConnect";
  /** Milliseconds for all of DNS, TCP and TLS. */
  readonly timeoutMs: number;
  /** "host:port", for messages. */
  readonly address: string;
  /** The link is up. */
  opened(socket: Socket): LinkInfo;
  /** TCP is up, with this address. */
  reached(address: string): void;
  /** The link is over; `served` when the peer had gone on talking after its first bytes. */
  over(served: boolean): void;
  /** The peer has gone on talking after its first bytes, which may be a refusal. */
  proved(socket: Socket): void;
  /** The failure behind an error of the socket. */
  explain(error: unknown, opened: boolean): Failure;
  /** The failure behind what `connect` threw. */
  explainLocal(error: unknown): Failure;
  /** The owner closes a link over which the peer accepted it to the end. */
  leaving(socket: Socket): void;
  /** Last look at a socket that fails before it was up. */
  beforeDestroy(socket: Socket): void;
}

type Stage = "connecting" | "open" | "closing" | "ended";

export class NodeLink implements Link {
  readonly #plan: LinkPlan;
  readonly #handlers: LinkHandlers;
  #socket: Socket | undefined;
  #stage: Stage = "connecting";
  #timer: NodeJS.Timeout | undefined;
  #wasOpened = false;
  #isPaused = false;
  #reads = 0;
  #writeError: Error | undefined;

  constructor(plan: LinkPlan, handlers: LinkHandlers) {
    this.#plan = plan;
    this.#handlers = handlers;
    try {
      const socket = plan.connect({
        buffer: readBuffer,
        callback: (sizeBytes) => this.#received(readBuffer.subarray(0, sizeBytes)),
      });
      if (socket instanceof Promise) this.#await(socket);
      else this.#listenTo(socket);
    } catch (error) {
      setImmediate(() => this.#end(plan.explainLocal(error)));
      return;
    }
    const late = (): Failure => failure("CONNECT_TIMEOUT", `no connection to ${plan.address} within ${plan.timeoutMs} ms`);
    this.#startTimer(Math.min(plan.timeoutMs, LONGEST_TIMEOUT_MS), () => this.#end(late()));
  }

  #await(coming: Promise<Socket>): void {
    coming.then(
      (socket) => {
        if (this.#stage !== "connecting") return void socket.destroy();
        this.#listenTo(socket);
        // Node fills the shared buffer only on connections that it opens itself.
        socket.on("data", (bytes) => void this.#received(bytes));
      },
      (error: unknown) => this.#end(error instanceof ProxyFault ? error.reason : this.#plan.explainLocal(error)),
    );
  }

  write(bytes: Uint8Array): boolean {
    if (this.#socket === undefined || this.#writeError !== undefined || this.#stage === "closing" || this.#stage === "ended") return false;
    return this.#socket.write(bytes);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket?.resume();
  }

  close(mayReturn = false): void {
    // What the peer still says is not looked at, but its end is.
    if (this.#isPaused) this.resume();
    if (this.#stage === "closing" || this.#stage === "ended") return;
    const canFlush = this.#stage === "open" && this.#writeError === undefined;
    this.#stage = "closing";
    if (!canFlush) {
      setImmediate(() => this.#end(CLOSED_LOCALLY));
      return;
    }
    if (mayReturn && this.#socket !== undefined) this.#plan.leaving(this.#socket);
    this.#socket?.end();
    this.#startTimer(CLOSE_GRACE_MS, () => this.#end(CLOSED_LOCALLY));
  }

  #listenTo(socket: Socket): void {
    this.#socket = socket;
    this.#keepReadingAfterWriteErrors(socket);
    // Not before: of a name's several addresses each gets a new handle.
    let address: string | undefined;
    // The system no longer knows the address of a peer that has reset the connection.
    socket.on("connectionAttempt", (attempted: string) => (address = attempted));
    socket.once("connect", () => {
      socket.setNoDelay(true);
      if (address !== undefined) this.#plan.reached(address);
    });
    socket.once(this.#plan.openedBy, () => this.#opened(socket));
    socket.on("drain", () => {
      if (this.#stage === "open") this.#handlers.drain();
    });
    socket.on("error", (error) => this.#end(this.#plan.explain(error, this.#wasOpened)));
    // Before the link is up, Node follows an early end with an error that says more; when closing, what is queued goes out first.
    socket.on("end", () => {
      if (this.#stage === "open") this.#end(this.#silentEnd());
    });
    socket.on("close", () => this.#end(this.#silentEnd()));
  }

  /**
   * A broker that refuses us sends a TLS alert or a DISCONNECT and closes. When a write of ours meets the closed socket first, Node
   * would destroy the socket with the reason unread in it: a refused certificate would look like a bad network. So a failed write
   * only stops the writing, until the peer's last words or its end were read.
   */
  #keepReadingAfterWriteErrors(socket: Socket): void {
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error?: Error): Socket => {
      if (this.#stage === "connecting") this.#plan.beforeDestroy(socket);
      if (this.#stage !== "open" || !isWriteError(error)) return destroy(error);
      if (this.#writeError !== undefined) return socket;
      this.#writeError = error;
      this.#startTimer(LAST_WORDS_MS, () => this.#end(this.#silentEnd()));
      return socket;
    };
  }

  #opened(socket: Socket): void {
    if (this.#stage !== "connecting") return;
    this.#stopTimer();
    this.#stage = "open";
    this.#wasOpened = true;
    this.#handlers.opened(this.#plan.opened(socket));
  }

  #received(bytes: Uint8Array): boolean {
    if (this.#stage !== "open" || this.#socket === undefined) return true;
    this.#reads += 1;
    if (this.#reads === 2) this.#plan.proved(this.#socket);
    this.#handlers.data(bytes);
    return !this.#isPaused;
  }

  /** The end when no error told of it. */
  #silentEnd(): Failure {
    if (this.#writeError !== undefined) return this.#plan.explain(this.#writeError, true);
    return failure("CONNECTION_CLOSED", `${this.#plan.address} closed the connection`);
  }

  #end(reason: Failure): void {
    if (this.#stage === "ended") return;
    const closing = this.#stage === "closing";
    this.#stage = "ended";
    this.#stopTimer();
    this.#socket?.destroy();
    this.#plan.over(this.#reads > 1);
    this.#handlers.ended(closing ? CLOSED_LOCALLY : reason);
  }

  #startTimer(delayMs: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, delayMs);
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    // Else the link would hold the timer, and all that its run holds, for life.
    this.#timer = undefined;
  }
}

const CLOSED_LOCALLY = failure("CLOSED_LOCALLY", "this side closed the connection");

function isWriteError(error: Error | undefined): error is Error {
  return error !== undefined && "syscall" in error && error.syscall === "write";
}
