/**
 * The enrolment service: an MQTT client around {@link EnrolmentAuthority}. Its session is persistent, for reports: they are acknowledged
 * when the work is done. Requests are served only while their device waits for the answer: those that a broker kept (retained, or queued
 * while the service was away) may be of a holder that has been shut out.
 */
import type { TLSSocket } from "node:tls";
import { MqttClient } from "mqtt";
import type { IPublishPacket } from "mqtt";
import { Backoff, DEFAULT_BACKOFF } from "../../sdk/backoff.js";
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import type { Endpoint } from "../../sdk/platform.js";
import { dialBroker } from "./broker-dial.js";
import type { ShownCredentials } from "./broker-dial.js";
import { connectionFailure, ownFailure } from "./connection-errors.js";
import type { AuthorityEvent, EnrolmentAuthority, Outcome } from "./enrolment-authority.js";
import { FairQueue } from "./fair-queue.js";
import { askingDevice, DEFAULT_IDENTITY_BASE, requestFilter } from "../policy/identity-topics.js";
import { readMessage } from "./enrolment-messages.js";
import { RateLimiter } from "./rate-limiter.js";
import { StreamMarks } from "./stream-marks.js";

/** What the service shows of itself; the key lives in this process's memory only. */
export interface ServiceIdentity extends ShownCredentials {
  /** The certificate's CN, which is the MQTT client id too. */
  readonly name: string;
  /** Connections begun later than this, milliseconds since the epoch, ask for another identity. */
  readonly renewAtMs: number;
}

export type ServiceEvent =
  | AuthorityEvent
  /** A device sends so much that its messages are dropped unread; told once a minute. */
  | { readonly event: "throttled"; readonly id: string }
  | { readonly event: "connected"; readonly name: string; readonly resumedSession: boolean }
  | { readonly event: "disconnected"; readonly failure: Failure; readonly wasConnected: boolean }
  | { readonly event: "retrying"; readonly delayMs: number };

/** Where the service is asked, and where it may speak to itself. */
export interface ServiceTopics {
  readonly bases: readonly string[];
  /** One that it hears itself; without it, it waits a while before it takes what comes for new. */
  readonly mark?: string;
}

export interface TopicSource {
  readonly current: () => ServiceTopics;
  /** Calls back after each change until the returned function is called. */
  readonly watch: (onChange: () => void) => () => void;
}

/**
 * Which of the messages a connection is there for, where several authorities serve one broker. Each request goes to one of the `group`:
 * without a session, so that none waits for an authority that is gone. Reports and objections go to each of them, and wait for it.
 */
export type ServicePart = { readonly kind: "requests"; readonly group: string } | { readonly kind: "reports" };

export interface ServiceOptions {
  readonly endpoint: Endpoint;
  readonly authority: EnrolmentAuthority;
  /** What the service shows at first. */
  readonly identity: ServiceIdentity;
  /** Issues another, for a connection begun after the first one's time, or after a broker that had accepted it refused it. */
  readonly issueOwn: () => Promise<ServiceIdentity>;
  readonly onEvent: (event: ServiceEvent) => void;
  /** Default: those of the built-in policy. */
  readonly topics?: TopicSource;
  /** Default: this service is the only one, and takes all messages. */
  readonly part?: ServicePart;
}

interface Arrival {
  readonly client: MqttClient;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly atMs: number;
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
/** Messages of one device before any work is spent on them: a renewal takes two, a device in trouble a few more. */
const MESSAGE_LIMITS = { perHour: 1_200, burst: 20 };
const MAX_WAITING_DEVICES = 2_000;
const MAX_WAITING_PER_DEVICE = 2;
const TOO_MANY_SECONDS = 30;
const OLD_REQUEST_SECONDS = 1;
const THROTTLED_AGAIN_MS = 60_000;
/** When the mark of the end of the backlog does not come: a broker may not have its rights yet. */
const BACKLOG_LIMIT_MS = 10_000;

export class AuthorityService {
  readonly #options: ServiceOptions;
  readonly #backoff = new Backoff({ ...DEFAULT_BACKOFF, capMs: 30_000 }, Math.random);
  /** The last answer for each topic that the broker has not acknowledged yet. */
  readonly #unacknowledged = new Map<string, Uint8Array>();
  #identity: ServiceIdentity;
  /** A broker has accepted {@link #identity}: when one refuses it later, it was withdrawn. */
  #wasAccepted = false;
  #client: MqttClient | undefined;
  /** What is subscribed to over {@link #client}. */
  #filters: readonly string[] = [];
  #stopping = false;
  #wake: () => void = () => undefined;
  #running: Promise<void> | undefined;
  #unwatch: (() => void) | undefined;
  #working: Promise<void> = Promise.resolve();
  readonly #messages = new RateLimiter(MESSAGE_LIMITS, () => performance.now());
  /** When each device was said to be throttled. */
  readonly #toldMs = new Map<string, number>();
  readonly #waiting = new FairQueue<Arrival>(MAX_WAITING_DEVICES, MAX_WAITING_PER_DEVICE);
  #serving = false;
  readonly #marks = new StreamMarks();
  /** The broker may still have what it kept while this service was away. */
  #isBehind = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#identity = options.identity;
  }

