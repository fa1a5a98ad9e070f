/** One device of the world: hardware that outlives its power-ons, and the SDK with an application on it while the power is on. */
import { utf8Decode } from "../../../sdk/encoding/text.js";
import { Device, HawserError, installIdentity, type DeviceConfig, type DeviceEvent } from "../../../sdk/index.js";
import type { Cancel, Dialer, KeyStore, LinkHandlers, Log, Network, Platform } from "../../../sdk/platform.js";
import { AnchorWatch } from "../invariants/anchor-watch.js";
import { AttemptWatch } from "../invariants/attempt-watch.js";
import { BoundsWatch } from "../invariants/bounds-watch.js";
import type { FleetWatch } from "../invariants/fleet-watch.js";
import { IdentityWatch } from "../invariants/identity-watch.js";
import { PskWatch } from "../invariants/psk-watch.js";
import { SessionWatch } from "../invariants/session-watch.js";
import { InboundLedger } from "../invariants/inbound-ledger.js";
import { OutboundLedger } from "../invariants/outbound-ledger.js";
import { RecoveryWatch } from "../invariants/recovery-watch.js";
import { Path } from "../network/path.js";
import type { VirtualNetwork } from "../network/network.js";
import { enrolmentElsewhere } from "../pki/enrolment-elsewhere.js";
import type { VirtualAuthority } from "../pki/virtual-authority.js";
import { Flash, toldOfChanges } from "../power/flash.js";
import { VirtualKeys } from "../power/key-store.js";
import { PowerCut, PowerSupply } from "../power/power-supply.js";
import type { SeededRandom } from "../random.js";
import { DeviceClock, WORLD_BEGINS_MS } from "../time/world-clock.js";
import type { VirtualTime } from "../time/virtual-time.js";
import { Application } from "./application.js";
import type { Chronicle, InvariantName } from "./chronicle.js";
import { describeEvent } from "./event-text.js";
import { OUTBOX_BYTES, outboxBounds } from "./outbox-bounds.js";
import type { DeviceTraits } from "./traits.js";

export const BROKER_HOST = "broker.virtual";
export const MTLS_PORT = 8883;
export const PSK_PORT = 8884;

/** Room for the records of a device and a full outbox, bytes. */
const FLASH_BYTES = 2_000_000;
/**
 * In a world without TLS 1.3, what nobody signed for counts against a certificate after this to twice as long, milliseconds. Nobody in
 * between lasts so long.
 */
export const SUSPICION_MS = 1_800_000;
/** Beside one item that the broker hangs up on, the others get through within this, milliseconds. */
const HELD_UP_MS = 1_200_000;
/** A watchdog starts a device again that could not start, milliseconds. */
const WATCHDOG_MS = 30_000;

export interface Surroundings {
  time: VirtualTime;
  chronicle: Chronicle;
  network: VirtualNetwork;
  authority: VirtualAuthority;
  tlsVersion: string;
  /** Within this a device has to be back once nothing is wrong any more, milliseconds. */
  backOnlineBoundMs: number;
  fleet: FleetWatch;
}

export class VirtualDevice {
  readonly flash = new Flash(FLASH_BYTES);
  readonly keys: VirtualKeys;
  readonly path: Path;
  readonly outbound: OutboundLedger;
  readonly inbound: InboundLedger;
  readonly attempts: AttemptWatch;
  readonly identity: IdentityWatch;
  readonly psk: PskWatch;
  readonly anchors: AnchorWatch;
  readonly sessions: SessionWatch;
  readonly recovery: RecoveryWatch;
  readonly #bounds: BoundsWatch;
  /** False: time servers cannot be reached. */
  timeServers = true;
  /** How long the next power cut lasts, milliseconds. */
  #offMs = 5_000;
  boots = 0;
  /** Set while the device reboots over and over, milliseconds. */
  rebootEveryMs: number | undefined;
  /** Told of each event of the SDK's device. */
  onEvent: (event: DeviceEvent) => void = () => undefined;
  /** Told of each power-on before anything runs. */
  onBoot: (power: PowerSupply) => void = () => undefined;
  /** The topic or filter for which the broker ends connections at the moment. */
  poison: string | undefined;
  /** The certificate whose report a broker acknowledged and threw away: nobody can know. */
  unheard: string | undefined;
  /** Items that the broker has ended a connection for. */
  readonly hungUpOn = new Set<string>();
  /** Faults that had begun when the broker took the device's rights away, just before its sessions. */
  #rightsLostAt: number | undefined;
  /** A subscription of the application was denied since it began. */
  #isDenied = false;
  /** True once the application has nothing more to say: the world is about to end. */
  quiet = false;
  #power: PowerSupply | undefined;
  #clock: DeviceClock | undefined;
  #device: Device | undefined;
  readonly #timers = new Set<Cancel>();
  readonly #applicationTimers = new Set<Cancel>();

