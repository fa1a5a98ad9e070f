/**
 * A broker, an authority and devices in virtual time: hours pass in milliseconds, only when the test says so, and equal seeds give equal
 * runs.
 */
import { disposeBy } from "../../sdk/async-dispose.js";
import { utf8Decode, utf8Encode } from "../../sdk/encoding/text.js";
import type { Platform } from "../../sdk/platform.js";
import { installIdentity } from "../../sdk/identity/store.js";
import { KeptSession } from "../../sdk/sleep/kept-tls-session.js";
import { BrokerAccess } from "../../sim/virtual/broker/access.js";
import { DEFAULT_LIMITS } from "../../sim/virtual/broker/broker-settings.js";
import { matches, type Message } from "../../sim/virtual/broker/message.js";
import type { BrokerObserver } from "../../sim/virtual/broker/broker-observer.js";
import { VirtualBroker } from "../../sim/virtual/broker/virtual-broker.js";
import { VirtualNetwork } from "../../sim/virtual/network/network.js";
import { keptTickets } from "../../sim/virtual/network/tickets.js";
import { Path } from "../../sim/virtual/network/path.js";
import { drainOnNode } from "../../sim/virtual/node-host.js";
import { VirtualAuthority } from "../../sim/virtual/pki/virtual-authority.js";
import { Flash } from "../../sim/virtual/power/flash.js";
import { VirtualKeys } from "../../sim/virtual/power/key-store.js";
import { PowerCut, PowerSupply } from "../../sim/virtual/power/power-supply.js";
import { SeededRandom } from "../../sim/virtual/random.js";
import { DeviceClock, WORLD_BEGINS_MS } from "../../sim/virtual/time/world-clock.js";
import { VirtualTime } from "../../sim/virtual/time/virtual-time.js";
import { TestDevice, type ProgramOptions } from "./test-device.js";
import { lastOf, notSeen, type ReceivedMessage, type TestPlace, type WaitOptions } from "./test-place.js";

const HOST = "broker.virtual";
const MTLS_PORT = 8883;
const PSK_PORT = 8884;
const DAY_MS = 86_400_000;
const WITHIN_MS = 600_000;
const FLASH_BYTES = 2_000_000;
const LIFETIME_MS = 90 * DAY_MS;

export interface VirtualWorldOptions {
  /** Decides all that is random: jitter, delays, keys. Default "1". */
  seed?: string;
  /** Milliseconds a device's certificate is valid; default 90 days. */
  deviceLifetimeMs?: number;
}

export function virtualWorld(options: VirtualWorldOptions = {}): VirtualTestWorld {
  return new VirtualTestWorld(options);
}

/** The network between one device and the broker. */
export interface DeviceNetwork {
  /** One way, milliseconds. */
  latencyMs: number;
  jitterMs: number;
  /** The share of segments that are lost and come late, 0..1. */
  loss: number;
  dns: "works" | "fails" | "silent";
  reach: "works" | "refused" | "unreachable";
  /** Nothing passes and nobody is told. */
  blackHole: boolean;
  /** Ends every connection with a reset. */
  resetLinks(): void;
  /** A middlebox forgets every connection: nothing passes, no end is told. */
  forgetLinks(): void;
}

/** A device's wall clock; right and trusted at each boot. */
export interface DeviceWallClock {
  /** Moves it by `byMs` milliseconds; it stays trusted. */
  jump(byMs: number): void;
  /** From now on it is fast by so many millionths. */
  drift(ppm: number): void;
  /** SNTP answers: right again. */
  synchronise(): void;
  wallMs(): number;
}

interface Hardware {
  readonly flash: Flash;
  readonly keys: VirtualKeys;
  readonly path: Path;
  readonly random: SeededRandom;
  boots: number;
}

/** A device of the virtual world: beside the SDK's, its network, its clock and its power. */
export class VirtualTestDevice extends TestDevice {
  constructor(
    readonly network: DeviceNetwork,
    readonly wallClock: DeviceWallClock,
    ...rest: ConstructorParameters<typeof TestDevice>
  ) {
    super(...rest);
  }

  override reboot(): Promise<VirtualTestDevice> {
    return super.reboot() as Promise<VirtualTestDevice>;
  }
}

