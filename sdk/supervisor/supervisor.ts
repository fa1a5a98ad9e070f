/**
 * Keeps one connection alive for years: asks the ladder what to show, dials, has new identities proved, and waits between attempts.
 * Everything it decides comes from {@link CredentialLadder}, {@link Backoff} and the failure's own wish; this file only ties them to time
 * and links.
 */
import { errorMessage } from "../errors.js";
import type { DeviceEvent } from "../events.js";
import type { Identity, IdentityStore } from "../identity/store.js";
import type { TrustedTime } from "../identity/trusted-time.js";
import type { MqttClient } from "../mqtt/client.js";
import { ConnectError } from "../mqtt/contract/connect-error.js";
import type { Cancel, Endpoint, LinkInfo, Platform } from "../platform.js";
import { Backoff, type BackoffPolicy } from "../backoff.js";
import { failure, type Failure } from "../failure.js";
import { CredentialLadder, type Attempt, type Holdings, type LadderEffect, type RecoveryPatience } from "./credential-ladder.js";
import { judge, type Judgement } from "./evidence.js";
import { BrokerTurns } from "./broker-turns.js";
import { minimumDelayMs } from "./retry-policy.js";
import { credentialOf, unfitness } from "./shown-credential.js";
import { VersionChoice } from "./version-choice.js";

export interface SupervisorOptions {
  broker: Endpoint;
  /** Tried in order where `broker` fails. */
  spares?: readonly Endpoint[];
  /** The PSK listener; absent: the credential never changes. */
  recovery?: Endpoint;
  protocolVersion: 4 | 5 | "auto";
  backoff: BackoffPolicy;
  patience: RecoveryPatience;
  connectTimeoutMs: number;
  /** The device signs in by password alone, without a certificate. */
  passwordOnly?: boolean;
  /**
   * False: no new certificate is asked for, and none that waits is proved. An object asks elsewhere than at topics of the broker: CONNACK
   * alone then proves a new certificate.
   */
  enrols?: boolean | object;
  /** `host:port` of brokers a server may send this device to. */
  redirects: readonly string[];
}

export interface SupervisorParts {
  platform: Platform;
  store: IdentityStore;
  time: TrustedTime;
  /** The client whose session carries the application's messages; mutual TLS only. */
  telemetry: MqttClient;
  /**
   * Makes the client of the recovery scope when it is first needed: a session of its own, so that nothing of the application's ever goes
   * over PSK.
   */
  makeRecovery: () => MqttClient;
  emit: (event: DeviceEvent) => void;
  /** The connection is proved and usable. */
  onOnline: (client: MqttClient, attempt: Attempt) => void;
  onOffline: () => void;
  /** A stop is through; told before a start that was asked for meanwhile. */
  onStopped: () => void;
  /** The pending identity failed its proof while the network was there; decides whether to give it up. */
  onFailedProof: (reason: Failure) => void;
  /** The broker refused the pending identity, and it is gone. */
  onDropped: () => void;
  /** What the application wants to sign in with, asked anew for each attempt. */
  login: (identity: Identity | undefined) => Login;
}

/** User name and password of the MQTT CONNECT. */
export interface Login {
  username?: string;
  password?: Uint8Array | string;
}

const NO_LINK: LinkInfo = { tlsVersion: "", cipher: "", resumed: false };

type Phase = "stopped" | "waiting" | "dialing" | "online";

export class Supervisor {
  readonly #ladder: CredentialLadder;
  readonly #backoff: Backoff;
  readonly #brokers: BrokerTurns;
  #phase: Phase = "stopped";
  /** Counts the attempts, so that what an earlier one still reports is known as such. */
  #epoch = 0;
  #attempt: Attempt = { rung: "mtls", identity: "active" };
  #recovery: MqttClient | undefined;
  #cancelWait: Cancel | undefined;
  #cancelProof: Cancel | undefined;
  /** Ends a recovery that stalls. */
  #cancelRecovery: Cancel | undefined;
  #connectedAtMs = 0;
  #linkInfo = NO_LINK;
  readonly #versions: VersionChoice;
  /** The link of the attempt under way is up. */
  #isOpened = false;
  /** The attempt under way sends a user name, password or token. */
  #usesLogin = false;
  #lastFailure: Failure | undefined;
  /** A close of our own to show another identity: not a failure, and no reason to wait long. */
  #planned = false;
  /** How the connection ended that CONNACK had just established: told before its `connect` settled. */
  #endedAtOnce: Failure | undefined;
  #stopping: Promise<void> | undefined;
  /** Asked to start while stopping. */
  #startAgain = false;
  #cancelNetwork: Cancel | undefined;
  /** When the last attempt or connection failed, monotonic. */
  #failedAtMs = -Infinity;

