/** Many devices on a real mosquitto, each with a session, as cheap as they can be: TLS sockets and the few packets they need. */
import { connect as connectTls, createSecureContext, type TLSSocket } from "node:tls";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";

export interface Identity {
  readonly name: string;
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** One MQTT 3.1.1 client by certificate. */
export class Member {
  readonly received: string[] = [];
  /** When the connection ended, by `performance.now()`. */
  endedAtMs: number | undefined;
  readonly ended: Promise<void>;
  readonly #waiting = new Map<string, (packet: Packet) => void>();
  #messageId = 1;

  private constructor(private readonly socket: TLSSocket) {
    this.ended = new Promise((resolve) =>
      socket.once("close", () => {
        this.endedAtMs = performance.now();
        resolve();
      }),
    );
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on("packet", (packet: Packet) => this.#onPacket(packet));
    socket.on("data", (bytes: Buffer) => parser.parse(bytes));
    socket.on("error", () => undefined);
  }

  /** @param clientId as it calls itself, which a broker need not believe */
  static async join(
    { host, port }: Address,
    { keyPem, chainPem, trustAnchorPem }: Identity,
    clientId: string,
    clean: boolean,
  ): Promise<Member> {
    const secureContext = createSecureContext({ key: keyPem, cert: chainPem, ca: trustAnchorPem });
    const socket = connectTls({ host, port, secureContext, servername: "localhost" });
    await new Promise<void>((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
    socket.setNoDelay(true);
    const member = new Member(socket);
    await member.#ask({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean, clientId, keepalive: 1200 }, "connack");
    return member;
  }

  async subscribe(topic: string): Promise<void> {
    const messageId = this.#messageId++;
    await this.#ask({ cmd: "subscribe", messageId, subscriptions: [{ topic, qos: 1 }] }, "suback");
  }

  /** Resolves when it is acknowledged. */
  async publish(topic: string, payload: string): Promise<void> {
    const messageId = (this.#messageId++ % 60_000) + 1;
    await this.#ask({ cmd: "publish", topic, payload, qos: 1, messageId, retain: false, dup: false }, `puback ${messageId}`);
  }

  leave(): void {
    this.socket.destroy();
  }

  #ask(packet: Packet, answer: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(answer, resolve);
      void this.ended.then(() => reject(new Error(`the connection ended before ${answer}`)));
      this.socket.write(mqttPacket.generate(packet, { protocolVersion: 4 }));
    });
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === "publish") {
      this.received.push(`${packet.topic} ${packet.payload.toString()}`);
      if (packet.qos === 1) this.socket.write(mqttPacket.generate({ cmd: "puback", messageId: packet.messageId ?? 0 }));
      return;
    }
    const key = packet.cmd === "puback" ? `puback ${packet.messageId ?? 0}` : packet.cmd;
    this.#waiting.get(key)?.(packet);
    this.#waiting.delete(key);
  }
}