export class VirtualTestWorld implements TestPlace {
  /** Switches every device off. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #time: VirtualTime;
  readonly #network: VirtualNetwork;
  readonly #authority: VirtualAuthority;
  readonly #access: BrokerAccess;
  readonly #broker: VirtualBroker;
  readonly #random: SeededRandom;
  readonly #received: ReceivedMessage[] = [];
  readonly #supplies = new Set<PowerSupply>();
  readonly #errors: unknown[] = [];
  #made = 0;

  constructor({ seed = "1", deviceLifetimeMs = LIFETIME_MS }: VirtualWorldOptions) {
    this.#random = new SeededRandom(seed);
    this.#time = new VirtualTime(drainOnNode, (error) => {
      if (!(error instanceof PowerCut)) this.#errors.push(error);
    });
    const nowMs = (): number => WORLD_BEGINS_MS + this.#time.nowMs;
    this.#authority = new VirtualAuthority(nowMs, this.#random.fork("authority"), deviceLifetimeMs);
    this.#access = new BrokerAccess(this.#authority, nowMs);
    this.#authority.onRevoked = (serial) => {
      this.#access.revoked.add(serial);
      this.#broker.endSessionsOf(serial);
    };
    this.#authority.psks.onChange = (id, key) => {
      this.#access.changePsk(id, key);
      this.#broker.endPskSessions(id);
    };
    const certificate = {
      root: this.#authority.root,
      names: [HOST],
      notBeforeMs: WORLD_BEGINS_MS - 90 * DAY_MS,
      notAfterMs: WORLD_BEGINS_MS + 10 * 365 * DAY_MS,
    };
    this.#broker = new VirtualBroker(this.#time, this.#access, DEFAULT_LIMITS, observer(this.#errors), certificate, "TLSv1.3");
    this.#network = new VirtualNetwork(this.#time);
    this.#network.listen(HOST, MTLS_PORT, this.#broker.mtls);
    this.#network.listen(HOST, PSK_PORT, this.#broker.psk);
    this.#broker.taps.push({ filter: "devices/#", take: (_from, message) => this.#take(message) });
  }

  /** Milliseconds since the world began, on 1 January 2026. */
  get nowMs(): number {
    return this.#time.nowMs;
  }

  get received(): readonly ReceivedMessage[] {
    return this.#received;
  }

  /** Lets `durationMs` milliseconds pass. @throws the first error that the SDK or a program's timer threw meanwhile */
  async pass(durationMs: number): Promise<void> {
    await this.#run(this.#time.nowMs + durationMs, () => false);
  }

  /** Lets time pass until the condition holds. */
  async until<T>(what: string, condition: () => T | undefined | false, { withinMs = WITHIN_MS }: WaitOptions = {}): Promise<T> {
    let found = condition();
    const isFound = (): boolean => {
      found = condition();
      return found !== undefined && found !== false;
    };
    if (found === undefined || found === false) await this.#run(this.#time.nowMs + withinMs, isFound);
    if (found === undefined || found === false) throw notSeen(what, withinMs, this.story);
    return found;
  }

  async #run(untilMs: number, stop: () => boolean): Promise<void> {
    const onUnhandled = (error: unknown): void => {
      if (!(error instanceof PowerCut)) this.#errors.push(error);
    };
    process.on("unhandledRejection", onUnhandled);
    try {
      await this.#time.run(untilMs, () => this.#errors.length > 0 || stop());
    } finally {
      process.off("unhandledRejection", onUnhandled);
    }
    if (this.#errors.length > 0) throw this.#errors.shift();
  }

