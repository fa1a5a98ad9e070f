/**
 * A byte stream over an ECMA-419 TCP socket. The socket's ways, read in Moddable SDK 8.2.3 (lwIP port for the ESP32, Linux port) and acted
 * out by `test/support/firmware/fake-tcp.ts`:
 *
 * - `write` takes all or throws "would block" above the room last told, and "not ready" before the connection is up or after it was lost.
 * - `onError` has no argument, comes for a peer's orderly close as well, may come twice (lwIP), and only when all received bytes were read;
 *   on Linux
 *   it never comes when bytes were left unread in the call that announced them. So every announced byte is read at once.
 * - On Linux a callback may still come in the round in which the socket was closed.
 * - There is no connect time-out: the link above has one.
 */
import { failure, type FailureCode } from "../../sdk/failure.js";
import { errorMessage } from "../../sdk/errors.js";
import type { Cancel, Scheduler } from "../../sdk/platform.js";
import type { ByteStream, ByteStreamHandlers, ByteStreamOpener } from "../tls/byte-stream.js";
import type { TcpConstructor, TcpSocket } from "./ecma419.js";
import type { NameResolver } from "./name-resolver.js";

/** Received bytes go through JavaScript's heap in pieces of at most so many bytes: a whole TCP window (8 KiB) at once would fragment it. */
const READ_SIZE_BYTES = 2_048;

export interface TcpStreamParts {
  TCP: TcpConstructor;
  resolver: NameResolver;
  scheduler: Scheduler;
}

export function tcpStreamOpener(parts: TcpStreamParts): ByteStreamOpener {
  return { open: (host, port, handlers) => new TcpStream(parts, host, port, handlers) };
}

class TcpStream implements ByteStream {
  readonly #parts: TcpStreamParts;
  readonly #handlers: ByteStreamHandlers;
  readonly #place: string;
  readonly #cancelLookup: Cancel;
  // Kept after the end: the socket's callbacks live through it, and the Linux port may call them once more.
  #socket: TcpSocket | undefined;
  #stage: "connecting" | "open" | "over" = "connecting";
  #roomBytes = 0;
  #lostForSending = false;
  #owesWritable = false;
  #isPaused = false;
  /** Announced, and left in the socket while paused: lwIP's window fills, and the peer comes to a halt. */
  #unreadBytes = 0;

  constructor(parts: TcpStreamParts, host: string, port: number, handlers: ByteStreamHandlers) {
    this.#parts = parts;
    this.#handlers = handlers;
    this.#place = `${host}:${port}`;
    this.#cancelLookup = parts.resolver.resolve(host, (address) => this.#connect(address, port));
  }

  write(bytes: Uint8Array): number {
    if (this.#stage !== "open" || this.#lostForSending) return bytes.length;
    const fitting = Math.min(bytes.length, this.#roomBytes);
    const taken = fitting === 0 ? 0 : this.#send(bytes.subarray(0, fitting));
    if (this.#lostForSending) return bytes.length;
    this.#owesWritable = taken < bytes.length;
    return taken;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#parts.scheduler.after(0, () => {
      if (this.#stage !== "over" && this.#unreadBytes > 0) this.#readable(this.#unreadBytes);
    });
  }

  close(): void {
    if (this.#stage === "over") return;
    this.#stage = "over";
    this.#cancelLookup();
    this.#socket?.close();
  }

  #connect(address: string | undefined, port: number): void {
    if (address === undefined) return this.#end("DNS_FAILED", `no address for ${this.#place}`);
    try {
      this.#socket = new this.#parts.TCP({
        address,
        port,
        nodelay: true,
        format: "buffer",
        onReadable: (count) => this.#readable(count),
        onWritable: (count) => this.#writable(count),
        onError: () => this.#lost(),
      });
    } catch {
      // No network interface, or no socket left.
      this.#end("HOST_UNREACHABLE", `no socket for ${this.#place}`);
    }
  }

  /** @returns how many bytes the socket took: all, or none when it has less room than it said or is lost */
  #send(bytes: Uint8Array): number {
    try {
      const room = this.#socket?.write(bytes);
      this.#roomBytes = typeof room === "number" ? room : this.#roomBytes - bytes.length;
      return bytes.length;
    } catch (error) {
      this.#roomBytes = 0;
      // Anything else means that the connection is gone; `onError` is on its way, behind what the peer still said.
      this.#lostForSending = errorMessage(error) !== "would block";
      return 0;
    }
  }

  #writable(count: number): void {
    if (this.#stage === "over") return;
    this.#roomBytes = count;
    if (this.#stage === "connecting") {
      this.#stage = "open";
      return this.#handlers.opened();
    }
    if (!this.#owesWritable || count === 0) return;
    this.#owesWritable = false;
    this.#handlers.writable();
  }

  #readable(count: number): void {
    this.#unreadBytes = count;
    for (let left = count; left > 0 && this.#stage !== "over" && !this.#isPaused; this.#unreadBytes = left) {
      const size = Math.min(left, READ_SIZE_BYTES);
      left -= size;
      const bytes = this.#socket?.read(size);
      if (bytes instanceof ArrayBuffer) this.#handlers.data(new Uint8Array(bytes));
    }
  }

  #lost(): void {
    if (this.#stage === "open") this.#end("CONNECTION_CLOSED", `${this.#place} closed the connection, or it was lost`);
    else this.#end("CONNECTION_REFUSED", `no connection to ${this.#place}: refused, or no way there`);
  }

  #end(code: FailureCode, message: string): void {
    if (this.#stage === "over") return;
    this.close();
    this.#handlers.ended(failure(code, message));
  }
}