  constructor(
    private readonly options: SupervisorOptions,
    private readonly parts: SupervisorParts,
  ) {
    const { store, platform, telemetry } = parts;
    const fraction = (): number => platform.random.fraction();
    const recoverable = options.recovery !== undefined && store.device.pskIdentity !== undefined;
    const { patience, passwordOnly = false } = options;
    this.#ladder = new CredentialLadder({ recoverable, passwordOnly, patience, nowMs: () => platform.clock.monotonicMs(), fraction });
    if (passwordOnly) this.#attempt = { rung: "password" };
    this.#backoff = new Backoff(options.backoff, fraction);
    const brokers = [options.broker, ...(options.spares ?? [])];
    this.#brokers = new BrokerTurns(brokers, options.redirects, platform, () => this.reconnect());
    this.#versions = new VersionChoice(options.protocolVersion);
    telemetry.onEnd = (reason) => this.#ended(telemetry, reason);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get attempt(): Attempt {
    return this.#attempt;
  }

  get lastFailure(): Failure | undefined {
    return this.#lastFailure;
  }

  start(): void {
    if (this.#stopping) this.#startAgain = true;
    else if (this.#phase === "stopped") {
      this.#cancelNetwork = this.parts.platform.network?.onChange(() => this.#networkChanged());
      this.#try();
    }
  }

  /** Ends the connection in an orderly way (DISCONNECT) and makes no more attempts. */
  stop(): Promise<void> {
    this.#startAgain = false;
    this.#stopping ??= this.#stop().finally(() => {
      this.#stopping = undefined;
      if (this.#startAgain) this.start();
    });
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const client = this.#client();
    const wasOnline = this.#phase === "online";
    this.#phase = "stopped";
    this.#planned = false;
    this.#epoch++;
    this.#cancelWait?.();
    this.#cancelProof?.();
    this.#cancelRecovery?.();
    this.#brokers.left();
    this.#cancelNetwork?.();
    if (wasOnline) {
      this.#connectionOver(client);
      this.parts.onOffline();
    }
    await client.disconnect();
    this.parts.onStopped();
  }

  /** Ends the connection and makes a new one at once, for instance to prove a new identity. Not counted as a failure. */
  reconnect(): void {
    if (this.#phase === "waiting") {
      this.#wait(this.options.backoff.floorMs);
    } else if (this.#phase === "online") {
      this.#planned = true;
      void this.#client().disconnect();
    }
  }

