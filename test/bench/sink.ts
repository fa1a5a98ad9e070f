/** A broker that does no work: it accepts, acknowledges, answers pings, and sends messages when asked. In a thread of its own, so that a client's CPU time is its own. */
import { createServer, type AddressInfo, type Socket } from "node:net";
import { parentPort } from "node:worker_threads";

/** A client publishes to this topic to be sent messages: payload `count,sizeBytes`. */
export const FLOOD_TOPIC = "flood";
const CONNACK = Buffer.of(0x20, 2, 0, 0);

/** Reads packets in place: type, flags and the bounds of the body. */
function serve(socket: Socket): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    const data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    const answers: Buffer[] = [];
    let at = 0;
    for (;;) {
      let size = 0;
      let shift = 0;
      let head = at + 1;
      let byte: number | undefined;
      do {
        byte = data[head++];
        size |= ((byte ?? 0) & 0x7f) << shift;
        shift += 7;
      } while (byte !== undefined && byte >= 0x80);
      if (byte === undefined || head + size > data.length) break;
      answer(data, at, head, size, answers);
      at = head + size;
    }
    rest = Buffer.from(data.subarray(at));
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });
}

function answer(data: Buffer, at: number, head: number, size: number, answers: Buffer[]): void {
  const first = data[at] ?? 0;
  const type = first >> 4;
  if (type === 1) answers.push(CONNACK);
  else if (type === 8) answers.push(Buffer.of(0x90, 3, data[head] ?? 0, data[head + 1] ?? 0, 1));
  else if (type === 12) answers.push(Buffer.of(0xd0, 0));
  else if (type === 3) {
    const topicLength = data.readUInt16BE(head);
    const qos = (first >> 1) & 3;
    const idAt = head + 2 + topicLength;
    if (qos > 0) answers.push(Buffer.of(0x40, 2, data[idAt] ?? 0, data[idAt + 1] ?? 0));
    if (topicLength === FLOOD_TOPIC.length) answers.push(flood(data.toString("latin1", idAt + (qos > 0 ? 2 : 0), head + size)));
  }
}

/** Messages of QoS 1 on the topic `t`, one after the other. */
function flood(order: string): Buffer {
  const [count = 0, sizeBytes = 0] = order.split(",").map(Number);
  const body = 2 + 1 + 2 + sizeBytes;
  const length = body < 128 ? [body] : [(body & 0x7f) | 0x80, body >> 7];
  const packets: Buffer[] = [];
  for (let n = 0; n < count; n++) {
    const id = (n % 65_535) + 1;
    packets.push(Buffer.concat([Buffer.from([0x32, ...length, 0, 1, 0x74, id >> 8, id & 0xff]), Buffer.alloc(sizeBytes, 0x78)]));
  }
  return Buffer.concat(packets);
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => parentPort?.postMessage((server.address() as AddressInfo).port));
