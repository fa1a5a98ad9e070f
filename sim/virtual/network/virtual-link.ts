/** One connection of a device: DNS, TCP, TLS, then a byte stream, each step at the mercy of the path. Both ends live here. */
import { alertFailure, failure, type Failure } from "../../../sdk/failure.js";
import type { Cancel, Credential, Endpoint, Link, LinkHandlers } from "../../../sdk/platform.js";
import type { PowerSupply } from "../power/power-supply.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { Listener, ServerHandlers } from "./network.js";
import type { Carried, Path } from "./path.js";
import { Pipe } from "./pipe.js";
import type { Resumption, Ticket } from "./tickets.js";
import { serverFault, shownAs, type ShownCredential } from "./virtual-tls.js";

/** The send buffer of lwIP on an ESP32, bytes: above it, `write` asks to wait. */
const SEND_BUFFER_BYTES = 5_744;

export interface DialOrder {
  endpoint: Endpoint;
  credential: Credential;
  shown: ShownCredential;
  /** Undefined when the name does not exist. */
  listener: Listener | undefined;
  timeoutMs: number;
  resumption?: Resumption | undefined;
  /** Offered to the server. */
  ticket?: Ticket | undefined;
}

export class VirtualLink implements Link, Carried {
  #opened = false;
  /** The device has heard of the end, or can no longer hear. */
  #ended = false;
  #closing = false;
  #wantsDrain = false;
  #forgotten = false;
  #isPaused = false;
  /** What came while the device did not read. */
  #kept: Uint8Array[] = [];
  #server: ServerHandlers | undefined;
  /** Keeps the ticket that the server gave last. */
  #keepTicket: (() => void) | undefined;
  readonly #up: Pipe;
  readonly #down: Pipe;
  readonly #cleanUp: Cancel[] = [];
  #timeout: Cancel = () => undefined;