  constructor(
    readonly id: string,
    readonly traits: DeviceTraits,
    readonly random: SeededRandom,
    private readonly around: Surroundings,
  ) {
    const { time, chronicle } = around;
    this.keys = new VirtualKeys(id);
    this.path = new Path(time, random.fork("path"));
    this.path.latencyMs = traits.latencyMs;
    this.path.jitterMs = traits.jitterMs;
    this.path.uplinkBytesPerSecond = traits.uplinkBytesPerSecond;
    this.outbound = new OutboundLedger(id, chronicle);
    this.inbound = new InboundLedger(id, chronicle);
    this.attempts = new AttemptWatch(id, time, chronicle, traits.usesLogin);
    this.identity = new IdentityWatch(id, this.flash, this.keys, chronicle, traits.elsewhere);
    this.psk = new PskWatch(id, this.flash, this.keys, chronicle);
    this.anchors = new AnchorWatch(id, this.flash, around.authority.roots, chronicle);
    this.sessions = new SessionWatch(id, chronicle);
    this.identity.vouches = (der) => around.authority.find(der) !== undefined;
    this.recovery = new RecoveryWatch(id, time, chronicle, around.backOnlineBoundMs);
    this.#bounds = new BoundsWatch(id, outboxBounds(traits), chronicle);
  }

  get on(): boolean {
    return this.#power?.on === true;
  }

  get power(): PowerSupply | undefined {
    return this.#power;
  }

  get clock(): DeviceClock | undefined {
    return this.#clock;
  }

  /** The SDK's device, while the power is on. */
  get device(): Device | undefined {
    return this.on ? this.#device : undefined;
  }

