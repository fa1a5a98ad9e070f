/** What a broker may send, through the frame reader and the packet decoder, in both versions and in pieces of any size. */
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import type { InboundPacket, ProtocolVersion } from "../../../sdk/mqtt/codec/packet-types.js";
import { PacketError } from "../../../sdk/mqtt/codec/packet-error.js";
import { SeededRandom } from "../../../sim/virtual/random.js";
import { byteBend } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";
import { MQTT_WORDS } from "./mqtt-words.js";

const MAXIMUM_PACKET_BYTES = 4_096;

interface Reading {
  readonly packets: InboundPacket[];
  /** The failure's code and message. */
  readonly end: string;
}

/** An input is one byte for the version, one for how it is cut into pieces, then the broker's bytes. */
export const packets: Target = {
  name: "packets",
  inputs: 400_000,
  maximumBytes: 8_192,
  bend: byteBend(MQTT_WORDS),
  async open() {
    return (input) => {
      const version: ProtocolVersion = ((input[0] ?? 0) & 1) === 0 ? 4 : 5;
      const stream = input.subarray(2);
      const whole = read(version, [stream]);
      const cut = read(version, [...pieces(stream, input[1] ?? 0)]);
      // How a stream is cut must not matter: the same packets, the same end.
      promise(
        cut.packets.length === whole.packets.length,
        `${whole.packets.length} packets in one piece, ${cut.packets.length} in several`,
      );
      promise(cut.end.split(" ")[0] === whole.end.split(" ")[0], `in one piece: ${whole.end}; in several: ${cut.end}`);
      for (const [index, packet] of whole.packets.entries()) {
        promise(same(packet, cut.packets[index]), `packet ${index} depends on how the stream is cut`);
        promise(packet.cmd !== "publish" || packet.payload.buffer !== stream.buffer, "a payload lies in the link's memory");
      }
      return whole.end.split(" ")[0] ?? "";
    };
  },
};

function read(version: ProtocolVersion, chunks: readonly Uint8Array[]): Reading {
  const packets: InboundPacket[] = [];
  const reader = new FrameReader(version, MAXIMUM_PACKET_BYTES, { packet: (packet) => packets.push(packet) });
  try {
    for (const chunk of chunks) reader.feed(chunk);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    return { packets, end: `${error.code} ${error.message}` };
  }
  return { packets, end: reader.isWithinPacket ? "open" : "ok" };
}

/** 0: byte by byte; else pieces of random sizes that follow from the number. */
export function* pieces(stream: Uint8Array, how: number): Generator<Uint8Array> {
  const random = new SeededRandom(`pieces ${how}`);
  const longest = how === 0 ? 1 : random.pick([2, 3, 7, 20, 100, 1_500]);
  for (let at = 0; at < stream.length;) {
    const end = at + (how === 0 ? 1 : random.between(1, longest));
    yield stream.slice(at, end);
    at = end;
  }
}

function same(one: InboundPacket, other: InboundPacket | undefined): boolean {
  return JSON.stringify(one, bytesAsText) === JSON.stringify(other, bytesAsText);
}

function bytesAsText(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? String.fromCharCode(...value) : value;
}
