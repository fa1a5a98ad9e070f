/**
 * The bench's other end, in a process of its own: a broker that does no work. It accepts, acknowledges, and sends messages when asked. At a
 * mosquitto it does the same as a client: whoever publishes to the flood topic there is sent messages by way of the broker.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { connectPacket, PacketCutter, publishPackets, subscribePacket } from "./bench-packets.js";
import { FLOOD_TOPIC, RECEIVE_TOPIC, WINDOW, type QoS } from "./task.js";

export interface SinkOrder {
  /** The server's chain and key, and the clients' CA, all PEM. */
  tls: { cert: string; key: string; ca: string };
  /** Ports of brokers to flood through. */
  brokers: number[];
}

export interface SinkPorts {
  plain: number;
  mTLS: number;
}

/** Messages that go out as the acknowledgements for earlier ones come in. */
class Flood {
  static readonly #made = new Map<string, Buffer>();
  readonly #packets: Buffer;
  readonly #packetBytes: number;
  #at = 0;

  /** @param order `count,sizeBytes,qos` */
  constructor(order: string, socket: Socket) {
    const [count = 1, sizeBytes = 0, qos = 0] = order.split(",").map(Number);
    let packets = Flood.#made.get(order);
    if (packets === undefined) Flood.#made.set(order, (packets = publishPackets(RECEIVE_TOPIC, qos as QoS, sizeBytes, count)));
    this.#packets = packets;
    this.#packetBytes = packets.length / count;
    this.more(qos === 0 ? count : WINDOW, socket);
  }

  more(count: number, socket: Socket): void {
    const end = Math.min(this.#packets.length, this.#at + count * this.#packetBytes);
    if (end > this.#at) socket.write(this.#packets.subarray(this.#at, end));
    this.#at = end;
  }
}

/** @param onSubscribed SUBACK came: of use where this side is the client */
function serve(socket: Socket, onSubscribed: () => void = () => undefined): void {
  let answers = Buffer.alloc(0);
  let answered = 0;
  let acknowledged = 0;
  let flood: Flood | undefined;
  const answer = (...bytes: number[]): void => {
    for (const byte of bytes) answers[answered++] = byte;
  };
  const cutter = new PacketCutter((data, first, start, end) => {
    const [high = 0, low = 0] = [data[start], data[start + 1]];
    switch (first >> 4) {
      case 1:
        return answer(0x20, 2, 0, 0);
      case 3:
        return publish(data, first, start, end);
      case 4:
      case 7:
        acknowledged++;
        return;
      case 5:
        return answer(0x62, 2, high, low);
      case 6:
        return answer(0x70, 2, high, low);
      case 8:
        return answer(0x90, 3, high, low, data[end - 1] ?? 0);
      case 9:
        return onSubscribed();
      case 12:
        return answer(0xd0, 0);
    }
  });
  const publish = (data: Buffer, first: number, start: number, end: number): void => {
    const topicBytes = data.readUInt16BE(start);
    const qos = (first >> 1) & 3;
    const idAt = start + 2 + topicBytes;
    if (qos > 0) answer(qos === 1 ? 0x40 : 0x50, 2, data[idAt] ?? 0, data[idAt + 1] ?? 0);
    if (topicBytes === FLOOD_TOPIC.length) flood = new Flood(data.toString("latin1", idAt + (qos > 0 ? 2 : 0), end), socket);
  };
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    // No answer is longer than what it answers; a packet may have begun in the chunk before.
    answers = Buffer.allocUnsafe(chunk.length + 8);
    answered = 0;
    acknowledged = 0;
    cutter.feed(chunk);
    if (answered > 0) socket.write(answers.subarray(0, answered));
    if (acknowledged > 0) flood?.more(acknowledged, socket);
  });
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1", 4_096);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function floodThrough(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", reject);
    serve(socket, resolve);
    socket.write(Buffer.concat([connectPacket("flood"), subscribePacket(FLOOD_TOPIC, 0)]));
  });
}

/** Opens both ports and takes its place at the brokers. */
export async function openSink(order: SinkOrder): Promise<SinkPorts> {
  const serveOne = (socket: Socket): void => serve(socket);
  const plain = await portOf(createServer(serveOne));
  const mTLS = await portOf(createTlsServer({ ...order.tls, requestCert: true, rejectUnauthorized: true }, serveOne));
  for (const port of order.brokers) await floodThrough(port);
  return { plain, mTLS };
}
