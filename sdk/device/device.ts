/**
 * The device: one object that keeps a mutually authenticated MQTT connection for years and takes care of everything that needs no decision
 * of the application: reconnecting, renewing its certificate, recovering by pre-shared key, keeping messages over outages.
 */
import { disposeBy } from "../async-dispose.js";
import type { BackoffPolicy } from "../backoff.js";
import type { Failure } from "../failure.js";
import type { RecoveryPatience } from "../supervisor/credential-ladder.js";
import { Supervisor, type Login } from "../supervisor/supervisor.js";
import { connectionOptions, DEFAULT_INBOUND_BYTES, enrols, supervisorOptions } from "./connection-options.js";
import { checkDelivery, FollowedMessage, stayAwake, type Delivery, type DeliveryOptions, type DeliveryReport } from "./delivery.js";
import { checkConfig, checkLogin, checkPlatform, isDeviceTopic } from "./device-config-check.js";
import { errorCode, errorMessage, HawserError } from "../errors.js";
import { EventHub } from "../event-hub.js";
import type { DeviceEvent, DeviceListener, Rung } from "../events.js";
import { recoveryIdentity } from "../identity/device-id.js";
import type { Enrolment } from "../identity/enrolment-port.js";
import { Rotation } from "../identity/rotation.js";
import { IdentityStore, type Identity } from "../identity/store.js";
import type { ShownCertificate } from "../identity/certificate-password.js";
import { makeToken, tokenRefreshMs, type TokenOptions } from "../identity/token.js";
import { TrustedTime } from "../identity/trusted-time.js";
import type { BrokerPreset, Wanted } from "../presets/broker-preset.js";
import { MqttClient } from "../mqtt/client.js";
import type { MqttStatistics } from "../mqtt/contract/mqtt-events.js";
import type {
  MqttOptions,
  OutboxMessage,
  OutboxOptions,
  PublishOptions,
  PublishResult,
  SubscribeOptions,
  UnclaimedOptions,
  UnsubscribeOptions,
  UnsubscribeResult,
  Will,
} from "../mqtt/contract/options.js";
import type { Message, Subscription } from "../mqtt/contract/incoming-messages.js";
import type { Cancel, Endpoint, Platform } from "../platform.js";

/**
 * A topic of the device's own, relative to its base (`up/temperature`), or any other one in full: `{ absolute: "sites/7/announcements/#"
 * }`.
 */
export type DeviceTopic = string | { readonly absolute: string };

/** For brokers that only authenticate the server and know no client certificates. `login` gives the password. */
export interface PasswordCredential {
  kind: "password";
  /** The device's name: its client id, and its user name where `login` gives none. The rules are those of any Hawser id. */
  id: string;
  /** The CAs, DER, by which the broker's certificate is judged: those of its operator, several where it may change between them. */
  trustAnchors: readonly Uint8Array[];
}