  constructor(
    private readonly time: VirtualTime,
    private readonly path: Path,
    private readonly power: PowerSupply,
    private readonly handlers: LinkHandlers,
  ) {
    this.#up = new Pipe(
      time,
      path,
      (bytes) => this.#arrivedUp(bytes),
      () => path.uplinkBytesPerSecond,
    );
    this.#down = new Pipe(time, path, (bytes) => this.#arrivedDown(bytes));
    this.#cleanUp.push(
      path.carry(this),
      power.onCut(() => this.#vanish()),
    );
  }

  dial(order: DialOrder): void {
    this.#timeout = this.time.after(order.timeoutMs, () =>
      this.#end(failure("CONNECT_TIMEOUT", `no connection within ${order.timeoutMs} ms`)),
    );
    this.#step(this.path.random.between(1, 60), () => this.#resolve(order));
  }

  /** Ends without having tried. */
  fail(reason: Failure): void {
    this.time.after(0, () => this.#end(reason));
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ended || this.#closing) return true;
    if (!this.#forgotten) this.#up.send(bytes);
    this.#wantsDrain = this.#up.queuedBytes > SEND_BUFFER_BYTES;
    return !this.#wantsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const kept = this.#kept;
    this.#kept = [];
    for (const bytes of kept) this.time.after(0, () => this.#arrivedDown(bytes));
  }

  close(mayReturn = false): void {
    if (this.#ended || this.#closing) return;
    if (mayReturn) this.#keepTicket?.();
    // The power may have gone while it was written.
    if (this.#ended) return;
    this.#closing = true;
    this.#timeout();
    this.#up.mark(() => this.#endServer());
    this.time.after(0, () => this.#end(failure("CLOSED_LOCALLY", "closed by this side"), "keep-sending"));
  }

  reset(): void {
    this.#endServer();
    this.#end(failure("CONNECTION_RESET", "the connection was reset"));
  }

  forget(): void {
    if (!this.#opened) return;
    this.#forgotten = true;
    this.#up.stop();
    this.#down.stop();
  }

  #resolve(order: DialOrder): void {
    const { host } = order.endpoint;
    if (!this.path.isJoined) return this.#end(failure("HOST_UNREACHABLE", "no socket"));
    if (this.path.dns === "silent") return;
    if (this.path.dns === "fails" || !order.listener) return this.#end(failure("DNS_FAILED", `${host} cannot be resolved`));
    const { listener } = order;
    this.#step(this.#roundTripMs(), () => this.#connect(order, listener));
  }

  #connect(order: DialOrder, listener: Listener): void {
    const { host, port } = order.endpoint;
    if (this.path.reach === "unreachable") return this.#end(failure("HOST_UNREACHABLE", `there is no route to ${host}`));
    if (this.path.reach === "refused" || !listener.up) return this.#end(failure("CONNECTION_REFUSED", `nobody listens on ${host}:${port}`));
    const rounds = listener.tlsVersion === "TLSv1.3" ? 1 : 2;
    this.#step(this.path.handshakeMs + rounds * this.#roundTripMs(), () => this.#handshake(order, listener));
  }

  #handshake(order: DialOrder, listener: Listener): void {
    if (!listener.up) return this.#end(failure("CONNECTION_RESET", "the server went away during the handshake"));
    const { impostor } = this.path;
    const fault = impostor
      ? failure(impostor, "somebody else answered for the server")
      : serverFault(order.endpoint, order.credential, listener);
    // A pre-shared key is proved by both sides at once: whoever does not know it cannot finish.
    if (fault) return this.#end(order.credential.kind === "psk" ? alertFailure(80, "psk", false) : fault);
    const { forged } = this.path;
    if (forged === "reset") return this.reset();
    if (forged !== undefined) return this.#end(alertFailure(forged, shownAs(order.shown), false));
    const resumedAs = order.ticket && listener.tickets?.take(order.ticket);
    // Of a resumed session the server knows what was shown then.
    const shown = resumedAs ?? order.shown;
    const alert = listener.judge(shown);
    // In TLS 1.3 a client with a certificate is done before the server has seen it.
    const verdictComesLater = listener.tlsVersion === "TLSv1.3" && shown.kind === "certificate";
    if (alert !== undefined && !verdictComesLater) return this.#end(alertFailure(alert, shownAs(shown), false));
    this.#timeout();
    this.#opened = true;
    this.#up.mark(() => this.#serverFinished({ ...order, shown }, listener));
    const resumed = resumedAs !== undefined;
    this.handlers.opened({ tlsVersion: listener.tlsVersion, cipher: "TLS_AES_128_GCM_SHA256", resumed });
  }

  /** The client's last flight reached the server. */
  #serverFinished(order: DialOrder, listener: Listener): void {
    if (!listener.up) return this.reset();
    const alert = listener.judge(order.shown);
    if (alert !== undefined) return this.#refuse(alert, order.shown);
    this.#server = listener.accept(
      {
        write: (bytes) => this.#forgotten || this.#down.send(bytes),
        close: () => this.#forgotten || this.#down.mark(() => this.#end(failure("CONNECTION_CLOSED", "the server closed the connection"))),
        reset: () => this.#forgotten || this.#down.mark(() => this.reset()),
      },
      order.shown,
    );
    const { endpoint, credential, resumption } = order;
    const ticket = resumption && listener.tickets?.give(order.shown);
    if (ticket) this.#down.mark(() => (this.#keepTicket = (): void => resumption.keep(endpoint, credential, ticket)));
  }

  #refuse(alert: number, shown: ShownCredential): void {
    const lost = this.path.random.chance(this.path.alertLoss);
    this.#down.mark(() =>
      this.#end(lost ? failure("CONNECTION_RESET", "the connection was reset") : alertFailure(alert, shownAs(shown), true)),
    );
  }

  #arrivedUp(bytes: Uint8Array): void {
    this.#server?.data(bytes);
    if (!this.#wantsDrain || this.#ended || this.#up.queuedBytes > SEND_BUFFER_BYTES / 2) return;
    this.#wantsDrain = false;
    this.handlers.drain();
  }

  #arrivedDown(bytes: Uint8Array): void {
    // A machine that was switched off and on answers what it does not know with a reset.
    if (!this.power.on) return this.#endServer();
    if (this.#ended || this.#closing) return;
    if (this.#isPaused) this.#kept.push(bytes);
    else this.handlers.data(bytes);
  }

  #step(delayMs: number, run: () => void): void {
    this.#cleanUp.push(
      this.time.after(delayMs, () => {
        if (!this.#ended && !this.path.blackHole) run();
      }),
    );
  }

  #roundTripMs(): number {
    return this.path.delayMs() + this.path.delayMs();
  }

  /** The device's end is over. */
  #end(reason: Failure, then: "stop" | "keep-sending" = "stop"): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    this.#down.stop();
    if (then === "stop") {
      this.#up.stop();
      this.#endServerSoon();
    }
    this.handlers.ended(reason);
  }

  /** The server hears of an end the device has heard of, unless the way between them is gone. */
  #endServerSoon(): void {
    if (this.#server && !this.#forgotten) this.time.after(this.path.delayMs(), () => this.#endServer());
  }

  #endServer(): void {
    const server = this.#server;
    this.#server = undefined;
    server?.ended();
  }

  /** The power went: the device hears nothing any more, and nobody tells the server. */
  #vanish(): void {
    this.#ended = true;
    this.#up.stop();
    this.#release();
  }

  #release(): void {
    this.#timeout();
    for (const cancel of this.#cleanUp) cancel();
  }
}
