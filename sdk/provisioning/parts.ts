/**
 * Requests in parts. Moddable's serial port on the ESP32 has no buffer and no flow control: what JavaScript has not read is in the UART's
 * own FIFO of 128 bytes. So the station sends a request in frames that fit in there whole, and the next only when the device has taken the
 * last one.
 *
 * The first byte of a payload is its kind. Multi-byte numbers are big-endian.
 * - `PART`, to the device: kind, transfer (8 bits, another for each attempt), offset and size of the whole request (16 bits each), then its
 *   bytes.
 * - `ACK`, to the station: kind, transfer, offset of the part it wants next. The last part is acknowledged by the answer alone.
 * - `ANSWER`, to the station: kind, then the whole answer.
 */
import { utf8Encode } from "../encoding/text.js";

export const PART = 1;
export const ACK = 2;
export const ANSWER = 3;

export const PART_HEADER_BYTES = 6;

/** The most a part carries of a request: with header, frame and stray borders it stays within 128 bytes on the line. */
export const PART_BYTES = 112;

/** No request is larger, bytes: as in enrolment over MQTT, for it holds the same chain. */
export const MAX_REQUEST_BYTES = 8_192;

export type Taken = { readonly reply: Uint8Array } | { readonly request: Uint8Array };

/**
 * Puts requests together. Holds one at most; what does not continue it, or is no part, is passed over in silence: the station repeats
 * itself.
 */
export class RequestAssembler {
  #transfer = -1;
  #request: Uint8Array | undefined;
  #length = 0;

  /** @returns what a part calls for: an acknowledgement to send, or the whole request */
  take(payload: Uint8Array): Taken | undefined {
    if (payload.length <= PART_HEADER_BYTES || payload.length > PART_HEADER_BYTES + PART_BYTES || payload[0] !== PART) return undefined;
    const view = new DataView(payload.buffer, payload.byteOffset);
    const transfer = view.getUint8(1);
    const offset = view.getUint16(2);
    const size = view.getUint16(4);
    const end = offset + payload.length - PART_HEADER_BYTES;
    if (size > MAX_REQUEST_BYTES || end > size) return undefined;
    if (offset === 0) this.#begin(transfer, size);
    const request = this.#request;
    if (request?.length !== size || transfer !== this.#transfer || offset > this.#length) return undefined;
    if (offset === this.#length) {
      request.set(payload.subarray(PART_HEADER_BYTES), offset);
      this.#length = end;
    }
    if (this.#length < size) return { reply: Uint8Array.of(ACK, transfer, end >> 8, end & 0xff) };
    this.#request = undefined;
    return { request };
  }

  #begin(transfer: number, size: number): void {
    this.#transfer = transfer;
    this.#request = new Uint8Array(size);
    this.#length = 0;
  }
}

/** The payload that carries an answer. */
export function answerPayload(answer: object): Uint8Array {
  const text = utf8Encode(JSON.stringify(answer));
  const payload = new Uint8Array(1 + text.length);
  payload[0] = ANSWER;
  payload.set(text, 1);
  return payload;
}