  async makeDevice(options: ProgramOptions = {}): Promise<VirtualTestDevice> {
    const id = options.id ?? `device-${++this.#made}`;
    const random = this.#random.fork(id);
    const hardware = {
      flash: new Flash(FLASH_BYTES),
      keys: new VirtualKeys(id),
      path: new Path(this.#time, random.fork("path")),
      random,
      boots: 0,
    };
    this.#provision(id, options.role ?? "sensor", hardware);
    return this.#boot(hardware, options);
  }

  #provision(id: string, role: string, { flash, keys, random }: Hardware): void {
    const factory = new PowerSupply();
    const keyStore = keys.open(factory);
    const psk = random.fork("psk").bytes(32);
    keyStore.importPsk("psk", psk);
    keyStore.generate("key-a");
    const chain = this.#authority.chainOf(this.#authority.issue(id, keyStore.publicKey("key-a")));
    installIdentity(flash.open(factory), keyStore, { id, role, pskIdentity: id, chain, trustAnchors: [this.#authority.root] });
    this.#access.psks.set(id, psk);
    this.#authority.psks.provision(id, psk);
  }

  #boot(hardware: Hardware, options: ProgramOptions): VirtualTestDevice {
    const power = new PowerSupply();
    this.#supplies.add(power);
    const clock = new DeviceClock(this.#time, WORLD_BEGINS_MS + this.#time.nowMs);
    clock.synchronise();
    const config = {
      broker: { host: HOST, port: MTLS_PORT },
      recovery: { host: HOST, port: PSK_PORT },
      buildTimeMs: WORLD_BEGINS_MS - 30 * DAY_MS,
      ...options.config,
    };
    const device = new VirtualTestDevice(
      hardware.path,
      clock,
      config,
      this.#platform(hardware, power, clock, options),
      this,
      options,
      async () => {
        power.cut();
        this.#supplies.delete(power);
        hardware.path.resetLinks();
        return this.#boot(hardware, options);
      },
    );
    device.boot();
    return device;
  }

  #platform(hardware: Hardware, power: PowerSupply, clock: DeviceClock, { keepSessions = false }: ProgramOptions): Platform {
    const { flash, keys, path } = hardware;
    hardware.boots += 1;
    const parts = {
      keyStore: keys.open(power),
      storage: flash.open(power),
      random: hardware.random.fork(`boot ${hardware.boots}`),
      log: (): void => undefined,
    };
    const resumption = keepSessions ? keptTickets(new KeptSession(parts), keys) : undefined;
    return {
      ...parts,
      clock,
      scheduler: { after: (delayMs, run) => this.#time.after(delayMs, () => power.on && run()) },
      dialer: this.#network.dialer(path, keys, power, resumption),
      chains: { leadsTo: (chain, anchors) => this.#authority.vouchesFor(chain, anchors) },
    };
  }

  #take(message: Message): void {
    const { topic, payload, qos } = message;
    this.#received.push({ topic, payload: payload.slice(), text: utf8Decode(payload), qos });
    if (!matches("devices/+/identity/request", topic) || this.#authority.mood.down) return;
    const id = topic.split("/")[1] ?? "";
    for (const answer of this.#authority.handle(id, payload, WORLD_BEGINS_MS + message.atMs)) {
      this.#time.after(this.#authority.mood.delayMs, () => this.#broker.publish(`devices/${id}/identity/response`, answer, 1));
    }
  }

  async publish(topic: string, payload: string | Uint8Array, { qos = 1 }: { qos?: 0 | 1 | 2 } = {}): Promise<void> {
    this.#broker.publish(topic, typeof payload === "string" ? utf8Encode(payload) : payload, qos);
  }

  async killBroker(): Promise<void> {
    this.#broker.stop("keeps");
  }

  async startBroker(): Promise<void> {
    this.#broker.start();
  }

  async stopAuthority(): Promise<void> {
    this.#authority.mood.down = true;
  }

  async startAuthority(): Promise<void> {
    this.#authority.mood.down = false;
  }

  async revoke(id: string): Promise<void> {
    for (const { serial } of this.#authority.current(id)) this.#authority.revoke(id, serial);
  }

  async shutOut(id: string): Promise<void> {
    this.#authority.shutOut(id);
    this.#access.psks.delete(id);
    this.#broker.kick(id, 0x87);
  }

  /** What `await using` calls. */
  async stop(): Promise<void> {
    for (const power of this.#supplies) power.cut();
    this.#supplies.clear();
  }

  /** The last messages, for a report. */
  get story(): string {
    return lastOf(this.#received.map(({ topic, text }) => `${topic} ${text}`));
  }
}

disposeBy(VirtualTestWorld.prototype, function () {
  return this.stop();
});

/** A client that breaks the protocol is a bug of the SDK: the test fails. */
function observer(errors: unknown[]): BrokerObserver {
  const nothing = (): void => undefined;
  return {
    accepted: nothing,
    granted: nothing,
    silent: nothing,
    arrived: nothing,
    heard: nothing,
    refused: nothing,
    hungUp: nothing,
    taken: nothing,
    gaveUp: nothing,
    sessionLost: nothing,
    misbehaved: (clientId, what) => void errors.push(new Error(`${clientId} broke the protocol: ${what}`)),
  };
}
