/**
 * A fake `embedded:io/serial` that behaves as the two real ones were read to behave (Moddable SDK 8.2.3, `modules/io/serial/esp32/serial.c`
 * and
 * `modules/io/serial/lin/serial.c`). It takes no favours.
 *
 * Both: callbacks only from their event loop ({@link FakeSerial.turn}); `onWritable` comes first of all, and again after each write; `read`
 * gives all there is.
 * - `esp32`: 128 bytes each way and no more: what comes beyond is lost in silence; `write` above the room throws "output full".
 * - `lin`: the kernel's buffer holds what comes; `write` takes an ArrayBuffer of at most 1,024 bytes, throws "would overflow" for another
 *   before
 *   `onWritable`; an exception out of a callback is swallowed; a lost port closes itself after `onError`, and any use of it from then on is
 * a crash.
 */
import type { SerialDevice, SerialOptions } from "../../../firmware/io/serial-port.js";

export type Port = "esp32" | "lin";

const FIFO_BYTES = 128;
const LINUX_ROOM = 1_024;

export class FakeSerial implements SerialDevice {
  /** All that were made, newest last. */
  static readonly made: FakeSerial[] = [];

  readonly sent: number[] = [];
  readonly options: SerialOptions;
  closed = false;
  /** Bytes that found the FIFO full. */
  lost = 0;
  readonly #port: Port;
  #received: number[] = [];
  #room: number;
  #owesWritable = true;

  constructor(port: Port, options: SerialOptions) {
    if (port === "lin" && options.device === undefined) throw new Error("No such file or directory");
    if (port === "esp32" && (options.receive === undefined || options.transmit === undefined)) throw new Error("invalid");
    if (!(options.baud > 0)) throw new RangeError("invalid baud");
    this.#port = port;
    this.options = options;
    this.#room = port === "esp32" ? FIFO_BYTES : LINUX_ROOM;
    FakeSerial.made.push(this);
  }

  read(): ArrayBuffer | undefined {
    this.#alive();
    return this.#received.length === 0 ? undefined : new Uint8Array(this.#received.splice(0)).buffer;
  }

  write(bytes: ArrayBufferLike): void {
    this.#alive();
    if (!(bytes instanceof ArrayBuffer)) throw new TypeError("no ArrayBuffer");
    if (bytes.byteLength > this.#room) throw new Error(this.#port === "esp32" ? "output full" : "would overflow");
    this.sent.push(...new Uint8Array(bytes));
    this.#room = this.#port === "esp32" ? this.#room - bytes.byteLength : 0;
    this.#owesWritable = true;
  }

  close(): void {
    this.#alive();
    this.closed = true;
  }

  // The line's side.

  receives(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#port === "esp32" && this.#received.length === FIFO_BYTES) this.lost++;
      else this.#received.push(byte);
    }
  }

  /** The adapter was unplugged (Linux). */
  vanishes(): void {
    this.options.onError();
    this.closed = true;
  }

  /** One turn of the event loop. */
  turn(): void {
    if (!this.closed && this.#received.length > 0) this.#call(() => this.options.onReadable(this.#received.length));
    if (this.closed || !this.#owesWritable) return;
    this.#owesWritable = false;
    this.#room = this.#port === "esp32" ? FIFO_BYTES : LINUX_ROOM;
    this.#call(() => this.options.onWritable(this.#room));
  }

  #call(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (this.#port === "esp32") throw error;
    }
  }

  #alive(): void {
    if (this.closed) throw new Error("closed");
  }
}
