/**
 * No client at all: packets made beforehand go out in pieces as large as Hawser's, what comes is counted and acknowledged from memory. What
 * this costs, the kernel, the event loop and TLS cost; no client can cost less. QoS 0 and 1 only.
 */
import { once } from "node:events";
import { connect as connectTcp, type OnReadOpts, type Socket } from "node:net";
import { connect as connectTls, type SecureContext } from "node:tls";
import type { BenchClient, Connect } from "./bench-clients.js";
import { connectPacket, publishPackets, subscribePacket } from "./bench-packets.js";
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
    const client = new SocketClient(place.port, secureContext);
    await once(client.socket, secureContext === undefined ? "connect" : "secureConnect");
    client.socket.write(connectPacket(clientId));
    await client.received(CONNACK_BYTES);
    return client;
  };
}

class SocketClient implements BenchClient {
  readonly socket: Socket;
  #onBytes: (sizeBytes: number) => void = () => undefined;

  constructor(port: number, secureContext: SecureContext | undefined) {
    const onread: OnReadOpts = { buffer: readBuffer, callback: (sizeBytes) => (this.#onBytes(sizeBytes), true) };
    const options = { host: "127.0.0.1", port, noDelay: true, onread };
    this.socket = secureContext === undefined ? connectTcp(options) : connectTls({ ...options, secureContext });
  }

  /** Settles when so many bytes have come from now on. */
  received(wantedBytes: number): Promise<void> {
    return new Promise((resolve) => {
      let bytes = 0;
      this.#onBytes = (sizeBytes) => {
        bytes += sizeBytes;
        if (bytes >= wantedBytes) resolve();
      };
    });
  }

  async publish(payload: Buffer, qos: QoS, messages: number): Promise<void> {
    const size = Math.min(messages, WINDOW);
    const window = publishPackets(PUBLISH_TOPIC, qos, payload.length, size);
    const packetBytes = window.length / size;
    const pieceBytes = Math.ceil(PIECE_BYTES / packetBytes) * packetBytes;
    for (let left = messages; left > 0; left -= size) {
      const end = Math.min(left, size) * packetBytes;
      const acknowledged = qos === 0 ? undefined : this.received(Math.min(left, size) * ACK_BYTES);
      for (let at = 0; at < end; at += pieceBytes) {
        if (!this.socket.write(window.subarray(at, Math.min(end, at + pieceBytes))))
          await new Promise((resolve) => this.socket.once("drain", resolve));
      }
      await acknowledged;
    }
  }

  roundTrip(payload: Buffer): Promise<void> {
    const acknowledged = this.received(ACK_BYTES);
    this.socket.write(publishPackets(PUBLISH_TOPIC, 1, payload.length, 1));
    return acknowledged;
  }

  async subscribe(qos: QoS, sizeBytes: number, onMessages: (count: number) => void): Promise<void> {
    const granted = this.received(SUBACK_BYTES);
    this.socket.write(subscribePacket(RECEIVE_TOPIC, qos));
    await granted;
    this.#onBytes = counter(this.socket, qos, publishPackets(RECEIVE_TOPIC, qos, sizeBytes, 1).length, onMessages);
  }

  order(text: string): Promise<unknown> {
    const packet = publishPackets(FLOOD_TOPIC, 0, text.length, 1);
    packet.write(text, packet.length - text.length);
    return Promise.resolve(this.socket.write(packet));
  }

  close(): Promise<unknown> {
    const closed = once(this.socket, "close");
    this.socket.destroy();
    return closed;
  }
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
