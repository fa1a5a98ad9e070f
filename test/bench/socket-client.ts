/**
 * No client at all: packets made beforehand go out in pieces as large as Hawser's, what comes is counted and acknowledged from memory. What this costs, the kernel,
 * the event loop and TLS cost; no client can cost less. QoS 0 and 1 only.
 */
import { once } from "node:events";
import { connect as connectTcp, type OnReadOpts, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { BenchClient, Connect } from "./clients.js";
import { connectPacket, publishPackets, subscribePacket } from "./packets.js";
import { secureContextOf } from "./secure-context.js";
import { FLOOD_TOPIC, PUBLISH_TOPIC, RECEIVE_TOPIC, WINDOW, type Place, type QoS } from "./task.js";

/** The size from which Hawser sends a piece at once. */
const PIECE_BYTES = 16_384;
/** PUBACK, and every other acknowledgement of 3.1.1. */
const ACK_BYTES = 4;
const CONNACK_BYTES = 4;
const SUBACK_BYTES = 5;
const PUBACKS = Buffer.alloc(70_000 * ACK_BYTES, Buffer.of(0x40, 2, 0, 1));
// One buffer for all connections, as Hawser's link has.
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

export function connectSocket(place: Place): Connect {
  const secureContext = place.identity === undefined ? undefined : secureContextOf(place.identity);
  return async (clientId) => {
    let onBytes: (sizeBytes: number) => void = () => undefined;
    const onread: OnReadOpts = { buffer: readBuffer, callback: (sizeBytes) => (onBytes(sizeBytes), true) };
    const options = { host: "127.0.0.1", port: place.port, noDelay: true, onread };
    const socket = secureContext === undefined ? connectTcp(options) : connectTls({ ...options, secureContext });
    await once(socket, secureContext === undefined ? "connect" : "secureConnect");
    const received = (wantedBytes: number): Promise<void> =>
      new Promise((resolve) => {
        let bytes = 0;
        onBytes = (sizeBytes) => {
          bytes += sizeBytes;
          if (bytes >= wantedBytes) resolve();
        };
      });
    socket.write(connectPacket(clientId));
    await received(CONNACK_BYTES);
    return face(socket, received, (receiver) => (onBytes = receiver));
  };
}

function face(socket: Socket, received: (bytes: number) => Promise<void>, listen: (receiver: (bytes: number) => void) => void): BenchClient {
  return {
    async publish(payload, qos, messages) {
      const size = Math.min(messages, WINDOW);
      const window = publishPackets(PUBLISH_TOPIC, qos, payload.length, size);
      const packetBytes = window.length / size;
      const pieceBytes = Math.ceil(PIECE_BYTES / packetBytes) * packetBytes;
      for (let left = messages; left > 0; left -= size) {
        const end = Math.min(left, size) * packetBytes;
        const acknowledged = qos === 0 ? undefined : received(Math.min(left, size) * ACK_BYTES);
        for (let at = 0; at < end; at += pieceBytes) {
          if (!socket.write(window.subarray(at, Math.min(end, at + pieceBytes)))) await new Promise((resolve) => socket.once("drain", resolve));
        }
        await acknowledged;
      }
    },
    roundTrip: (payload) => {
      const acknowledged = received(ACK_BYTES);
      socket.write(publishPackets(PUBLISH_TOPIC, 1, payload.length, 1));
      return acknowledged;
    },
    async subscribe(qos, sizeBytes, onMessages) {
      const granted = received(SUBACK_BYTES);
      socket.write(subscribePacket(RECEIVE_TOPIC, qos));
      await granted;
      listen(counter(socket, qos, publishPackets(RECEIVE_TOPIC, qos, sizeBytes, 1).length, onMessages));
    },
    order: (text) => {
      const packet = publishPackets(FLOOD_TOPIC, 0, text.length, 1);
      packet.write(text, packet.length - text.length);
      return Promise.resolve(socket.write(packet));
    },
    close: () => {
      const closed = once(socket, "close");
      socket.destroy();
      return closed;
    },
  };
}

/** Takes bytes for messages of one size, and acknowledges them. */
function counter(socket: Socket, qos: QoS, packetBytes: number, onMessages: (count: number) => void): (bytes: number) => void {
  let rest = 0;
  return (bytes) => {
    const count = Math.floor((rest + bytes) / packetBytes);
    rest = rest + bytes - count * packetBytes;
    if (count === 0) return;
    if (qos > 0) socket.write(PUBACKS.subarray(0, count * ACK_BYTES));
    onMessages(count);
  };
}