export interface DeviceConfig {
  /** The broker's mutual-TLS listener; with a password as `credential`, the one for TLS without client certificates. */
  broker: Endpoint;
  /**
   * Brokers for when `broker` cannot be reached or does not serve: tried in order, each after the usual backoff. A device at a spare one
   * tries `broker` again after 30 to 60 minutes, and after every good connection that is lost. Each broker has a session of this device.
   */
  spares?: readonly Endpoint[];
  /** The hosted broker this is, such as `awsIotCore` of `hawser/presets`: what it does not take is refused here, by name. */
  preset?: BrokerPreset;
  /**
   * Left out, the device shows the certificate that it was provisioned with. A password instead needs `login`, and neither provisioning nor
   * an authority: there is no certificate to renew, and no pre-shared key.
   */
  credential?: PasswordCredential;
  /**
   * False where no registration authority answers on `devices/{id}/identity/`: the device subscribes to no answers, asks for no
   * certificate, and `renew` throws. Its certificate must then be replaced from outside before it ends. Or what issues certificates in the
   * place of that authority, such as `estEnrolment` of `hawser/node`: it is asked when a certificate is due, connected or not, and CONNACK
   * proves the new one. Default true.
   */
  enrolment?: boolean | Enrolment;
  /** The broker's PSK listener, for recovery only. Left out, the device never uses its pre-shared key. */
  recovery?: Endpoint;
  /** `auto` (the default) begins with 5 and falls back to 3.1.1 (4) when the broker does not speak it. */
  protocolVersion?: 4 | 5 | "auto";
  /** Seconds, 5..65535; default 60. */
  keepAliveSeconds?: number;
  /**
   * How long an answer to a message or a subscription may take once the link has taken its bytes, milliseconds, 5,000..3,600,000; default
   * 60,000. Then the connection is taken for dead. Bytes on a slow uplink get their time on top of it, down to 500 bytes a second.
   */
  ackTimeoutMs?: number;
  /**
   * How long the broker keeps the session while the device is away, seconds; default 4294967295, for ever. (A finite one crashes mosquitto
   * 2.0.11 at its next reload: docs/brokers.md.)
   */
  sessionExpirySeconds?: number;
  /**
   * The largest packet taken from the broker, 1024..268435460 bytes; default 10,240, for the heap of a microcontroller: any answer of the
   * authority fits into it.
   * A broker of 5.0 is told, and keeps larger ones back. A larger message that comes all the same is passed over, acknowledged and reported
   * (`message-dropped`).
   */
  maximumPacketSizeBytes?: number;
  /**
   * Bytes of messages that the application has not taken, roughly; default 24,576, for the heap of a microcontroller. Beyond, nothing more
   * is read, or what comes stays with the broker: see `inboundBytes` of `MqttOptions`. Each subscription keeps as many bytes of QoS 0
   * messages.
   */
  inboundBytes?: number;
  /**
   * So many messages of QoS 1 go out together with CONNECT where the TLS session was resumed, 0..20; default 0. Saves a round trip of each
   * waking. See `messagesWithConnect` of `MqttOptions` for what the broker has to take.
   */
  messagesWithConnect?: number;
  /** How long an accepted message waits where the broker at hand does not take its QoS, retain or size, milliseconds; default an hour. */
  heldForMs?: number;
  /**
   * Where the device's own topics are: `{id}` stands for the device's id, for instance `sites/b1/l2/{id}`; it may begin with a slash.
   * Default: where the authority says that the broker's policy has them, else `devices/{id}`.
   */
  topicBase?: string;
  /**
   * Where the device asks the authority for certificates, for instance `fleet/{id}/identity`. Default: where the authority says that the
   * broker's policy has it, else `devices/{id}/identity`. A device that the authority does not hear there cannot renew.
   */
  identityBase?: string;
  /** The MQTT client id, with `{id}` for the device's id, for instance `projects/p/devices/{id}`; default `{id}`. */
  clientId?: string;
  /** The user name where neither `login` nor `token` gives one, `{id}` standing for the device's id. Default: see {@link login}. */
  username?: string;
  /** Published by the broker when the device vanishes; the topic is relative to the base. */
  will?: Will;
  /** Messages kept while offline; default 1,000 messages or 256 KiB, kept in RAM, refusing more when full. */
  outbox?: Partial<OutboxOptions> & { persistent?: boolean };
  /** What becomes of QoS 2 messages when the broker loses the session half-way; default `report` (docs/messages.md). */
  onSessionLost?: "report" | "resend";
  /** How long messages that nobody takes yet wait for the application to subscribe; default 10 s, 64 messages, 32 KiB. */
  unclaimed?: Partial<UnclaimedOptions>;
  backoff?: Partial<BackoffPolicy>;
  /** How long the certificate has to be refused before the pre-shared key is used for a new one; default 3 to 15 minutes. */
  recoveryPatience?: Partial<RecoveryPatience>;
  /** Bounds DNS, TCP and TLS together, and after it the CONNACK, milliseconds; default 20,000. */
  connectTimeoutMs?: number;
  /** When this program was built, milliseconds since the Unix epoch: no certificate is judged by an earlier time. */
  buildTimeMs?: number;
  /** `host:port` of brokers that the broker may redirect this device to; none by default. */
  redirects?: readonly string[];
  /**
   * User name and password: the one factor with a password as `credential`, else a second one beside the certificate, which is given. Asked
   * for before each connection, so that a password may change; the user name is the device's id where none is given. The password that the
   * CA made with the certificate comes from {@link certificatePassword}.
   */
  login?: (shown?: ShownCertificate) => Login;
  /**
   * A token signed by the device's key as the second factor (JWT, ES256); made anew for each connection, which is renewed before it
   * expires.
   */
  token?: TokenOptions;
}

