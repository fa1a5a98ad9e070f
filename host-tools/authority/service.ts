/**
 * The enrolment service: an MQTT client around {@link EnrolmentAuthority}. A persistent session at QoS 1 and an acknowledgement that is sent
 * only after the work is done let requests outlive a crash of this process.
 */
import { isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import { MqttClient } from "mqtt";
import type { IPublishPacket } from "mqtt";
import { Backoff, DEFAULT_BACKOFF } from "../../sdk/backoff.js";
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import type { Endpoint } from "../../sdk/platform.js";
import { connectionFailure, ownFailure } from "./connection-errors.js";
import type { AuthorityEvent, EnrolmentAuthority, Outcome } from "./enrolment-authority.js";
import { REQUEST_FILTER } from "./messages.js";

/** What the service shows of itself; the key lives in this process's memory only. */
export interface ServiceIdentity {
  /** The certificate's CN, which is the MQTT client id too. */
  readonly name: string;
  /** Leaf and issuing CA. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly trustAnchorPem: string;
  /** Connections begun later than this, milliseconds since the epoch, ask for another identity. */
  readonly renewAtMs: number;
}

export type ServiceEvent =
  | AuthorityEvent
  | { readonly event: "connected"; readonly name: string; readonly resumedSession: boolean }
  | { readonly event: "disconnected"; readonly failure: Failure; readonly wasConnected: boolean }
  | { readonly event: "retrying"; readonly delayMs: number };

export interface ServiceOptions {
  readonly endpoint: Endpoint;
  readonly authority: EnrolmentAuthority;
  /** What the service shows at first. */
  readonly identity: ServiceIdentity;
  /** Issues another, for a connection begun after the first one's time. */
  readonly issueOwn: () => Promise<ServiceIdentity>;
  readonly onEvent: (event: ServiceEvent) => void;
}

interface ConnectionEnd {
  readonly failure: Failure;
  readonly wasConnected: boolean;
}

const TIMEOUT_MS = 10_000;
/** How long a stopping service waits for the broker to take its last answers. */
const FAREWELL_MS = 2_000;
const KEEP_ALIVE_SECONDS = 30;
/** Answers kept for a broker that has not acknowledged them; a device that misses one asks again. */
const MAX_UNACKNOWLEDGED = 1_000;

export class AuthorityService {
  readonly #options: ServiceOptions;
  readonly #backoff = new Backoff({ ...DEFAULT_BACKOFF, capMs: 30_000 }, Math.random);
  /** The last answer for each topic that the broker has not acknowledged yet. */
  readonly #unacknowledged = new Map<string, Uint8Array>();
  #identity: ServiceIdentity;
  #client: MqttClient | undefined;
  #stopping = false;
  #wake: () => void = () => undefined;
  #running: Promise<void> | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#identity = options.identity;
  }

  /** Begins to connect and keeps connected until {@link stop}. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Finishes the request at hand, sends its answer and disconnects. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await this.#working;
    const client = this.#client;
    if (client?.connected === true) {
      const impatience = setTimeout(() => client.stream.destroy(), FAREWELL_MS);
      await client.endAsync(false);
      clearTimeout(impatience);
    } else {
      client?.end(true);
    }
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const startedMs = performance.now();
      const end = await this.#serve();
      if (this.#stopping) return;
      this.#options.onEvent({ event: "disconnected", ...end });
      if (end.wasConnected) this.#backoff.ended(performance.now() - startedMs);
      const delayMs = this.#backoff.next();
      this.#options.onEvent({ event: "retrying", delayMs });
      await this.#sleep(delayMs);
    }
  }

  /** One connection from its beginning to its end. */
  async #serve(): Promise<ConnectionEnd> {
    let identity: ServiceIdentity;
    try {
      identity = await this.#freshIdentity();
    } catch (error) {
      return { failure: ownFailure(error), wasConnected: false };
    }
    if (this.#stopping) return { failure: failure("CLOSED_LOCALLY", "stopped"), wasConnected: false };
    return new Promise((resolve) => this.#connect(identity, resolve));
  }

  #connect(identity: ServiceIdentity, ended: (end: ConnectionEnd) => void): void {
    const { endpoint } = this.#options;
    const address = `${endpoint.host}:${endpoint.port}`;
    let opened = false;
    let wasConnected = false;
    let reason: Failure | undefined;
    const dialTls = (): TLSSocket => dial(endpoint, identity).once("secureConnect", () => (opened = true));
    const client = new MqttClient(dialTls, {
      clientId: identity.name,
      protocolVersion: 4,
      clean: false,
      keepalive: KEEP_ALIVE_SECONDS,
      reconnectPeriod: 0,
      connectTimeout: TIMEOUT_MS,
    });
    this.#client = client;
    client.handleMessage = (packet, done) => this.#receive(client, packet, done);
    client.on("error", (error) => (reason ??= connectionFailure(error, address, opened)));
    client.once("close", () => ended({ failure: reason ?? failure("CONNECTION_CLOSED", `the broker at ${address} closed the connection`), wasConnected }));
    client.once("connect", ({ sessionPresent }) => {
      client.subscribe(REQUEST_FILTER, { qos: 1 }, (error, granted) => {
        if (error === null && granted?.every(({ qos }) => qos <= 2) === true) {
          wasConnected = true;
          this.#options.onEvent({ event: "connected", name: identity.name, resumedSession: sessionPresent });
          this.#resend(client);
        } else {
          reason ??= failure("NOT_AUTHORIZED", `the broker at ${address} does not let ${identity.name} read ${REQUEST_FILTER}`);
          client.end(true);
        }
      });
    });
  }

  async #freshIdentity(): Promise<ServiceIdentity> {
    if (Date.now() >= this.#identity.renewAtMs) this.#identity = await this.#options.issueOwn();
    return this.#identity;
  }

  // MQTT.js reads the next packet and acknowledges this one only when `done` is called: one request at a time, and none is lost by a crash.
  #receive(client: MqttClient, packet: IPublishPacket, done: (error?: Error) => void): void {
    const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload;
    this.#working = this.#options.authority.handle(packet.topic, payload).then((outcome) => {
      this.#settle(client, outcome);
      done();
    });
  }

  #settle(client: MqttClient, { event, answer }: Outcome): void {
    this.#options.onEvent(event);
    if (answer === undefined) return;
    if (this.#unacknowledged.size < MAX_UNACKNOWLEDGED) this.#unacknowledged.set(answer.topic, answer.payload);
    this.#send(client, answer.topic, answer.payload);
  }

  #resend(client: MqttClient): void {
    for (const [topic, payload] of this.#unacknowledged) this.#send(client, topic, payload);
  }

  #send(client: MqttClient, topic: string, payload: Uint8Array): void {
    if (!client.connected) return;
    client.publish(topic, Buffer.from(payload), { qos: 1 }, (error) => {
      if (!(error instanceof Error) && this.#unacknowledged.get(topic) === payload) this.#unacknowledged.delete(topic);
    });
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function dial(endpoint: Endpoint, identity: ServiceIdentity): TLSSocket {
  const serverName = endpoint.serverName ?? endpoint.host;
  const socket = connectTls({
    host: endpoint.host,
    port: endpoint.port,
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    minVersion: "TLSv1.2",
    cert: identity.chainPem,
    key: identity.keyPem,
    ca: identity.trustAnchorPem,
  });
  // MQTT.js leaves Nagle's algorithm on, which costs 44 ms a round trip.
  socket.setNoDelay(true);
  return socket;
}
