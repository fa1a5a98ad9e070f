/**
 * A short connection to a mosquitto as one of the CA's own names: MQTT 3.1.1 in the SDK's codec. To load MQTT.js would cost more than the
 * whole revocation that needs the connection.
 */
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import type { InboundPacket, OutboundPacket } from "../../../sdk/mqtt/codec/packet-types.js";

/** PEM texts. */
export interface ControlCredentials {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

export interface ControlTarget {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
}

/** For the broker's whole answer to one question. */
export const CONTROL_LIMIT_MS = 10_000;
const FAREWELL_MS = 2_000;
/** Seconds; brokers refuse clients of 3.1.1 that ask for none. */
const KEEP_ALIVE = 60;
/** The answer to some hundreds of commands is below a tenth of it. */
const MAX_PACKET_BYTES = 16 * 1024 * 1024;
const VERSION = 4;

interface Waiting {
  readonly see: (packet: InboundPacket) => void;
  readonly fail: (error: Error) => void;
}

export class ControlConnection {
  #waiting: Waiting | undefined;
  #ended: Error | undefined;

  private constructor(private readonly socket: TLSSocket) {
    const reader = new FrameReader(VERSION, MAX_PACKET_BYTES, { packet: (packet) => this.#waiting?.see(packet) });
    socket.on("data", (bytes: Buffer) => {
      try {
        reader.feed(bytes);
      } catch (error) {
        this.#end(error as Error);
      }
    });
    socket.on("error", (error) => this.#end(error));
    socket.once("close", () => this.#end(new Error("the broker closed the connection")));
  }

  /** Rejects with the reason: a plain `Error`. */
  static async open({ host, port, clientId }: ControlTarget, credentials: ControlCredentials): Promise<ControlConnection> {
    const socket = connect({
      host,
      port,
      key: credentials.keyPem,
      cert: credentials.chainPem,
      ca: credentials.trustAnchorPem,
      rejectUnauthorized: true,
      // The address we use need not be one of the names in the certificate. OpenSSL has checked that it is for servers: only our brokers
      // have such a one.
      checkServerIdentity: () => undefined,
    });
    const connection = new ControlConnection(socket);
    connection.#send({ cmd: "connect", protocolVersion: VERSION, clientId, clean: true, keepalive: KEEP_ALIVE });
    const code = await connection.#answer((packet) => (packet.cmd === "connack" ? packet.reasonCode : undefined));
    if (code === 0) return connection;
    socket.destroy();
    throw new Error(code === undefined ? `no answer within ${CONTROL_LIMIT_MS} ms` : `the broker refused the connection (code ${code})`);
  }

  async subscribe(topic: string): Promise<void> {
    this.#send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
    const code = await this.#answer((packet) => (packet.cmd === "suback" ? packet.granted[0] : undefined));
    if (code === undefined || code >= 0x80) throw new Error(`the broker did not grant ${topic}`);
  }

  /** Publishes and waits for the first message with `mark` in it; undefined when none comes in time. Rejects when the connection ends. */
  request(topic: string, payload: string, mark: string): Promise<string | undefined> {
    const bytes = new TextEncoder().encode(payload);
    this.#send({ cmd: "publish", topic, payload: bytes, qos: 1, retain: false, dup: false, messageId: 2 });
    return this.#answer((packet) => {
      if (packet.cmd !== "publish") return undefined;
      const text = new TextDecoder().decode(packet.payload);
      return text.includes(mark) ? text : undefined;
    });
  }

  /** Resolves when the connection is gone. */
  async close(): Promise<void> {
    if (this.socket.destroyed) return;
    const closed = new Promise<void>((resolve) => this.socket.once("close", () => resolve()));
    const impatience = setTimeout(() => this.socket.destroy(), FAREWELL_MS);
    this.socket.end(encode({ cmd: "disconnect", reasonCode: 0 }, VERSION));
    await closed;
    clearTimeout(impatience);
  }

  #send(packet: OutboundPacket): void {
    this.socket.write(encode(packet, VERSION));
  }

  #answer<T>(find: (packet: InboundPacket) => T | undefined): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      const settle = (then: () => void): void => {
        clearTimeout(limit);
        this.#waiting = undefined;
        then();
      };
      const limit = setTimeout(() => settle(() => resolve(undefined)), CONTROL_LIMIT_MS);
      this.#waiting = {
        see: (packet) => {
          const found = find(packet);
          if (found !== undefined) settle(() => resolve(found));
        },
        fail: (error) => settle(() => reject(error)),
      };
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.socket.destroy();
    this.#waiting?.fail(this.#ended);
  }
}