  get #holdings(): Holdings {
    const { active, pending } = this.parts.store;
    return { active: active !== undefined, pending: pending !== undefined && this.options.enrols !== false };
  }

  #client(): MqttClient {
    return this.#attempt.rung === "psk" ? (this.#recovery ??= this.#makeRecovery()) : this.parts.telemetry;
  }

  #makeRecovery(): MqttClient {
    const client = this.parts.makeRecovery();
    client.onEnd = (reason) => this.#ended(client, reason);
    return client;
  }

  /**
   * Coming up ends a wait that only the network was the reason of. What a broker or a refused credential asks to wait stays as long as it
   * is. Going down ends an attempt that can lead nowhere; a connection may outlive it.
   */
  #networkChanged(): void {
    const isUp = this.parts.platform.network?.isUp === true;
    if (this.#phase === "dialing" && !isUp) return this.#client().abort(failure("HOST_UNREACHABLE", "the network went away"));
    const isOurs = this.#lastFailure?.class === "network";
    const isParked = this.#cancelWait === undefined;
    if (this.#phase !== "waiting" || !isUp || !(isParked || isOurs)) return;
    if (isOurs) this.#backoff.reset();
    // At once, but a network that flickers is no reason to dial without a pause.
    const pauseMs = this.#failedAtMs + this.options.backoff.floorMs - this.parts.platform.clock.monotonicMs();
    this.#wait(Math.max(0, pauseMs));
  }

  #try(): void {
    this.#cancelWait = undefined;
    if (this.parts.platform.network?.isUp === false) {
      this.#phase = "waiting";
      return this.parts.emit({ type: "no-network" });
    }
    const attempt = this.#ladder.next(this.#holdings);
    const unfit = unfitness(attempt, this.parts.store);
    this.#attempt = attempt ?? { rung: "mtls", identity: "active" };
    this.#phase = "dialing";
    if (unfit) return this.#failed(unfit, false);
    void this.#dial(this.#attempt);
  }

  async #dial(attempt: Attempt): Promise<void> {
    const { platform, emit, time } = this.parts;
    const client = this.#client();
    const epoch = ++this.#epoch;
    const target = attempt.rung === "psk" ? this.options.recovery : this.#brokers.current;
    if (!target) return;
    const endpoint = { ...target, validAtMs: time.nowMs() };
    emit({
      type: "connecting",
      credential: attempt.rung,
      identity: attempt.rung === "mtls" ? attempt.identity : attempt.rung,
      host: endpoint.host,
      port: endpoint.port,
    });
    // A listener may have stopped the device.
    if (epoch !== this.#epoch) return;
    const identity = this.parts.store.show(attempt.rung === "mtls" ? attempt.identity : undefined);
    this.#endedAtOnce = undefined;
    this.#isOpened = this.#usesLogin = false;
    this.#linkInfo = NO_LINK;
    const { version } = this.#versions;
    try {
      const credential = credentialOf(attempt, this.parts.store);
      client.configure({
        protocolVersion: version,
        username: undefined,
        password: undefined,
        ...(attempt.rung === "psk" ? {} : this.#login(identity)),
      });
      const connack = await client.connect((handlers) =>
        platform.dialer.dial(endpoint, credential, this.options.connectTimeoutMs, {
          ...handlers,
          opened: (info) => {
            this.#linkInfo = info;
            this.#isOpened = true;
            handlers.opened(info);
          },
        }),
      );
      if (epoch === this.#epoch) await this.#accepted(epoch, attempt, client, connack.sessionPresent, version);
    } catch (error) {
      if (epoch !== this.#epoch) return;
      if (error instanceof ConnectError) this.#failed(error.failure, false);
      // Anything else was thrown by the identity store or the key store: without them the device cannot go on with this connection.
      else if (client.connected) client.abort(failure("STORAGE_FAILED", errorMessage(error)));
      else this.#failed(failure("STORAGE_FAILED", errorMessage(error)), false);
    }
  }

  #login(identity: Identity | undefined): Login {
    try {
      const login = this.parts.login(identity);
      this.#usesLogin = login.username !== undefined || login.password !== undefined;
      return login;
    } catch (error) {
      throw new ConnectError(failure("LOGIN_FAILED", `the login function failed: ${errorMessage(error)}`));
    }
  }

  async #accepted(epoch: number, attempt: Attempt, client: MqttClient, sessionPresent: boolean, protocolVersion: 4 | 5): Promise<void> {
    const { emit, store, platform, onOnline } = this.parts;
    if (this.#endedAtOnce) return this.#failed(this.#endedAtOnce, true);
    this.#phase = "online";
    this.#lastFailure = undefined;
    if (this.#versions.accepted()) emit({ type: "protocol-version", version: 4 });
    if (epoch !== this.#epoch) return;
    this.#connectedAtMs = platform.clock.monotonicMs();
    const identity = attempt.rung === "mtls" ? store[attempt.identity] : undefined;
    const serial = identity ? { serial: identity.certificate.serial } : {};
    const { tlsVersion, resumed } = this.#linkInfo;
    emit({ type: "connected", credential: attempt.rung, ...serial, protocolVersion, sessionPresent, tlsVersion, resumed });
    if (attempt.rung === "mtls" && attempt.identity === "pending") {
      const proved = typeof this.options.enrols === "object" || (await this.#prove(client));
      if (!proved) return store.forgetTopics();
      this.#commit();
    } else {
      this.#apply(this.#ladder.accepted(attempt));
    }
    if (epoch !== this.#epoch) return;
    if (attempt.rung === "psk") this.#watchRecovery();
    else this.#brokers.serving();
    onOnline(client, attempt);
  }

  /** An authority that does not answer must not keep the device off mutual TLS: whatever refused its certificate may have been mended. */
  #watchRecovery(): void {
    const delayMs = this.#ladder.showAgainMs;
    this.#cancelRecovery?.();
    this.#cancelRecovery = this.parts.platform.scheduler.after(delayMs, () => {
      if (this.#phase !== "online" || this.#attempt.rung !== "psk") return;
      const reason = failure(
        "RECOVERY_STALLED",
        `no new certificate within ${Math.round(delayMs / 1_000)} s over the pre-shared key; trying the certificate again`,
      );
      const effects = this.#ladder.showAgain(reason, this.#holdings);
      this.#apply(effects);
      if (effects.length > 0) this.reconnect();
      else this.#watchRecovery();
    });
  }

  /** CONNACK alone may come from a broker that lets anyone in and nothing through: one granted SUBACK is asked for as well. */
  async #prove(client: MqttClient): Promise<boolean> {
    const { platform, store } = this.parts;
    const refused = (told?: { reasonCode: number }): void =>
      client.abort(failure("NOT_AUTHORIZED", "the broker does not grant the new certificate its identity topic", told));
    this.#cancelProof = platform.scheduler.after(this.options.connectTimeoutMs, () => {
      client.abort(failure("CONNECT_TIMEOUT", "the broker did not answer the subscription that proves a new certificate"));
    });
    try {
      const code = await client.confirm(`${store.identityBase}/response`);
      if (code >= 0x80) refused({ reasonCode: code });
      return code < 0x80 && client.connected && this.#phase === "online";
    } catch {
      // The connection ended meanwhile, and `onEnd` has told why; or there is no such subscription, because the broker refused it.
      refused();
      return false;
    } finally {
      this.#cancelProof();
    }
  }

  #commit(): void {
    const { store, emit } = this.parts;
    const old: Identity | undefined = store.active;
    const recovering = this.#ladder.rung === "psk";
    this.#apply(this.#ladder.accepted({ rung: "mtls", identity: "pending" }));
    const { serial, notBeforeMs, notAfterMs } = store.commit().certificate;
    this.#forgetAnchors();
    // Proved by the broker: that time has come.
    this.parts.time.atLeast(notBeforeMs);
    this.#attempt = { rung: "mtls", identity: "active" };
    emit({ type: "renewed", ...(old ? { oldSerial: old.certificate.serial } : {}), newSerial: serial, notAfterMs });
    if (recovering) emit({ type: "recovered", serial });
  }

  /** What is left of the anchors has let this connection through. */
  #forgetAnchors(): void {
    const { store, emit, platform } = this.parts;
    try {
      const removed = store.forgetAnchors();
      if (removed.length > 0) emit({ type: "anchors-changed", added: [], removed });
    } catch (error) {
      // One too many is no harm for now: the authority is asked again with the next renewal.
      platform.log("warn", "a superseded trust anchor could not be forgotten", { error: errorMessage(error) });
    }
  }

  #ended(client: MqttClient, reason: Failure): void {
    if (client !== this.#client()) return;
    if (this.#phase === "dialing") this.#endedAtOnce = reason;
    if (this.#phase !== "online") return;
    this.#cancelProof?.();
    this.#cancelRecovery?.();
    this.#brokers.left();
    this.parts.onOffline();
    const wasStable = this.#connectionOver(client);
    if (this.#planned) {
      this.#planned = false;
      return this.#wait(this.options.backoff.floorMs);
    }
    this.#failed(reason, true, wasStable);
  }

  /** @returns whether it had served for a while */
  #connectionOver(client: MqttClient): boolean {
    const lastedMs = this.parts.platform.clock.monotonicMs() - this.#connectedAtMs;
    this.#backoff.ended(lastedMs, client.wasUseful);
    return client.wasUseful && lastedMs >= this.options.backoff.stableAfterMs;
  }

  #failed(given: Failure, wasConnected: boolean, wasStable = false): void {
    const { emit } = this.parts;
    this.#failedAtMs = this.parts.platform.clock.monotonicMs();
    const attempt = this.#attempt;
    const { reason, evidence, isLoginRefused } = this.#judge(given, wasConnected);
    if (!wasConnected && this.#versions.failed(reason.code, this.#isOpened)) {
      emit({ type: "protocol-version", version: 4 });
      return this.#wait(this.options.backoff.floorMs);
    }
    this.#lastFailure = reason;
    const epoch = this.#epoch;
    // The broker was judged without the anchors that may go. It gets another chance with all of them before anything is held against the
    // new certificate.
    const needsAll =
      attempt.rung === "mtls" && attempt.identity === "pending" && reason.class === "server-trust" && this.parts.store.keepAnchors();
    emit({ type: "disconnected", code: reason.code, class: reason.class, message: reason.message, credential: attempt.rung, wasConnected });
    if (isLoginRefused)
      emit({
        type: "login-refused",
        code: reason.code,
        message:
          attempt.rung === "password"
            ? reason.message
            : `${reason.message}; user name, password or token are blamed before the certificate`,
      });
    // The salt that this broker goes by may be the one before.
    const isOtherKeyLeft = attempt.rung === "psk" && reason.class === "credential" && this.parts.store.pskRefused();
    const redirect = attempt.rung === "psk" ? undefined : this.#brokers.failed(reason, wasStable);
    if (redirect) emit({ type: "redirected", host: redirect.host, port: redirect.port, code: reason.code });
    if (!isLoginRefused && !needsAll && !isOtherKeyLeft) this.#apply(this.#ladder.failed(attempt, reason, evidence, this.#holdings));
    if (epoch !== this.#epoch) return;
    const delayMs = this.#backoff.next(minimumDelayMs(reason));
    emit({ type: "retrying", delayMs, attempt: this.#backoff.failures });
    this.#wait(delayMs);
  }

  #judge(given: Failure, wasConnected: boolean): Judgement {
    const { store, time } = this.parts;
    const identity = this.#attempt.rung === "mtls" ? this.#attempt.identity : undefined;
    return judge(given, {
      certificate: identity && store[identity]?.certificate,
      usesLogin: this.#usesLogin,
      wasInUse: wasConnected && identity !== "pending",
      isServerProved: this.#linkInfo.serverAuth !== false,
      time,
      believeUnprotected: this.options.patience.believeUnprotected,
    });
  }

  #apply(effects: readonly LadderEffect[]): void {
    const { emit, store, onFailedProof } = this.parts;
    for (const effect of effects) {
      const { code, message } = effect.reason;
      if (effect.type === "credential-changed") {
        emit({ type: "credential-changed", from: effect.from, to: effect.to, code, message });
      } else if (effect.type === "stop-enrolling") {
        emit({ type: "enrolment-stopped", code, message: `a new certificate changed nothing: ${message}`, retryMs: effect.retryMs });
      } else if (effect.type === "count-failed-proof") {
        onFailedProof(effect.reason);
      } else if (store.pending) {
        emit({ type: "identity-dropped", serial: store.pending.certificate.serial, code, message });
        this.#drop();
      }
    }
  }

  #drop(): void {
    try {
      this.parts.store.drop();
      this.parts.onDropped();
    } catch (error) {
      // The pending identity stays on flash and is tried again: no harm, and nothing to be done about it here.
      this.parts.platform.log("error", "the refused identity could not be removed", { error: errorMessage(error) });
    }
  }

  #wait(delayMs: number): void {
    // A listener of what came before may have stopped the device.
    if (this.#phase === "stopped") return;
    this.#cancelWait?.();
    this.#phase = "waiting";
    this.#cancelWait = this.parts.platform.scheduler.after(delayMs, () => this.#try());
  }
}
