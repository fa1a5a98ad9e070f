/** A plain TCP connection as links want it, whoever provides it: ECMA-419 sockets on a chip, poll(2) in the XS host, a fake in tests. */
import type { Failure } from "../../sdk/failure.js";

/** None of these is called before `open` has returned, and none after `ended` or `close()`. */
export interface ByteStreamHandlers {
  /** The connection is up; at most once. */
  opened(): void;
  /** Bytes from the peer; they are the receiver's only until it returns. */
  data(bytes: Uint8Array): void;
  /** Room again after `write` had taken less than all. */
  writable(): void;
  /** The one end: DNS and connect errors, a reset, or the peer's orderly close; after all data that came before it. */
  ended(failure: Failure): void;
}

export interface ByteStream {
  /**
   * Takes as many bytes as there is room for and has copied them when it returns; when that is less than all, `writable` follows. An error
   * of sending is no error here: what the peer said before it went away is still delivered, then `ended`.
   * @returns how many bytes were taken
   */
  write(bytes: Uint8Array): number;
  /** Reads no more, so that the peer's window fills. A stream that cannot leaves both out. */
  pause?(): void;
  /** Reads again; nothing is reported before this call has returned. */
  resume?(): void;
  /** Lets go of the connection at once; what was taken is still sent if the peer is there. Idempotent. */
  close(): void;
}

export interface ByteStreamOpener {
  /**
   * Resolves the name and connects. Never throws: what goes wrong comes through `handlers.ended`. No time limit of its own.
   * @param turn with which of the name's addresses to begin, modulo how many there are, from 0; the others are tried when TCP fails. An
   *   opener whose system
   *   tells one address only has no use for it.
   */
  open(host: string, port: number, handlers: ByteStreamHandlers, turn: number): ByteStream;
}
