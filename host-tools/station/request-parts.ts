/** A request in the parts that a device's UART can hold: the sending half of `sdk/provisioning/parts.ts`. */
import { HawserError } from "../../sdk/errors.js";
import { MAX_REQUEST_BYTES, PART, PART_BYTES, PART_HEADER_BYTES } from "../../sdk/provisioning/parts.js";

export interface RequestPart {
  readonly payload: Uint8Array;
  /** Where the next part begins; the request's size for the last one. */
  readonly end: number;
  readonly isLast: boolean;
}

/**
 * @param transfer 0..255, another for each attempt
 * @throws HawserError `REQUEST_TOO_LARGE`
 */
export function requestParts(transfer: number, request: Uint8Array): RequestPart[] {
  if (request.length > MAX_REQUEST_BYTES) {
    throw new HawserError(
      "REQUEST_TOO_LARGE",
      `the request has ${request.length} bytes; a device accepts ${MAX_REQUEST_BYTES}`,
      "Use a CA with shorter certificates.",
    );
  }
  const parts: RequestPart[] = [];
  for (let offset = 0; offset < request.length; offset += PART_BYTES) {
    const bytes = request.subarray(offset, offset + PART_BYTES);
    const payload = new Uint8Array(PART_HEADER_BYTES + bytes.length);
    const header = new DataView(payload.buffer);
    header.setUint8(0, PART);
    header.setUint8(1, transfer);
    header.setUint16(2, offset);
    header.setUint16(4, request.length);
    payload.set(bytes, PART_HEADER_BYTES);
    const end = offset + bytes.length;
    parts.push({ payload, end, isLast: end === request.length });
  }
  return parts;
}
