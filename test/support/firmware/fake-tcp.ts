/**
 * A fake `embedded:io/socket/tcp` that behaves as the two real ones were read to behave (Moddable SDK 8.2.3, `modules/io/socket/lwip/tcp.c`
 * and
 * `modules/io/socket/lin/tcp.c`; facts in the reference "ECMA-419 IO"). It takes no favours: what the real ones punish, it punishes.
 *
 * Both: callbacks only from their event loop ({@link FakeTcp.turn}); `write` above the writable count throws "would block" and takes all or
 * nothing; `read(n)` throws for n <= 0 or more than there is; after `close` every method throws; `onError` has no argument, comes also for
 * an orderly close by the peer, and waits until unread data is drained.
 *
 * - `lwip` (ESP32): `write` throws "not ready" before the connection is up and after it is lost, returns the room left; reading the last
 *   byte of
 *   a lost connection posts another `onError`, so it can come twice.
 * - `linux`: room is 1,536 bytes, whole again with every turn; `write` before the connection throws "would block"; a loss found while bytes
 *   are unread is
 *   reported never, for its task stops at the first error; a callback of the same turn still comes after `close`.
 */
import type { TcpOptions, TcpSocket } from "../../../firmware/io/ecma419.js";

export type Port = "lwip" | "linux";

const LINUX_ROOM = 1_536;

export class FakeTcp implements TcpSocket {
  /** All that were made, newest last. */
  static readonly made: FakeTcp[] = [];

  readonly sent: number[] = [];
  closed = false;
  readonly #port: Port;
  readonly #options: TcpOptions;
  #received: number[] = [];
  #room = 0;
  #up = false;
  #lost = false;
  #triggered = { writable: false, readable: false, error: false };
  /** The Linux task returns at once when an error is set: nothing is reported any more. */
  #taskStopped = false;

  constructor(port: Port, options: TcpOptions) {
    if (!/^\d+\.\d+\.\d+\.\d+$/.test(options.address)) throw new Error("invalid address");
    if (options.port < 0 || options.port > 65_535) throw new RangeError("invalid port");
    this.#port = port;
    this.#options = options;
    FakeTcp.made.push(this);
  }

  get options(): TcpOptions {
    return this.#options;
  }

  read(count: number): ArrayBuffer | undefined {
    this.#alive();
    if (this.#received.length === 0) return undefined;
    if (count <= 0 || count > this.#received.length) throw new Error("invalid");
    const bytes = new Uint8Array(this.#received.splice(0, count));
    if (this.#lost && this.#received.length === 0) this.#triggered.error = true;
    return bytes.buffer;
  }

  write(bytes: Uint8Array): number | undefined {
    this.#alive();
    if (this.#port === "lwip") {
      if (!this.#up) throw new Error("not ready");
      if (this.#lost) return undefined;
    }
    if (bytes.length > this.#room) throw new Error("would block");
    this.sent.push(...bytes);
    this.#room -= bytes.length;
    return this.#room;
  }

  close(): void {
    this.#alive();
    this.closed = true;
  }

  // The network's side.

  connected(room = this.#port === "linux" ? LINUX_ROOM : 8_192): void {
    this.#up = true;
    this.#room = room;
    this.#triggered.writable = true;
  }

  /** The peer acknowledged: so much room now. */
  drained(room: number): void {
    this.#room = room;
    this.#triggered.writable = true;
  }

  receives(...bytes: number[]): void {
    this.#received.push(...bytes);
    this.#triggered.readable = true;
  }

  /** Refused, reset, or closed by the peer. */
  ends(): void {
    this.#lost = true;
    if (this.#port === "linux" && this.#received.length > 0 && !this.#triggered.readable) this.#taskStopped = true;
    this.#triggered.error = true;
  }

  /** One turn of the event loop. @returns whether anything was reported */
  turn(): boolean {
    if (this.closed || this.#taskStopped) return false;
    const { writable, readable, error } = this.#triggered;
    if (!writable && !readable && !error) return false;
    this.#triggered = { writable: false, readable: false, error: false };
    return this.#port === "lwip" ? this.#turnLwip(writable, readable, error) : this.#turnLinux(writable, readable, error);
  }

  #turnLwip(writable: boolean, readable: boolean, error: boolean): boolean {
    if (error) this.#up = false;
    if (readable && this.#received.length > 0) this.#options.onReadable(this.#received.length);
    if (this.closed || (this.#received.length > 0 && this.#lost)) return true;
    if (this.#lost) this.#options.onError();
    else if (writable) this.#options.onWritable(this.#room);
    return true;
  }

  #turnLinux(writable: boolean, readable: boolean, error: boolean): boolean {
    if (writable && !this.#lost) this.#options.onWritable(this.#room);
    // No look at `closed`: the real one calls on with the round it is in.
    if (readable && this.#received.length > 0) this.#options.onReadable(this.#received.length);
    if (error && this.#received.length > 0) this.#taskStopped = true;
    else if (error && !this.closed) this.#options.onError();
    return true;
  }

  #alive(): void {
    if (this.closed) throw new Error("closed");
  }
}
