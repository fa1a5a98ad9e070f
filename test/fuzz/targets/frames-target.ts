/**
 * The frames of a serial line: whatever comes on it, no exception, frames within their bound, and the same ones however the line is read.
 */
import { encodeFrame, FrameDecoder, MAX_PAYLOAD_BYTES, type Frame } from "../../../sdk/provisioning/frames.js";
import { byteBend, words } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";
import { pieces } from "./packets-target.js";

const FRAME_WORDS = words(
  [0],
  [0, 0],
  [0xff],
  [1],
  [2],
  [0, 1, 1, 1, 1, 0],
  [0xfe],
  Array.from({ length: 254 }, () => 0xaa),
  "ets Jul 29 2019 12:21:46\r\n",
);
const SHORT_PAYLOAD_BYTES = 118;

/** An input is one byte that says how the line is cut into pieces, then the line. */
export const frames: Target = {
  name: "frames",
  inputs: 150_000,
  maximumBytes: 6_000,
  bend: byteBend(FRAME_WORDS),
  async open() {
    return (input) => {
      const line = input.subarray(1);
      const whole = new FrameDecoder(SHORT_PAYLOAD_BYTES).feed(line);
      const decoder = new FrameDecoder(SHORT_PAYLOAD_BYTES);
      const cut = [...pieces(line, input[0] ?? 0)].flatMap((piece) => decoder.feed(piece));
      promise(show(whole) === show(cut), "the frames depend on how the line is cut");
      for (const frame of whole)
        promise(!("payload" in frame) || frame.payload.length <= SHORT_PAYLOAD_BYTES, "a payload is longer than its bound");
      // Whatever was before it, a frame that follows is found.
      const payload = line.slice(0, SHORT_PAYLOAD_BYTES);
      const [last, ...more] = decoder.feed(encodeFrame(payload)).reverse();
      promise(last !== undefined && show([last]) === show([{ payload }]) && more.length <= 1, "a good frame after the line is not found");
      checkRoundTrip(line.slice(0, MAX_PAYLOAD_BYTES));
      return whole.map((frame) => ("fault" in frame ? frame.fault : "frame")).sort()[0] ?? "nothing";
    };
  },
};

function checkRoundTrip(payload: Uint8Array): void {
  const frame = encodeFrame(payload);
  promise(frame.lastIndexOf(0) === frame.length - 1 && frame.indexOf(0, 1) === frame.length - 1, "a zero within a frame");
  promise(show(new FrameDecoder().feed(frame)) === show([{ payload }]), "a frame does not come back as it was");
}

function show(list: readonly Frame[]): string {
  return list.map((frame) => ("fault" in frame ? frame.fault : Buffer.from(frame.payload).toString("hex"))).join(" ");
}
