/** A whole world from one seed: devices, network, broker, authority, faults, and the invariants that watch them all. Runs on any engine. */
import { utf8Decode, utf8Encode } from "../../../sdk/encoding/text.js";
import { ASKING_HOLDER } from "../../../sdk/identity/enrolment.js";
import { BrokerAccess, type Scope } from "../broker/access.js";
import type { Message } from "../broker/message.js";
import type { BrokerObserver } from "../broker/broker-observer.js";
import { VirtualBroker } from "../broker/virtual-broker.js";
import type { FaultKind } from "../faults/fault-kind.js";
import { FleetWatch } from "../invariants/fleet-watch.js";
import { FaultPlan } from "../faults/fault-plan.js";
import { VirtualNetwork } from "../network/network.js";
import { sameBytes } from "../network/virtual-tls.js";
import { VirtualAuthority } from "../pki/virtual-authority.js";
import { PowerCut } from "../power/power-supply.js";
import { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { VirtualTime, type DrainMicrotasks } from "../time/virtual-time.js";
import { COMMANDS } from "./application.js";
import { Chronicle, type Violation } from "./chronicle.js";
import { deviceTraits, worldTraits, type GivenTraits } from "./traits.js";
import { BROKER_HOST, MTLS_PORT, PSK_PORT, SUSPICION_MS, VirtualDevice } from "./virtual-device.js";

export interface WorldOptions {
  seed: string;
  devices: number;
  days: number;
  faults: readonly FaultKind[];
  drain: DrainMicrotasks;
  /** Gets every line of the timeline. */
  onLine?: (line: string) => void;
  /** Ends the run at the first violation. */
  stopAtViolation?: boolean;
  /** The devices' names; dev-1, dev-2... where there are none. */
  ids?: readonly string[];
  /** Traits that the seed shall not decide. */
  traits?: GivenTraits;
  /**
   * How soon devices have to be back online once nothing is wrong any more, milliseconds. Default: long enough for the slowest enrolment.
   */
  backOnlineBoundMs?: number;
  /** Applications and backend fall silent when `days` are over, and not only once every device is back. */
  quietAtEnd?: boolean;
  /** Plans events of its own once the world stands, before time passes. */
  script?: (world: World) => void;
}

export interface WorldResult {
  seed: string;
  /** Equal for equal runs. */
  digest: string;
  deviceDays: number;
  faults: Record<string, number>;
  attempts: number;
  connections: number;
  rotations: number;
  boots: number;
  /** Messages of applications that arrived, and of the backend that were handled. */
  messagesUp: number;
  messagesDown: number;
  /** The longest a device took to be back on mutual TLS once nothing stood in its way, milliseconds, and after what. */
  worstBackOnlineMs: number;
  worstAfter: string;
  flashWrites: number;
  violations: readonly Violation[];
  /** The last lines before the end. */
  recent: readonly string[];
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Once nothing is wrong any more: the widest backoff, the longest wish of a reason code, handshakes; then enrolment and its retries. */
const BACK_ONLINE_MS = 30 * MINUTE_MS;
/** How long what is still on its way may take at the end, milliseconds. */
const DRAIN_MS = 240 * MINUTE_MS;
const AUTHORITY_LOOKS_MS = 10_000;
const INSPECT_EVERY_MS = 10 * MINUTE_MS;

export class World {
  readonly time: VirtualTime;
  readonly chronicle: Chronicle;
  readonly broker: VirtualBroker;
  readonly access: BrokerAccess;
  readonly authority: VirtualAuthority;
  readonly devices: VirtualDevice[] = [];
  readonly backOnlineBoundMs: number;
  readonly #random: SeededRandom;
  readonly #byId = new Map<string, VirtualDevice>();
  readonly #plan: FaultPlan;
  readonly #fleet: FleetWatch;
  #quiet = false;

  constructor(private readonly options: WorldOptions) {
    this.#random = new SeededRandom(options.seed);
    this.time = new VirtualTime(options.drain, (error) => this.unhandled(error));
    this.chronicle = new Chronicle(this.time, options.onLine);
    this.#fleet = new FleetWatch(options.devices, this.time, this.chronicle);
    const traits = worldTraits(this.#random.fork("world"), options.traits?.world);
    this.authority = new VirtualAuthority(() => WORLD_BEGINS_MS + this.time.nowMs, this.#random.fork("authority"), traits.lifetimeMs);
    this.access = new BrokerAccess(this.authority, () => WORLD_BEGINS_MS + this.time.nowMs);
    this.authority.onRevoked = (serial) => {
      this.access.revoked.add(serial);
      this.broker.endSessionsOf(serial);
    };
    this.authority.psks.onChange = (id, key) => {
      this.access.changePsk(id, key);
      this.broker.endPskSessions(id);
      this.#byId.get(id)?.psk.check();
    };
    this.authority.onReported = (id, serial) => {
      const key = this.authority.psks.of(id);
      if (key) this.#byId.get(id)?.psk.reported(serial, key);
    };
    // A device that sends a password as well never blames its certificate for a CONNACK: it would stay out for good.
    if (traits.refusesRevoked === "by-connack") this.access.refusesByConnack = (id) => this.#byId.get(id)?.traits.usesLogin === false;
    this.access.onRefused = (id) => this.#byId.get(id)?.attempts.credentialFault();
    const certificate = {
      root: this.authority.root,
      names: [BROKER_HOST],
      notBeforeMs: WORLD_BEGINS_MS - 90 * DAY_MS,
      notAfterMs: WORLD_BEGINS_MS + 5 * 365 * DAY_MS,
    };
    this.broker = new VirtualBroker(this.time, this.access, traits.limits, this.#observer(), certificate, traits.tlsVersion);
    this.authority.roots.onServing = (root) => {
      certificate.root = root;
      this.chronicle.note("world", "the broker's certificate comes from the new root");
      for (const device of this.devices) device.anchors.check();
    };
    const network = new VirtualNetwork(this.time);
    network.listen(BROKER_HOST, MTLS_PORT, this.broker.mtls);
    network.listen(BROKER_HOST, PSK_PORT, this.broker.psk);
    // A failed enrolment is retried after a hundredth of the lifetime, at least; an authority may ask for ten minutes.
    const unprotectedMs = traits.tlsVersion === "TLSv1.2" ? 2 * SUSPICION_MS : 0;
    this.backOnlineBoundMs =
      options.backOnlineBoundMs ?? BACK_ONLINE_MS + unprotectedMs + Math.min(2 * 60 * MINUTE_MS, traits.lifetimeMs / 25);
    for (let number = 1; number <= options.devices; number++) this.#addDevice(options.ids?.[number - 1] ?? `dev-${number}`, network);
    this.broker.taps.push({ filter: "+/+/identity/request", take: (_from, message) => this.#enrol(message) });
    this.#plan = this.#faultPlan();
    this.chronicle.note("world", `seed=${options.seed} ${describe(traits)}`);
  }

  /** Lets the world take its course, then calm down, and gives the last word on every promise. */
  async run(): Promise<WorldResult> {
    const faultsEndMs = this.options.days * DAY_MS;
    for (const device of this.devices) {
      this.chronicle.note(device.id, describe(device.traits));
      device.boot();
      this.#command(device, this.#random.fork(`backend ${device.id}`));
    }
    this.options.script?.(this);
    this.#plan.start();
    this.#inspect();
    await this.#until(faultsEndMs);
    this.chronicle.note("world", "no more faults");
    if (this.options.quietAtEnd === true) this.#fallSilent();
    await this.#until(faultsEndMs + this.backOnlineBoundMs + MINUTE_MS);
    this.#plan.endTails();
    this.#fallSilent();
    const endMs = this.time.nowMs + DRAIN_MS;
    while (this.time.nowMs < endMs && !this.#broken && !this.#drained()) await this.#until(this.time.nowMs + MINUTE_MS);
    if (!this.#broken) for (const device of this.devices) device.settle(this.options.days);
    return this.#result();
  }

  #fallSilent(): void {
    this.#quiet = true;
    for (const device of this.devices) device.quiet = true;
  }

  /** An error that nobody handled came up. What the power cut off is no error. */
  unhandled(error: unknown): void {
    if (error instanceof PowerCut) return;
    this.chronicle.violate("exception", "world", String(error), error instanceof Error ? error.stack?.split("\n")[1]?.trim() : undefined);
  }

  async #until(untilMs: number): Promise<void> {
    if (!this.#broken) await this.time.run(untilMs, () => this.#broken);
  }

  get #broken(): boolean {
    return this.options.stopAtViolation === true && this.chronicle.violations.length > 0;
  }

  #drained(): boolean {
    return this.devices.every(
      (device) => device.outbound.open === 0 && this.broker.backlog(device.id) === 0 && (device.device?.status.outbox.messages ?? 0) === 0,
    );
  }

  #addDevice(id: string, network: VirtualNetwork): void {
    const random = this.#random.fork(id);
    const { time, chronicle, authority, backOnlineBoundMs } = this;
    const { tlsVersion } = this.broker.mtls;
    const traits = deviceTraits(random.fork("traits"), this.broker.limits.versions, this.authority.lifetimeMs, this.options.traits?.device);
    const device = new VirtualDevice(id, traits, random, {
      time,
      chronicle,
      network,
      authority,
      backOnlineBoundMs,
      tlsVersion,
      fleet: this.#fleet,
    });
    const psk = device.provision();
    if (psk) {
      this.access.psks.set(id, psk);
      this.authority.psks.provision(id, psk);
    }
    device.psk.taken = () => this.access.psks.get(id);
    this.devices.push(device);
    this.#byId.set(id, device);
  }

  #faultPlan(): FaultPlan {
    const { time, chronicle, devices, broker, access, authority } = this;
    const { faults: kinds, days } = this.options;
    return new FaultPlan({
      time,
      random: this.#random.fork("faults"),
      chronicle,
      devices,
      kinds,
      untilMs: days * DAY_MS,
      site: { broker, access, authority },
    });
  }

  /** The authority listens to enrolment requests. */
  #enrol(message: Message): void {
    const id = message.topic.split("/")[1] ?? "";
    const base = message.topic.slice(0, -"/request".length);
    const { mood, places } = this.authority;
    if (!places.served(id).includes(base)) return;
    // A report of success is sent once: the broker keeps it for an authority that is away. Requests are sent again.
    const isReport = utf8Decode(message.payload).includes('"type":"active"');
    if (mood.losesReports && isReport) return this.#unheard(this.#byId.get(id));
    if (mood.down) {
      if (isReport) this.time.after(AUTHORITY_LOOKS_MS, () => this.#enrol(message));
      return;
    }
    for (const answer of this.authority.handle(id, message.payload, WORLD_BEGINS_MS + message.atMs, base)) {
      // The holder may be at another place than who asks.
      const bases = utf8Decode(answer).includes(`"${ASKING_HOLDER}"`) ? places.served(id) : [base];
      for (const one of bases) this.time.after(mood.delayMs, () => this.broker.publish(`${one}/response`, answer, 1));
    }
  }

  /** A report was acknowledged and never came to the authority. */
  #unheard(sender: VirtualDevice | undefined): void {
    if (sender) sender.unheard = sender.identity.activeSerial;
  }

  /** The backend sends a command now and then. */
  #command(device: VirtualDevice, random: SeededRandom): void {
    const everyMs = device.traits.commandEveryMs;
    this.time.after(random.between(everyMs / 2, (everyMs * 3) / 2), () => {
      if (this.#quiet) return;
      for (let count = random.chance(0.05) ? random.between(2, 30) : 1; count > 0; count--) {
        const { topic, qos } = random.pick(COMMANDS);
        const full = `devices/${device.id}/${topic}`;
        const sequence = device.inbound.nextSequence;
        device.inbound.sent(full, qos);
        const takers = this.broker.publish(full, utf8Encode(String(sequence)), qos);
        if (!takers.includes(device.id)) this.#nobodyThere(device, sequence, full);
      }
      this.#command(device, random);
    });
  }

  /** No session takes the command. In calm times the device has forgotten to subscribe. */
  #nobodyThere(device: VirtualDevice, sequence: number, topic: string): void {
    device.inbound.gaveUp(sequence);
    if (device.recovery.calm)
      this.chronicle.violate("qos1-lost", device.id, `no subscription for command ${sequence} on ${topic}, though all is well`);
  }

  #inspect(): void {
    this.time.after(INSPECT_EVERY_MS, () => {
      for (const device of this.devices) device.inspect();
      if (!this.#quiet) this.#inspect();
    });
  }

  #heardByPsk({ id, key }: Extract<Scope, { kind: "psk" }>, clientId: string): void {
    const taken = this.access.psks.get(id);
    if (taken && !sameBytes(taken, key))
      this.chronicle.violate("old-psk-serves", id, `${clientId} is still heard by a pre-shared key of before`);
  }

  #observer(): BrokerObserver {
    const device = (clientId: string): VirtualDevice | undefined => this.#byId.get(clientId);
    const inbound = (clientId: string, message: Message, act: (sequence: number, device: VirtualDevice) => void): void => {
      const found = device(clientId);
      if (found && message.topic.includes("/down/")) act(Number(utf8Decode(message.payload)), found);
    };
    return {
      accepted: (scope, clientId, sessionPresent) => {
        this.chronicle.note(clientId, `broker accepts ${scope.kind}${sessionPresent ? ", session present" : ""}`);
        if (scope.kind !== "mtls" || clientId !== scope.id) return;
        const found = device(scope.id);
        // A new certificate that was let in says nothing for the one that was refused, until it has taken its place.
        if (found?.identity.activeSerial === scope.serial) found.attempts.activeIsGood();
        found?.identity.accepted(scope.serial);
      },
      granted: (scope, clientId, filter) => {
        if (scope.kind === "mtls" && clientId === scope.id) device(scope.id)?.identity.granted(scope.serial, filter);
      },
      heard: (scope, clientId) => {
        if (scope.kind !== "mtls") return this.#heardByPsk(scope, clientId);
        if (this.access.revoked.has(scope.serial))
          this.chronicle.violate("revoked-key-serves", scope.id, `${clientId} is still heard with the revoked certificate ${scope.serial}`);
        // A thief's signs of life are not the device's.
        if (clientId === scope.id) device(scope.id)?.recovery.heard();
      },
      silent: (clientId) => {
        if (device(clientId)?.recovery.calm)
          this.chronicle.violate("protocol", clientId, "silent for one and a half keep-alive intervals, though all is well");
      },
      arrived: (clientId, message) => {
        if (message.topic.includes("/up/")) device(clientId)?.outbound.arrive(message.topic, sequenceOf(message));
      },
      refused: (scope, message, isTold) => {
        const sender = device(scope.id);
        if (!isTold && message.topic.endsWith("/identity/request")) this.#unheard(sender);
        if (!message.topic.includes("/up/")) return;
        if (scope.kind === "psk") this.chronicle.violate("rung-without-reason", scope.id, "telemetry over PSK");
        // Denied together with the end of its certificate, and told so: it is wanted all the same.
        if (!(isTold && sender?.onlyLostRights)) sender?.outbound.refused(sequenceOf(message));
      },
      hungUp: (scope, item) => void device(scope.id)?.hungUpOn.add(item),
      taken: (clientId, message) => inbound(clientId, message, (sequence, found) => found.inbound.acknowledged(sequence)),
      gaveUp: (clientId, message) => inbound(clientId, message, (sequence, found) => found.inbound.gaveUp(sequence)),
      sessionLost: (clientId, unreleased) => {
        this.chronicle.note(clientId, "broker lost the session");
        for (const message of unreleased) if (message.topic.includes("/up/")) device(clientId)?.outbound.forgotten(sequenceOf(message));
      },
      misbehaved: (clientId, what) => this.chronicle.violate("protocol", clientId, what),
    };
  }

  #result(): WorldResult {
    const { devices, chronicle, options } = this;
    const sum = (of: (device: VirtualDevice) => number): number => devices.reduce((total, device) => total + of(device), 0);
    const worst = devices.reduce<VirtualDevice | undefined>(
      (one, other) => (one && one.recovery.worstMs >= other.recovery.worstMs ? one : other),
      undefined,
    );
    return {
      seed: options.seed,
      digest: chronicle.digest,
      deviceDays: (this.time.nowMs / DAY_MS) * devices.length,
      faults: Object.fromEntries([...this.#plan.struck].sort(([a], [b]) => (a < b ? -1 : 1))),
      attempts: sum((device) => device.attempts.attempts),
      connections: sum((device) => device.attempts.connections),
      rotations: sum((device) => device.identity.rotations),
      boots: sum((device) => device.boots),
      messagesUp: sum((device) => device.outbound.arrived),
      messagesDown: sum((device) => device.inbound.handled),
      worstBackOnlineMs: worst?.recovery.worstMs ?? 0,
      worstAfter: worst?.recovery.worstAfter ?? "",
      flashWrites: sum((device) => device.flash.writes),
      violations: chronicle.violations,
      recent: chronicle.recent,
    };
  }
}

function sequenceOf(message: Message): number {
  return Number(utf8Decode(message.payload).split(" ")[0]);
}

function describe(traits: object): string {
  return JSON.stringify(traits);
}