  /** Gives the device its first identity, as a factory does. @returns its pre-shared key */
  provision(): Uint8Array | undefined {
    const factory = new PowerSupply();
    const keyStore = this.keys.open(factory);
    const psk = this.traits.recoverable ? this.random.fork("psk").bytes(32) : undefined;
    if (psk) keyStore.importPsk("psk", psk);
    installIdentity(this.flash.open(factory), keyStore, {
      id: this.id,
      role: "sensor",
      ...(this.traits.bare ? {} : { chain: this.#firstChain(keyStore) }),
      trustAnchors: [this.around.authority.root],
      ...(psk ? { pskIdentity: this.id } : {}),
    });
    for (const watch of [this.identity, this.psk, this.anchors]) watch.provisioned();
    return psk;
  }

  #firstChain(keyStore: KeyStore): Uint8Array[] {
    const { authority } = this.around;
    keyStore.generate("key-a");
    return authority.chainOf(authority.issue(this.id, keyStore.publicKey("key-a")));
  }

  /** Switches the power on. Nothing happens when it is on. */
  boot(): void {
    if (this.on) return;
    const power = new PowerSupply();
    this.boots++;
    this.#power = power;
    if (this.boots > 1) this.recovery.faultEnds("power-on");
    if (this.rebootEveryMs !== undefined) this.around.time.after(this.rebootEveryMs, () => power.on && this.cutPower(100));
    this.#clock = this.#setClock(power);
    this.attempts.switchedOn();
    this.note(`boot ${this.boots}`);
    power.onCut(() => this.#lostPower());
    this.onBoot(power);
    try {
      const platform = this.#platform(power, this.#clock);
      const device = new Device(this.#config(platform), platform);
      // A cut that the SDK took for a failing flash and lived through: it is off all the same.
      if (!power.on) return;
      this.#device = device;
      device.listen((event) => this.#heard(event));
      device.start();
      this.#startApplication(device, power);
    } catch (error) {
      if (error instanceof PowerCut) return;
      const code = error instanceof HawserError ? error.code : String(error);
      this.note(`could not start: ${code}`);
      if (!(error instanceof HawserError)) this.around.chronicle.violate("exception", this.id, `at start: ${String(error)}`);
      this.around.time.after(WATCHDOG_MS, () => {
        if (this.#power === power) this.cutPower(0);
      });
    }
  }

  /** Cuts the power and brings it back after `offMs`. */
  cutPower(offMs: number): void {
    this.#offMs = offMs;
    this.#power?.cut();
  }

  /** Cuts the power until {@link boot}. */
  switchOff(): void {
    this.cutPower(Infinity);
  }

  /** The application stops the SDK, and starts it again later. */
  stop(): void {
    void this.device?.stop();
  }

  restart(): void {
    this.attempts.restarted();
    this.device?.start();
  }

  /** The broker denies everything from now on, and ends the sessions in a moment. */
  losesRights(): void {
    this.#rightsLostAt = this.recovery.begun;
  }

  /** The broker has denied nothing, since a long time, but what came just before the end of a certificate. */
  get onlyLostRights(): boolean {
    return this.#rightsLostAt === this.recovery.begun;
  }

  /** Looks whether anything grows without end. */
  inspect(): void {
    const device = this.device;
    if (!device) return;
    const isJudged = this.recovery.oneFaultForMs > 2 * HELD_UP_MS && this.attempts.inContactForMs > HELD_UP_MS;
    if (this.poison !== undefined && isJudged) this.outbound.notHeldUp(this.poison, this.around.time.nowMs - HELD_UP_MS);
    this.#bounds.look(device.status, this.flash, this.#timers.size, this.path.linkCount);
    const { chronicle, time } = this.around;
    const { notAfterMs = Infinity } = device.status;
    // An authority may stay away after all else is well, to see devices live on the certificate they have.
    if (this.recovery.calm && !this.around.authority.mood.down && WORLD_BEGINS_MS + time.nowMs > notAfterMs)
      chronicle.violate("stranded", this.id, "its certificate has run out, though all is well");
    const active = this.around.authority.current(this.id).find(({ serial }) => serial === this.identity.activeSerial);
    // No later than now, nor than the time the world has lasted after the beginning of a certificate that a broker with a wrong clock
    // accepted.
    const latestMs = Math.max(WORLD_BEGINS_MS, active?.notBeforeMs ?? 0) + time.nowMs;
    const storedMs = Number(utf8Decode(this.flash.peek("time-floor") ?? new Uint8Array()));
    if (storedMs > latestMs)
      chronicle.violate("time-moved", this.id, `the stored time is ${storedMs - latestMs} ms ahead of all that was proved`);
  }

  /** The last word on what must have happened by now. */
  settle(days: number): void {
    this.outbound.settle();
    this.inbound.settle();
    this.attempts.settle();
    this.identity.check();
    this.identity.settle(this.around.authority.places.served(this.id));
    const messages = this.outbound.accepted + this.outbound.failed + this.inbound.handled;
    if (this.device) this.#bounds.finished(this.device.status);
    // Who issues elsewhere is not told which certificate is in use.
    const oldest = this.traits.elsewhere ? undefined : this.around.authority.current(this.id)[0];
    const { activeSerial, rotations } = this.identity;
    if (this.on && oldest && oldest.serial !== activeSerial && rotations > 0 && this.unheard !== activeSerial) {
      this.around.chronicle.violate(
        "old-certificate",
        this.id,
        `certificate ${oldest.serial} is still good, though ${activeSerial} has replaced it`,
      );
    }
    this.#bounds.settle(this.flash, messages, days + this.boots / 10);
  }

  /** What another than the device found out. */
  accuse(invariant: InvariantName, what: string): void {
    this.around.chronicle.violate(invariant, this.id, what);
  }

  note(text: string): void {
    this.around.chronicle.note(this.id, text);
  }

  #config(platform: Platform): DeviceConfig {
    const { patienceMs, retryCapMs, ...traits } = this.traits;
    return {
      broker: { host: BROKER_HOST, port: MTLS_PORT },
      ...(traits.recoverable ? { recovery: { host: BROKER_HOST, port: PSK_PORT } } : {}),
      ...(traits.elsewhere ? { enrolment: enrolmentElsewhere(this.id, this.around.authority, platform) } : {}),
      protocolVersion: traits.protocolVersion,
      keepAliveSeconds: traits.keepAliveSeconds,
      sessionExpirySeconds: traits.sessionExpirySeconds,
      messagesWithConnect: traits.messagesWithConnect,
      outbox: { maxMessages: traits.outboxMessages, maxBytes: OUTBOX_BYTES, overflow: traits.overflow, persistent: traits.persistent },
      buildTimeMs: WORLD_BEGINS_MS - 30 * 86_400_000,
      ...(traits.usesLogin ? { login: () => ({ password: "a second factor" }) } : {}),
      recoveryPatience: {
        suspicionMs: SUSPICION_MS,
        believeUnprotected: this.around.tlsVersion === "TLSv1.2",
        ...(patienceMs === undefined ? {} : { minimumMs: patienceMs, maximumMs: patienceMs * 1.5 }),
      },
      ...(retryCapMs === undefined ? {} : { backoff: { capMs: retryCapMs } }),
    };
  }

  #platform(power: PowerSupply, clock: DeviceClock): Platform {
    const { time } = this.around;
    const storage = this.flash.open(power);
    const keyStore = this.keys.open(power);
    const random = this.random.fork(`boot ${this.boots}`);
    const log: Log = (level, message) => {
      if (level === "error") this.note(`log: ${message}`);
    };
    const resumption = this.traits.keepsSessions ? this.sessions.resumption({ keyStore, storage, random, log }, this.keys) : undefined;
    return {
      clock,
      scheduler: { after: (delayMs, run) => this.#after(this.#timers, power, delayMs, run) },
      random,
      dialer: this.#watched(this.around.network.dialer(this.path, this.keys, power, resumption), time),
      keyStore,
      chains: { leadsTo: (chain, anchors) => this.around.authority.vouchesFor(chain, anchors) },
      storage: toldOfChanges(storage, (key) => isOfSession(key) && this.inbound.wroteSession()),
      network: this.#network(power),
      log,
    };
  }

  #network(power: PowerSupply): Network {
    const { path, attempts } = this;
    return {
      get isUp() {
        return path.isJoined;
      },
      onChange: (changed) => {
        const cancel = path.onJoinChange(() => {
          const isWaiting = (): boolean => power.on && path.isJoined && this.#device?.status.state === "waiting";
          if (isWaiting()) attempts.networkUp(isWaiting);
          changed();
        });
        power.onCut(cancel);
        return cancel;
      },
    };
  }

  /** The dialer, with every attempt and its end reported. */
  #watched(dialer: Dialer, time: VirtualTime): Dialer {
    return {
      dial: (endpoint, credential, timeoutMs, handlers) => {
        this.attempts.dialled(credential, this.path.isJoined);
        const startedAtMs = time.nowMs;
        const watched: LinkHandlers = {
          opened: (info) => handlers.opened(info),
          data: (bytes) => handlers.data(bytes),
          drain: () => handlers.drain(),
          ended: (reason) => {
            this.attempts.linkEnded(reason);
            this.note(`link ended after ${time.nowMs - startedAtMs} ms: ${reason.code}`);
            handlers.ended(reason);
          },
        };
        return dialer.dial(endpoint, credential, timeoutMs, watched);
      },
    };
  }

  #after(timers: Set<Cancel>, power: PowerSupply, delayMs: number, run: () => void): Cancel {
    if (!power.on) return () => undefined;
    const cancelEvent = this.around.time.after(delayMs, () => {
      timers.delete(cancel);
      run();
    });
    const cancel = (): void => {
      timers.delete(cancel);
      cancelEvent();
    };
    timers.add(cancel);
    return cancel;
  }

  #startApplication(device: Device, power: PowerSupply): void {
    const random = this.random.fork(`application ${this.boots}`);
    this.#isDenied = false;
    new Application({
      device,
      traits: this.traits,
      random,
      outbound: this.outbound,
      inbound: this.inbound,
      boot: this.boots,
      quiet: () => this.quiet,
      alive: () => power.on,
      flashRefusals: () => this.flash.refusals,
      after: (delayMs, run) => this.#after(this.#applicationTimers, power, delayMs, run),
      onDenied: () => (this.#isDenied = true),
      onRefused: (topic) => this.#denied(topic),
      now: () => this.around.time.nowMs,
      onOddity: (what) => this.around.chronicle.violate("exception", this.id, what),
    }).start();
  }

  #setClock(power: PowerSupply): DeviceClock {
    const { time } = this.around;
    const { clock: kind } = this.traits;
    const trueMs = WORLD_BEGINS_MS + time.nowMs;
    const random = this.random.fork(`clock ${this.boots}`);
    const clock = new DeviceClock(
      time,
      kind === "battery" ? trueMs : kind === "none" ? 0 : trueMs + random.between(-400, 400) * 86_400_000,
    );
    clock.drift(random.between(-200, 200));
    const ask = (): void => {
      if (this.timeServers) clock.synchronise();
      this.#after(this.#applicationTimers, power, this.timeServers ? 3_600_000 : 60_000, ask);
    };
    if (kind === "battery") clock.synchronise();
    this.#after(this.#applicationTimers, power, random.between(500, 20_000), ask);
    return clock;
  }