export interface DeviceStatus {
  state: "stopped" | "waiting" | "dialing" | "online" | "recovering";
  id: string;
  credential: Rung;
  /** The active certificate; absent before the first enrolment. */
  serial?: string;
  notAfterMs?: number;
  /** Serial of a certificate that waits to be proved. */
  pendingSerial?: string;
  /** What the last attempt or connection ended with; absent while online. */
  lastFailure?: Failure;
  outbox: { messages: number; bytes: number; inFlight: number };
}

/** The session expiry interval of a session that does not expire (MQTT 5.0, section 3.1.2.11.2). */
const NEVER = 0xffff_ffff;

/** Before the authority's answers are subscribed to again after the broker refused it. */
const LISTEN_AGAIN_MS = 60_000;
/** The same where the broker ended the connection each time. */
const LISTEN_AGAIN_HUNG_UP_MS = 3_600_000;

/**
 * @example
 * const device = new Device({ broker: { host: "mqtt.example.com", port: 8883 } }, platform);
 * device.start();
 * await device.publish("up/temperature", JSON.stringify({ celsius: 21.5 }), { qos: 1 });
 */
export class Device {
  /** Stops the device; `await using` calls it. Absent on engines without `Symbol.asyncDispose`, XS among them. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly id: string;
  readonly #supervisor: Supervisor;
  readonly #rotation: Rotation;
  readonly #store: IdentityStore;
  readonly #telemetry: MqttClient;
  readonly #inboundBytes: number;
  readonly #enrols: boolean | Enrolment;
  readonly #preset: BrokerPreset | undefined;
  #base: string;
  #identityBase: string;
  /** All that hear the authority. */
  readonly #clients: MqttClient[] = [];
  /** The place that the application knows. */
  #told: string;
  readonly #events: EventHub<DeviceEvent>;
  #cancelRefresh: Cancel | undefined;
  /** The application wants it connected; a delivery alone does not count. */
  #isStarted = false;
  #deliveries = 0;
  /** The latest goodbye: what begins before its end would be told that the device was stopped. */
  #leaving: Promise<void> | undefined;

