/** The least a station can be, for the tests of the device's half: parts without waiting, answers as they come. Not part of the product. */
import { encodeFrame, FrameDecoder } from "../../../sdk/provisioning/frames.js";
import { ACK, ANSWER, PART, PART_BYTES } from "../../../sdk/provisioning/parts.js";

export type Answer = Readonly<Record<string, unknown>> & { error?: { code: string; message: string } };

export const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** The payloads that carry a request. */
export function partsOf(request: Uint8Array, transfer = 1): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < request.length; at += PART_BYTES) {
    parts.push(
      Uint8Array.of(
        PART,
        transfer,
        at >> 8,
        at & 0xff,
        request.length >> 8,
        request.length & 0xff,
        ...request.subarray(at, at + PART_BYTES),
      ),
    );
  }
  return parts;
}

/** What a device wrote: the answers, and how many parts it acknowledged. */
export class WrittenByDevice {
  readonly answers: Answer[] = [];
  readonly #frames = new FrameDecoder();
  acknowledged = 0;

  readonly write = (bytes: Uint8Array): void => {
    for (const frame of this.#frames.feed(bytes)) {
      if (!("payload" in frame)) throw new Error(`the device wrote a bad frame: ${frame.fault}`);
      if (frame.payload[0] === ACK) this.acknowledged++;
      else if (frame.payload[0] === ANSWER) this.answers.push(JSON.parse(Buffer.from(frame.payload.subarray(1)).toString()) as Answer);
      else throw new Error("the device wrote something unknown");
    }
  };
}

let requests = 0;

export const newRequestId = (): string => (++requests).toString(16).padStart(32, "0");

/** The frames of a request, one after the other. */
export function framesOf(fields: Readonly<Record<string, unknown>>, transfer = 1): Uint8Array {
  const request = Buffer.from(JSON.stringify({ v: 1, requestId: newRequestId(), ...fields }));
  return Uint8Array.from(partsOf(request, transfer).flatMap((part) => [...encodeFrame(part)]));
}
