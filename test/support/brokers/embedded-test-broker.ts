/** An embedded broker with a small policy, and clients to knock at it: for the tests of this folder. Not part of the product. */
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import mqtt, { MqttClient, type IClientOptions } from "mqtt";
import type { BrokerEvent, BrokerLimits, BrokerMaterial } from "../../../sim/brokers/broker-events.js";
import { EmbeddedBroker, type EmbeddedBrokerOptions } from "../../../sim/brokers/embedded-broker.js";
import { TestAuthority, type TestIdentity } from "./test-certificates.js";

export type EventOf<T extends BrokerEvent["type"]> = Extract<BrokerEvent, { type: T }>;

/** A broker under test with its authority, and everything that must be closed afterwards. */
export class TestBroker {
  readonly events: BrokerEvent[] = [];
  readonly psks = new Map<string, Uint8Array>();
  readonly barred = new Set<string>();
  readonly #waiting = new Set<() => void>();
  readonly #clients: MqttClient[] = [];
  readonly #sockets: TLSSocket[] = [];
  #broker: EmbeddedBroker | undefined;
  mtlsPort = 0;
  pskPort = 0;

  private constructor(
    readonly authority: TestAuthority,
    private readonly server: TestIdentity,
  ) {}

  static async create(): Promise<TestBroker> {
    const authority = await TestAuthority.create();
    return new TestBroker(authority, await authority.issue("localhost", "server"));
  }

  get broker(): EmbeddedBroker {
    if (this.#broker === undefined) throw new Error("the broker was not started");
    return this.#broker;
  }

  /** Devices have their own topics, `backend` all of them; over PSK the identity topics only. */
  async material(changes: Partial<BrokerMaterial> = {}): Promise<BrokerMaterial> {
    return {
      chainPem: this.server.chainPem,
      keyPem: this.server.keyPem,
      trustAnchorPem: this.authority.trustAnchorPem,
      crlPem: await this.authority.crlPem(),
      pskFor: (identity) => this.psks.get(identity),
      maySignIn: (name) => !this.barred.has(name),
      authorize: ({ name, scope }, action, topic) => {
        if (scope === "recovery") return topic === `devices/${name}/identity/${action === "publish" ? "request" : "response"}`;
        return name === "backend" ? topic.startsWith("devices/") || topic === "#" : topic.startsWith(`devices/${name}/`);
      },
      ...changes,
    };
  }

  async start(limits: Partial<BrokerLimits> = {}, options: Partial<EmbeddedBrokerOptions> = {}): Promise<void> {
    const material = options.material ?? (await this.material());
    this.#broker = new EmbeddedBroker({ host: "127.0.0.1", mtlsPort: 0, pskPort: 0, limits, ...options, material });
    this.#broker.onEvent((event) => {
      this.events.push(event);
      for (const wake of this.#waiting) wake();
    });
    ({ mtlsPort: this.mtlsPort, pskPort: this.pskPort } = await this.#broker.start());
  }

  /** Resolves with the first event of this kind, past or to come, that fits. */
  async event<T extends BrokerEvent["type"]>(type: T, fits: (event: EventOf<T>) => boolean = () => true): Promise<EventOf<T>> {
    for (;;) {
      const found = this.events.find((event): event is EventOf<T> => event.type === type && fits(event as EventOf<T>));
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  /**
   * Signs in by certificate; rejects with the refusal or the fault.
   * @param prepare gets the client before any message of its session can reach it
   */
  async signIn(
    identity: TestIdentity,
    clientId: string,
    options: IClientOptions = {},
    prepare: (client: MqttClient) => void = () => undefined,
  ): Promise<MqttClient> {
    const own = { protocol: "mqtts", clientId, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 20_000 } as const;
    const client = mqtt.connect({ ...this.mtlsOptions(identity), ...own, ...options } as IClientOptions);
    prepare(client);
    return this.#settled(client);
  }

  async signInByPsk(
    identity: string,
    key: Uint8Array,
    clientId: string,
    tls: ConnectionOptions = {},
    options: IClientOptions = {},
  ): Promise<MqttClient> {
    const stream = (): TLSSocket => connectTls({ ...this.pskOptions(identity, key), ...tls });
    return this.#settled(new MqttClient(stream, { clientId, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 20_000, ...options }));
  }

  mtlsOptions(identity?: TestIdentity): ConnectionOptions {
    const own = identity === undefined ? {} : { cert: identity.chainPem, key: identity.keyPem };
    return { host: "127.0.0.1", port: this.mtlsPort, ca: this.authority.trustAnchorPem, ...own };
  }

  pskOptions(identity: string, key: Uint8Array): ConnectionOptions {
    return {
      host: "127.0.0.1",
      port: this.pskPort,
      ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256",
      pskCallback: () => ({ psk: key, identity }),
      checkServerIdentity: () => undefined,
    };
  }

  /** Opens raw TLS, sends `bytes`, and resolves with all that came back when the connection has ended. */
  async exchange(options: ConnectionOptions, bytes: Uint8Array): Promise<{ received: string; error: string; secured: boolean }> {
    const socket = connectTls(options);
    this.#sockets.push(socket);
    const chunks: Buffer[] = [];
    let error = "";
    let secured = false;
    socket.on("secureConnect", () => {
      secured = true;
      socket.write(bytes);
    });
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", (fault: NodeJS.ErrnoException) => (error = fault.code ?? fault.message));
    await new Promise((resolve) => socket.once("close", resolve));
    return { received: Buffer.concat(chunks).toString("hex"), error, secured };
  }

  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.end(true);
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    await this.#broker?.stop();
  }

  #settled(client: MqttClient): Promise<MqttClient> {
    this.#clients.push(client);
    return new Promise((resolve, reject) => {
      client.once("connect", () => resolve(client));
      client.on("error", reject);
      client.once("close", () => reject(new Error("closed")));
    });
  }
}

/** The next message that reaches the client. */
export function nextMessage(client: MqttClient): Promise<{ topic: string; payload: string; retain: boolean; qos: number; dup: boolean }> {
  return new Promise((resolve) => {
    client.once("message", (topic, payload, packet) =>
      resolve({ topic, payload: payload.toString(), retain: packet.retain, qos: packet.qos, dup: packet.dup }),
    );
  });
}

/** The next `count` payloads that reach the client. */
export function nextPayloads(client: MqttClient, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    const payloads: string[] = [];
    const onMessage = (_topic: string, payload: Buffer): void => {
      payloads.push(payload.toString());
      if (payloads.length < count) return;
      client.removeListener("message", onMessage);
      resolve(payloads);
    };
    client.on("message", onMessage);
  });
}

/** A CONNECT with clean session and a keep-alive of 60 s. */
export function connectPacket(clientId: string, level = 4): Uint8Array {
  const id = Buffer.from(clientId);
  const properties = level === 5 ? [0] : [];
  const body = [0, 4, ...Buffer.from("MQTT"), level, 2, 0, 60, ...properties, id.length >> 8, id.length & 0xff, ...id];
  return Uint8Array.of(0x10, body.length, ...body);
}