  /**
   * Reads the device's identity from storage; connects only with {@link start}.
   * @throws HawserError `NOT_PROVISIONED`, `IDENTITY_CORRUPT`, `BAD_CONFIG`, `UNSUPPORTED_CERTIFICATE` (a trust anchor of
   *   `credential`), `BEYOND_BROKER_LIMIT` (of `preset`)
   */
  constructor(
    config: DeviceConfig,
    private readonly platform: Platform,
  ) {
    checkConfig(config);
    checkPlatform(platform);
    const { credential } = config;
    const store = credential
      ? IdentityStore.withoutCertificate(credential.id, credential.trustAnchors, platform.storage, platform.keyStore)
      : IdentityStore.load(platform.storage, platform.keyStore);
    this.#enrols = enrols(config);
    const time = new TrustedTime(platform.clock, platform.storage, config.buildTimeMs ?? 0);
    if (store.active) {
      time.notStoredAfter(store.active.certificate.notAfterMs);
      time.atLeast(store.active.certificate.notBeforeMs);
    }
    this.#store = store;
    this.id = store.device.id;
    this.#base = this.#named(config.topicBase ?? store.base);
    if (config.identityBase) store.givenIdentityBase = this.#named(config.identityBase);
    this.#identityBase = store.identityBase;
    this.#told = this.#place;
    this.#preset = config.preset;
    const beyond = config.will && this.#beyond(config.will.topic, config.will);
    if (beyond) throw beyond;
    this.#events = new EventHub(platform.log);
    const emit = (event: DeviceEvent): void => this.#events.emit(event);
    this.#telemetry = new MqttClient(this.#telemetryOptions(config), platform, platform.storage);
    this.#inboundBytes = config.inboundBytes ?? DEFAULT_INBOUND_BYTES;
    // Connections are the supervisor's to tell.
    this.#telemetry.listen((event) => event.type !== "connected" && event.type !== "disconnected" && emit(event));
    // The next attempt proves it in any case: a wait that a broker may have asked for is not cut short.
    const prove = (): void => void (this.#supervisor.phase === "online" && this.#supervisor.reconnect());
    this.#rotation = new Rotation({ platform, store, time, enrolment: this.#enrols, emit, prove });
    this.#supervisor = new Supervisor(supervisorOptions(config), {
      platform,
      store,
      time,
      telemetry: this.#telemetry,
      makeRecovery: () => this.#heard(new MqttClient(this.#recoveryOptions(config), platform)),
      emit,
      login: (identity) => {
        this.#followTopics(config);
        return this.#login(config, identity, time);
      },
      onOnline: (client, attempt) => {
        this.#followTopics(config);
        this.#tellTopics();
        if (attempt.rung === "mtls") this.#saveTime(time);
        if (this.#enrols) this.#rotation.online(client, attempt.rung === "psk");
        if (config.token && attempt.rung === "mtls") this.#refreshToken(config.token);
      },
      onOffline: () => {
        this.#cancelRefresh?.();
        if (this.#enrols === true) this.#rotation.offline();
      },
      onStopped: () => {
        this.#rotation.offline();
        emit({ type: "stopped" });
      },
      onFailedProof: (reason) => this.#rotation.failedProof(reason.message),
      onDropped: () => this.#rotation.dropped(),
    });
    if (this.#enrols === true) this.#heard(this.#telemetry);
  }

  /** Begins to connect, and keeps connected until {@link stop}: a first failure is no different from a later one. Idempotent. */
  start(): void {
    this.#isStarted = true;
    void this.#begin();
  }

  /** Ends the connection in an orderly way. Messages not yet delivered stay in the outbox. */
  stop(): Promise<void> {
    this.#isStarted = false;
    return this.#leave();
  }

  async #begin(): Promise<void> {
    this.#supervisor.start();
    await this.#leaving;
    // It is asked without a connection: an expired certificate may be what keeps the device from one.
    if (typeof this.#enrols === "object" && this.#supervisor.phase !== "stopped") this.#rotation.online(this.#telemetry, false);
  }

  #leave(): Promise<void> {
    this.#leaving = this.#supervisor.stop();
    return this.#leaving;
  }

  /**
   * One waking of a device that sleeps in between: connects, delivers these messages and what else the outbox holds, takes what waits at
   * the broker, renews the certificate where it is due, and disconnects. A device that {@link start} has started stays connected. Subscribe
   * before the call. A message that is not confirmed in time stays in the outbox: do not give it again, call `deliver([])`. For a sleep
   * that loses RAM the outbox has to be `persistent`.
   * @returns after `withinMs` and 5 seconds for the goodbye at the latest, also where no broker was reached
   * @throws HawserError `BAD_OPTION`
   */
  async deliver(messages: readonly Delivery[], options: DeliveryOptions = {}): Promise<DeliveryReport> {
    checkDelivery(messages, options);
    const followed = messages.map(
      ({ topic, payload, ...given }) => new FollowedMessage(this.publish(topic, payload, { qos: 1, ...given })),
    );
    this.#deliveries++;
    await this.#leaving;
    void this.#begin();
    await stayAwake(this, this.platform, () => this.#enrols !== false && this.#rotation.isBusy, options);
    if (--this.#deliveries === 0 && !this.#isStarted && this.status.state !== "stopped") await this.#leave();
    return { messages: followed.map(({ outcome }) => outcome), waiting: this.#telemetry.pending.messages };
  }

  /**
   * Asks the authority for a new certificate now, or as soon as there is a connection.
   * @throws HawserError `ENROLMENT_OFF`
   */
  renew(): void {
    if (!this.#enrols)
      throw new HawserError("ENROLMENT_OFF", "this device asks for no certificates", "Leave out credential and enrolment.");
    this.#rotation.renew();
  }

  /**
   * Publishes under the device's base, `devices/{id}/` by default. Settles when the promised level is reached (QoS 0: sent, 1:
   * acknowledged, 2: completed); with `queue: true` as soon as the outbox holds it. While offline, QoS 1 and 2 go to the outbox.
   * @param topic relative to the base, for instance `up/temperature`, or absolute
   * @throws HawserError as `MqttClient.publish`; `BEYOND_BROKER_LIMIT`
   */
  publish(topic: DeviceTopic, payload: Uint8Array | string, options?: PublishOptions): Promise<PublishResult> {
    if (!isDeviceTopic(topic)) return Promise.reject(notOwn("INVALID_TOPIC", topic));
    const beyond = this.#beyond(topic, { ...options, payload });
    return beyond ? Promise.reject(beyond) : this.#telemetry.publish(this.topic(topic), payload, options);
  }

  /**
   * Subscribes under the device's base, for instance `down/#`, or to an absolute filter. Iterate over the result; a message is acknowledged
   * when the next is asked for.
   * Survives reconnects.
   */
  subscribe(filter: DeviceTopic, options?: SubscribeOptions): Subscription {
    if (!isDeviceTopic(filter)) throw notOwn("INVALID_FILTER", filter);
    const beyond = this.#beyond(filter, { ...options, filters: this.#telemetry.filters });
    if (beyond) throw beyond;
    return this.#telemetry.subscribe(this.topic(filter), { bufferBytes: this.#inboundBytes, ...options });
  }

  /**
   * The messages that no subscription takes, for instance of subscriptions that an earlier firmware or the broker made. Iterate over the
   * result.
   * @throws HawserError as `MqttClient.messages`
   */
  messages(options?: SubscribeOptions): Subscription {
    return this.#telemetry.messages({ bufferBytes: this.#inboundBytes, ...options });
  }

  /**
   * Called with each message that no subscription and no {@link messages} takes; it is acknowledged when the call, or the promise it
   * returns, is done.
   */
  get onMessage(): ((message: Message) => unknown) | undefined {
    return this.#telemetry.onMessage;
  }

  set onMessage(listener: ((message: Message) => unknown) | undefined) {
    this.#telemetry.onMessage = listener;
  }

  /** The messages that are not delivered, and those of which that is not known; topics are whole. */
  outbox(): OutboxMessage[] {
    return this.#telemetry.outbox();
  }

  /** Gives up messages of the outbox, all or some. @returns how many; see `MqttClient.discard` for what stays */
  discard(which?: (message: OutboxMessage) => boolean): number {
    return this.#telemetry.discard(which);
  }

  /**
   * Unsubscribes under the device's base or from absolute filters, also from what an earlier firmware subscribed to.
   * @throws HawserError as `MqttClient.unsubscribe`
   */
  unsubscribe(filters: DeviceTopic | readonly DeviceTopic[], options?: UnsubscribeOptions): Promise<UnsubscribeResult> {
    const all = isSeveral(filters) ? filters : [filters];
    return this.#telemetry.unsubscribe(
      all.map((filter) => this.topic(filter)),
      options,
    );
  }

  /** Filters below the device's base, without it, that the application has subscribed to. */
  get filters(): readonly string[] {
    return this.#relative(this.#telemetry.filters.filter((filter) => filter !== this.#responseTopic));
  }

  /**
   * Filters below the device's base, without it, that an earlier firmware has left in the broker's session, as far as storage remembers. To
   * drop them, give them to {@link unsubscribe}.
   */
  get leftoverFilters(): readonly string[] {
    return this.#relative(this.#telemetry.leftoverFilters);
  }

  #relative(filters: readonly string[]): readonly string[] {
    const own = this.topic("");
    return filters.filter((filter) => filter.startsWith(own)).map((filter) => filter.slice(own.length));
  }

  /** The full topic of one of this device's own, or an absolute one as it is. */
  topic(topic: DeviceTopic): string {
    return typeof topic === "string" ? `${this.#base}/${topic}` : topic.absolute;
  }

  #named(template: string): string {
    return template.split("{id}").join(this.id);
  }

  /** The identity's topics are elsewhere while a new certificate is proved on others, and all are where they came with one that serves. */
  #followTopics({ topicBase, will }: DeviceConfig): void {
    const { base, identityBase } = this.#store;
    const [before, heard, own] = [this.topic(""), this.#responseTopic, topicBase === undefined ? base : this.#base];
    if (own === this.#base && identityBase === this.#identityBase) return;
    this.#base = own;
    this.#identityBase = identityBase;
    for (const client of this.#clients)
      client.move((filter) =>
        filter === heard ? this.#responseTopic : filter.startsWith(before) ? this.topic(filter.slice(before.length)) : filter,
      );
    if (will) this.#telemetry.configure({ will: { ...will, topic: this.topic(will.topic) } });
  }

  #tellTopics(): void {
    if (this.#told === this.#place) return;
    this.#told = this.#place;
    this.#events.emit({ type: "topics-changed", base: this.#base, identityBase: this.#identityBase });
  }

  get #place(): string {
    return `${this.#base} ${this.#identityBase}`;
  }

  #beyond(topic: DeviceTopic, wanted: Wanted): HawserError | undefined {
    return this.#preset?.beyond(this.topic(topic), wanted);
  }

  /** Calls `listener` with every event from now on. @returns a function that ends it */
  listen(listener: DeviceListener): () => void {
    return this.#events.listen(listener);
  }

  /** The events from now on, to iterate over. A slow reader loses the oldest beyond 256. Leaving the loop ends it. */
  events(): AsyncIterableIterator<DeviceEvent, undefined> {
    return this.#events.stream();
  }

  /**
   * Waits until the device is online by its certificate or password; at once where it is.
   * @throws HawserError `ONLINE_TIMEOUT` after `timeoutMs` (milliseconds; default 60000), `STOPPED` when the device is stopped meanwhile
   */
  online({ timeoutMs = 60_000 }: { timeoutMs?: number } = {}): Promise<void> {
    if (this.status.state === "online") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const over = (code?: "ONLINE_TIMEOUT" | "STOPPED", what = ""): void => {
        cancel();
        end();
        if (code === undefined) resolve();
        else
          reject(
            new HawserError(
              code,
              `the device ${this.id} ${what}`,
              this.status.lastFailure?.message ?? "Call start(), and listen to the events.",
            ),
          );
      };
      const cancel = this.platform.scheduler.after(timeoutMs, () => over("ONLINE_TIMEOUT", `did not come online within ${timeoutMs} ms`));
      const end = this.#events.listen((event) => {
        if (event.type === "connected" && event.credential !== "psk") over();
        else if (event.type === "stopped") over("STOPPED", "was stopped");
      });
    });
  }

  /**
   * Waits until every message in the outbox is delivered or given up; goes on connecting meanwhile, and does not stop the device.
   * @throws HawserError `DRAIN_TIMEOUT` after `timeoutMs` (milliseconds; default 30000); the messages stay in the outbox
   */
  drain(options?: { timeoutMs?: number }): Promise<void> {
    return this.#telemetry.drain(options);
  }

  /** Of the connections by certificate. */
  get statistics(): MqttStatistics {
    return this.#telemetry.statistics;
  }

  get status(): DeviceStatus {
    const { phase, attempt, lastFailure } = this.#supervisor;
    const { active, pending } = this.#store;
    return {
      state: phase === "online" && attempt.rung === "psk" ? "recovering" : phase,
      id: this.id,
      credential: attempt.rung,
      ...(active ? { serial: active.certificate.serial, notAfterMs: active.certificate.notAfterMs } : {}),
      ...(pending ? { pendingSerial: pending.certificate.serial } : {}),
      ...(lastFailure ? { lastFailure } : {}),
      outbox: this.#telemetry.pending,
    };
  }

  #telemetryOptions(config: DeviceConfig): MqttOptions {
    const { persistent = false, ...outbox } = config.outbox ?? {};
    return {
      ...connectionOptions(config),
      clientId: this.#named(config.clientId ?? "{id}"),
      cleanStart: false,
      sessionExpirySeconds: config.sessionExpirySeconds ?? NEVER,
      persistent,
      reserveInFlight: true,
      subscriptionIdentifiers: config.preset?.takesSubscriptionIdentifiers ?? true,
      messagesWithConnect: config.messagesWithConnect ?? 0,
      ...(config.onSessionLost ? { onSessionLost: config.onSessionLost } : {}),
      ...(config.unclaimed ? { unclaimed: config.unclaimed } : {}),
      outbox: { maxMessages: 1_000, maxBytes: 262_144, overflow: "reject", ...outbox },
      ...(config.will ? { will: { ...config.will, topic: this.topic(config.will.topic) } } : {}),
    };
  }

  /** `~` is in no device's id, so the recovery session can never be another device's. */
  #recoveryOptions(config: DeviceConfig): MqttOptions {
    return { ...connectionOptions(config), clientId: recoveryIdentity(this.id), cleanStart: true };
  }

  get #responseTopic(): string {
    return `${this.#identityBase}/response`;
  }

  /** The same client, which from now on hears the authority. */
  #heard(client: MqttClient): MqttClient {
    this.#clients.push(client);
    void this.#listenForAnswers(client);
    return client;
  }

  /**
   * At QoS 0: an application that takes none of its messages may have used up what the broker may send at the others. An answer lost is
   * asked for again.
   */
  async #listenForAnswers(client: MqttClient): Promise<void> {
    try {
      // At QoS 0, which most brokers send past what a busy application has not acknowledged; what is lost is asked or answered again.
      for await (const message of client.subscribe(this.#responseTopic)) this.#rotation.answer(message.payload);
    } catch (error) {
      this.platform.log("error", "the broker does not let this device hear the authority", { code: errorCode(error) });
      const delayMs = errorCode(error) === "BROKER_HANGS_UP" ? LISTEN_AGAIN_HUNG_UP_MS : LISTEN_AGAIN_MS;
      this.platform.scheduler.after(delayMs, () => void this.#listenForAnswers(client));
    }
  }

  #login(config: DeviceConfig, identity: Identity | undefined, time: TrustedTime): Login {
    const { token, login, preset } = config;
    const username = config.username === undefined ? undefined : this.#named(config.username);
    if (!token || !identity) {
      const factor = preset?.tokenIsUsername === true ? "username" : "password";
      const given = checkLogin(login?.(identity) ?? {}, identity ? undefined : factor);
      const usual = username ?? (given.password === undefined ? undefined : this.id);
      return usual === undefined ? given : { username: usual, ...given };
    }
    return {
      username: token.username ?? username ?? this.id,
      password: makeToken(this.platform.keyStore, identity.keySlot, this.id, token, time.nowMs()),
    };
  }

  #refreshToken(token: TokenOptions): void {
    this.#cancelRefresh?.();
    const delayMs = tokenRefreshMs(token, this.platform.random.fraction());
    this.#cancelRefresh = this.platform.scheduler.after(delayMs, () => this.#supervisor.reconnect());
  }

  #saveTime(time: TrustedTime): void {
    try {
      time.save(this.#store.active?.certificate.notAfterMs ?? 0);
    } catch (error) {
      this.platform.log("warn", "the trusted time could not be stored", { error: errorMessage(error) });
    }
  }
}

disposeBy(Device.prototype, function () {
  return this.stop();
});

function isSeveral(filters: DeviceTopic | readonly DeviceTopic[]): filters is readonly DeviceTopic[] {
  return Array.isArray(filters);
}

function notOwn(code: "INVALID_TOPIC" | "INVALID_FILTER", topic: unknown): HawserError {
  const next = 'Give "up/temperature" or "down/#"; for a topic elsewhere { absolute: "..." }.';
  return new HawserError(
    code,
    `${JSON.stringify(topic) ?? String(topic)} is not a topic below the device's base, devices/{id}/ by default`,
    next,
  );
}