  #heard(event: DeviceEvent): void {
    this.note(describeEvent(event));
    this.attempts.event(event);
    this.onEvent(event);
    if (event.type === "credential-changed" && event.to === "psk") this.around.fleet.left(this.id);
    if (event.type === "connected" && event.credential === "mtls") this.around.fleet.isBack(this.id);
    if (event.type === "message-uncertain") this.outbound.uncertain(event.topic);
    if (event.type === "subscription-refused") {
      // The application hears of it once it is done with the message at hand.
      this.#isDenied = true;
      if (event.code === "BROKER_HANGS_UP") this.#blamed(event.filter);
    }
    if (event.type !== "message-dropped") return;
    if (event.code === "BROKER_HANGS_UP") this.#blamed(event.topic);
    if (event.code === "NOT_AUTHORIZED") this.#denied(event.topic);
    if (event.code === "NO_SUBSCRIPTION" && !this.#isDenied)
      this.around.chronicle.violate("no-taker", this.id, `a message on ${event.topic} was dropped before the application subscribed`);
    if (event.topic.includes("/down/")) this.inbound.dropped(event.topic);
    else this.outbound.dropped(event.topic);
  }

  /** A message was given up as denied. */
  #denied(topic: string): void {
    if (this.onlyLostRights)
      this.around.chronicle.violate(
        "denied-at-the-end",
        this.id,
        `a message on ${topic} was given up, though the device may publish it again with its next certificate`,
      );
  }

  #blamed(item: string): void {
    if (!this.hungUpOn.has(item))
      this.around.chronicle.violate("blamed", this.id, `${item} was given up, and the broker never hung up on it`);
  }

  #lostPower(): void {
    this.note("power cut");
    this.recovery.faultBegins();
    this.#device = undefined;
    for (const timers of [this.#timers, this.#applicationTimers]) {
      for (const cancel of [...timers]) cancel();
      timers.clear();
    }
    this.outbound.powerCut(this.traits.persistent);
    this.inbound.powerCut(this.traits.persistent);
    if (this.#offMs < Infinity) this.around.time.after(this.#offMs, () => this.boot());
    this.#offMs = 5_000;
  }
}

/** The record of filters says nothing of messages. */
function isOfSession(key: string): boolean {
  return key.startsWith("mq") && key !== "mq-s";
}
