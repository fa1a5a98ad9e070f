/**
 * Bytes over an ECMA-419 serial port. The port's ways, read in Moddable SDK 8.2.3 (ESP32 and Linux) and acted out by
 * `test/support/firmware/fake-serial.ts`:
 *
 * - ESP32: there is no buffer but the UART's own, 128 bytes each way: what is not read in time is lost without a word. `onReadable` comes
 *   when the
 *   FIFO is nearly full or the line fell silent; `read()` takes what is there now. `write` throws "output full" above the room last told.
 * - Linux: `write` takes only an ArrayBuffer, and one at a time: the next after `onWritable`. When the port is lost `onError` comes, and
 *   the port closes itself.
 * - Both: `onWritable` comes first when the port is open, and again some time after each write.
 */
export interface SerialDevice {
  /** Everything that has come, or undefined. */
  read(): unknown;
  write(bytes: ArrayBufferLike): void;
  close(): void;
}

/** Which port: on the ESP32 a UART and its pins, on Linux a device. */
export interface SerialSettings {
  /** Bits a second. Default 115200. */
  baud?: number;
  /** ESP32: the UART. Default 0, which the USB socket of most boards leads to. */
  port?: number;
  /** ESP32: the pins, as numbers. Default those of UART 0 on the chip that the firmware was built for. */
  transmit?: number;
  receive?: number;
  /** Linux: for instance `/dev/ttyUSB0`. */
  device?: string;
}

export interface SerialOptions extends SerialSettings {
  baud: number;
  format: "buffer";
  onReadable(count: number): void;
  onWritable(count: number): void;
  onError(): void;
}

export type SerialConstructor = new (options: SerialOptions) => SerialDevice;

/** What waits to be sent is bounded: the other side asks again for what was dropped. */
const MAX_WAITING_BYTES = 8_192;

/** Reads in one turn of the event loop: a line that never falls silent must not keep everything else from running. */
const MAX_READS = 8;

export class SerialPort {
  readonly #device: SerialDevice;
  #waiting = new Uint8Array(0);
  #roomBytes = 0;
  #isOpen = true;

  /**
   * Opens the port. Throws what the engine throws when it cannot be had, for instance because a debugger uses it.
   * @param onData gets what comes; the bytes are the receiver's
   * @param onLost called once when the port is gone; nothing comes any more
   */
  constructor(
    Serial: SerialConstructor,
    settings: SerialSettings,
    onData: (bytes: Uint8Array) => void,
    onLost: () => void = () => undefined,
  ) {
    this.#device = new Serial({
      ...(settings.device === undefined && { port: 0 }),
      baud: 115_200,
      ...settings,
      format: "buffer",
      onReadable: () => this.#read(onData),
      onWritable: (count) => {
        this.#roomBytes = count;
        this.#send();
      },
      onError: () => {
        this.#isOpen = false;
        onLost();
      },
    });
  }

  /** Sends, in order; what would wait too long in line is dropped as a whole. */
  write(bytes: Uint8Array): void {
    if (!this.#isOpen || this.#waiting.length + bytes.length > MAX_WAITING_BYTES) return;
    const waiting = new Uint8Array(this.#waiting.length + bytes.length);
    waiting.set(this.#waiting);
    waiting.set(bytes, this.#waiting.length);
    this.#waiting = waiting;
    this.#send();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#device.close();
  }

  #read(onData: (bytes: Uint8Array) => void): void {
    for (let reads = 0; reads < MAX_READS && this.#isOpen; reads++) {
      const bytes = this.#device.read();
      if (!(bytes instanceof ArrayBuffer)) return;
      onData(new Uint8Array(bytes));
    }
  }

  /** One write for each `onWritable`, which is all that both ports take. */
  #send(): void {
    const size = Math.min(this.#roomBytes, this.#waiting.length);
    if (size === 0 || !this.#isOpen) return;
    this.#roomBytes = 0;
    const bytes = this.#waiting.slice(0, size);
    this.#waiting = this.#waiting.slice(size);
    this.#device.write(bytes.buffer);
  }
}