  /** Begins to connect and keeps connected until {@link stop}. */
  start(): void {
    if (this.#running !== undefined) return;
    this.#unwatch = this.#options.topics?.watch(() => this.#follow());
    this.#running = this.#run();
  }

  /** Finishes the request at hand, sends its answer and disconnects. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#unwatch?.();
    this.#wake();
    await this.#working;
    const client = this.#client;
    if (client?.connected === true) {
      // It says goodbye once its answers are acknowledged, and never calls back when the connection ends before.
      client.end(false);
      const impatience = setTimeout(() => client.stream.destroy(), FAREWELL_MS);
      await this.#running;
      clearTimeout(impatience);
    } else {
      client?.end(true);
      await this.#running;
    }
  }

  /** Whether all that the broker had for this service until now is heard and dealt with: not without a topic for its own mark. */
  async caughtUp(): Promise<boolean> {
    const client = this.#client;
    return client?.connected === true && this.#topics().mark !== undefined && this.#hearsMark(client);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const startedMs = performance.now();
      const end = await this.#serve();
      if (this.#stopping) return;
      this.#options.onEvent({ event: "disconnected", ...end });
      if (end.failure.class === "credential") this.#refused();
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
    const { endpoint, part } = this.#options;
    const isShared = part?.kind === "requests";
    const address = `${endpoint.host}:${endpoint.port}`;
    let opened = false;
    let wasConnected = false;
    let reason: Failure | undefined;
    const dialTls = (): TLSSocket => dialBroker(endpoint, identity).once("secureConnect", () => (opened = true));
    const client = new MqttClient(dialTls, {
      clientId: identity.name,
      // Shared subscriptions are a part of MQTT 5 alone.
      protocolVersion: isShared ? 5 : 4,
      clean: isShared,
      keepalive: KEEP_ALIVE_SECONDS,
      reconnectPeriod: 0,
      connectTimeout: TIMEOUT_MS,
    });
    this.#client = client;
    // Before anything comes: whether there is a session is known only after its first messages.
    this.#isBehind = true;
    client.handleMessage = (packet, done) => this.#receive(client, packet, done);
    client.on("error", (error) => (reason ??= connectionFailure(error, address, opened)));
    client.once("close", () => {
      this.#marks.lost();
      ended({ failure: reason ?? failure("CONNECTION_CLOSED", `the broker at ${address} closed the connection`), wasConnected });
    });
    client.once("connect", ({ sessionPresent }) => {
      if (!sessionPresent) this.#isBehind = false;
      this.#subscribe(client, (isGranted, filters) => {
        if (isGranted) {
          wasConnected = true;
          this.#wasAccepted = true;
          const serving = (): void => this.#options.onEvent({ event: "connected", name: identity.name, resumedSession: sessionPresent });
          // Told once requests are served: until the backlog is through, they are put off.
          if (sessionPresent && part === undefined) void this.#hearBacklog(client, serving);
          else serving();
          this.#resend(client);
        } else {
          reason ??= failure("NOT_AUTHORIZED", `the broker at ${address} does not let ${identity.name} read ${filters.join(", ")}`);
          client.end(true);
        }
      });
    });
  }

  /** Asks to be told of requests where they are now. */
  #follow(): void {
    const client = this.#client;
    const wanted = this.#wantedFilters();
    const gone = this.#filters.filter((filter) => !wanted.includes(filter));
    if (client?.connected !== true || (gone.length === 0 && wanted.every((filter) => this.#filters.includes(filter)))) return;
    if (gone.length > 0) client.unsubscribe([...gone]);
    // A broker that does not have the policy yet may refuse or hang up: then the next connection asks again.
    this.#subscribe(client, (isGranted) => {
      if (!isGranted) client.end(true);
    });
  }

