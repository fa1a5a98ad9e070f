/** The few packets of MQTT 3.1.1 that the bench makes and reads itself. */
import type { QoS } from "./task.js";

/** CONNECT with a clean session and no keep-alive. */
export function connectPacket(clientId: string): Buffer {
  return Buffer.concat([
    Buffer.of(0x10, 12 + clientId.length, 0, 4),
    Buffer.from("MQTT"),
    Buffer.of(4, 2, 0, 0, 0, clientId.length),
    Buffer.from(clientId),
  ]);
}

/** PUBLISH packets one behind the other, all of one size, with the identifiers 1..65535 in turn. */
export function publishPackets(topic: string, qos: QoS, sizeBytes: number, count: number): Buffer {
  const idBytes = qos > 0 ? 2 : 0;
  const remaining = 2 + topic.length + idBytes + sizeBytes;
  const length = remaining < 128 ? [remaining] : [(remaining & 0x7f) | 0x80, remaining >> 7];
  const head = Buffer.concat([Buffer.of(0x30 | (qos << 1), ...length, 0, topic.length), Buffer.from(topic)]);
  const packetBytes = 1 + length.length + remaining;
  const packets = Buffer.alloc(packetBytes * count, 0x78);
  for (let n = 0; n < count; n++) {
    const at = n * packetBytes;
    head.copy(packets, at);
    if (qos > 0) packets.writeUInt16BE((n % 65_535) + 1, at + head.length);
  }
  return packets;
}

/** SUBSCRIBE to one filter, packet identifier 1. */
export function subscribePacket(filter: string, qos: QoS): Buffer {
  return Buffer.concat([Buffer.of(0x82, 5 + filter.length, 0, 1, 0, filter.length), Buffer.from(filter), Buffer.of(qos)]);
}

/** Cuts a stream into packets, which `packet` reads in place: first byte, then the bounds of the body. */
export class PacketCutter {
  #rest: Buffer = Buffer.alloc(0);

  constructor(private readonly packet: (data: Buffer, first: number, start: number, end: number) => void) {}

  feed(chunk: Buffer): void {
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    for (;;) {
      let size = 0;
      let shift = 0;
      let start = at + 1;
      let byte: number | undefined;
      do {
        byte = data[start++];
        size |= ((byte ?? 0) & 0x7f) << shift;
        shift += 7;
      } while (byte !== undefined && byte >= 0x80);
      if (byte === undefined || start + size > data.length) break;
      this.packet(data, data[at] ?? 0, start, start + size);
      at = start + size;
    }
    // A copy: the chunk's memory is used again.
    this.#rest = Buffer.from(data.subarray(at));
  }
}