  #wantedFilters(): string[] {
    const { part } = this.#options;
    const share = part?.kind === "requests" ? `$share/${part.group}/` : "";
    return this.#topics().bases.map((base) => share + requestFilter(base));
  }

  #topics(): ServiceTopics {
    return this.#options.topics?.current() ?? { bases: [DEFAULT_IDENTITY_BASE] };
  }

  #subscribe(client: MqttClient, done: (isGranted: boolean, filters: readonly string[]) => void): void {
    const filters = this.#wantedFilters();
    this.#filters = filters;
    client.subscribe(filters, { qos: 1 }, (error, granted) =>
      done(error === null && granted?.every(({ qos }) => qos <= 2) === true, filters),
    );
  }

  /**
   * Its certificate may have ended with an issuing CA that was retired. One that never served is not the reason: another would fare no
   * better.
   */
  #refused(): void {
    if (this.#wasAccepted) this.#identity = { ...this.#identity, renewAtMs: 0 };
  }

  async #freshIdentity(): Promise<ServiceIdentity> {
    if (Date.now() >= this.#identity.renewAtMs) {
      this.#identity = await this.#options.issueOwn();
      this.#wasAccepted = false;
    }
    return this.#identity;
  }

  // MQTT.js reads the next packet and acknowledges this one only when `done` is called.
  #receive(client: MqttClient, packet: IPublishPacket, done: (error?: Error) => void): void {
    const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload;
    const { bases, mark } = this.#topics();
    const id = askingDevice(packet.topic, bases)?.id ?? "";
    if (packet.topic === mark) this.#marks.heard(payload);
    else if (packet.retain) this.#options.onEvent({ event: "ignored", id, reason: "a retained message: nobody waits for its answer" });
    else if (this.#takesMessage(id)) {
      const arrival = { client, topic: packet.topic, payload, atMs: Date.now() };
      const { part } = this.#options;
      if (isRequest(payload)) {
        if (part?.kind !== "reports") this.#receiveRequest(id, arrival);
      } else if (part?.kind !== "requests") {
        this.#working = this.#work(arrival).then(() => done());
        return;
      }
    }
    done();
  }

  /** Costs nothing but a look at the topic. */
  #takesMessage(id: string): boolean {
    if (this.#messages.take(id) === 0) return true;
    this.#options.authority.missed(id);
    const nowMs = performance.now();
    const isTold = this.#options.part?.kind !== "reports";
    if (isTold && nowMs - (this.#toldMs.get(id) ?? -Infinity) > THROTTLED_AGAIN_MS) {
      if (this.#toldMs.size >= MAX_WAITING_DEVICES) this.#toldMs.clear();
      this.#toldMs.set(id, nowMs);
      this.#options.onEvent({ event: "throttled", id });
    }
    return false;
  }

  #receiveRequest(id: string, arrival: Arrival): void {
    const { client, topic, payload } = arrival;
    if (this.#isBehind) {
      this.#settle(
        client,
        this.#options.authority.putOff(topic, payload, "the request is from before this service was there", OLD_REQUEST_SECONDS),
      );
    } else if (this.#waiting.add(id, arrival)) {
      void this.#serveWaiting();
    } else {
      this.#settle(client, this.#options.authority.putOff(topic, payload, "too many devices ask at once", TOO_MANY_SECONDS));
    }
  }

  async #serveWaiting(): Promise<void> {
    if (this.#serving) return;
    this.#serving = true;
    for (let next = this.#waiting.take(); next !== undefined && !this.#stopping; next = this.#waiting.take()) {
      this.#working = this.#work(next);
      await this.#working;
    }
    this.#serving = false;
  }

  async #work({ client, topic, payload, atMs }: Arrival): Promise<void> {
    this.#settle(client, await this.#options.authority.handle(topic, payload, atMs));
  }

  async #hearBacklog(client: MqttClient, over: () => void): Promise<void> {
    await this.#hearsMark(client);
    if (client !== this.#client || !client.connected) return;
    this.#isBehind = false;
    over();
  }

  /** What this service sends to itself now comes behind everything that the broker kept for it. */
  #hearsMark(client: MqttClient): Promise<boolean> {
    const { mark: topic } = this.#topics();
    return this.#marks.come((mark) => topic !== undefined && client.publish(topic, mark, { qos: 1 }), BACKLOG_LIMIT_MS);
  }

  #settle(client: MqttClient, { event, answer }: Outcome): void {
    this.#options.onEvent(event);
    if (answer === undefined) return;
    for (const topic of [answer.topic, ...(answer.alsoTo ?? [])]) {
      if (this.#unacknowledged.size < MAX_UNACKNOWLEDGED) this.#unacknowledged.set(topic, answer.payload);
      this.#send(client, topic, answer.payload);
    }
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

/** Reports and objections are worth their work at once: each of them matters. */
function isRequest(payload: Uint8Array): boolean {
  const { type } = readMessage(payload);
  return type !== "active" && type !== "in-use";
}
