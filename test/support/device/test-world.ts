/** For tests: a provisioned device in memory, with keys and certificates that are real, in time that passes when told to. */
import mqttPacket from "mqtt-packet";
import { memoryKeyStore } from "../../../sim/node/memory-stores.js";
import type { MemoryKeyStore } from "../../../sim/node/memory-stores.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { IdentityStore, installIdentity } from "../../../sdk/identity/store.js";
import { issueFor, type IssueOptions, TEST_ANCHOR } from "./test-issuer.js";
import { ManualTime, settle, testPlatform } from "../mqtt/manual-time.js";
import { MemoryStorage } from "../mqtt/memory-storage.js";
import type { LibraryPacket, PacketLibrary } from "../mqtt/scripted-broker.js";
import type { KeyStore, Log, Platform } from "../../../sdk/platform.js";
import { ScriptedDialer } from "./scripted-dialer.js";

export const DAY_MS = 86_400_000;
export const BROKER = { host: "broker.test", port: 8883 };
export const RECOVERY = { host: "recovery.test", port: 8884 };
export const ID = "sensor-1";

export interface WorldOptions {
  /** False: no certificate yet, only the pre-shared key. */
  certificate?: boolean;
  /** False: no pre-shared key. */
  psk?: boolean;
  /** Of the first certificate; the default is a life of 90 days that begins now. */
  lifetimeMs?: number;
}

export class World {
  /** Calls of the key store that fail, by method. */
  readonly brokenKeyCalls = new Set<keyof KeyStore>();
  /** False: no certificate leads to a trust anchor. */
  trustsIssuer = true;
  readonly dialer: ScriptedDialer;
  readonly events: DeviceEvent[] = [];
  readonly logged: string[] = [];
  readonly platform: Platform;
  readonly keyStore: KeyStore;

  private constructor(
    readonly storage = new MemoryStorage(),
    readonly keys: MemoryKeyStore = memoryKeyStore(),
    readonly time = new ManualTime(),
  ) {
    this.dialer = new ScriptedDialer(mqttPacket as unknown as PacketLibrary, time);
    const log: Log = (level, message) => void this.logged.push(`${level}: ${message}`);
    this.keyStore = breakable(this.keys, this.brokenKeyCalls);
    this.platform = {
      ...testPlatform(this.time),
      dialer: this.dialer,
      storage: this.storage,
      keyStore: this.keyStore,
      chains: { leadsTo: () => this.trustsIssuer },
      log,
    };
  }

  /** A device as it leaves the factory. */
  static async provisioned(options: WorldOptions = {}): Promise<World> {
    const { certificate = true, psk = true, lifetimeMs = 90 * DAY_MS } = options;
    const world = new World();
    if (psk) world.keys.importPsk("psk", new Uint8Array(32));
    if (certificate) world.keys.generate("key-a");
    const chain = certificate ? { chain: [await world.issueFor(world.keys.csr("key-a", ID), lifetimeMs)] } : {};
    installIdentity(world.storage, world.keys, {
      id: ID,
      role: "sensor",
      ...(psk ? { pskIdentity: ID } : {}),
      ...chain,
      trustAnchors: [TEST_ANCHOR],
    });
    return world;
  }

  /** The device loses power and boots again: what is on flash stays, its clock goes on, and the life before never runs again. */
  rebooted(): World {
    const time = new ManualTime();
    time.wallOffsetMs = this.time.wallMs();
    time.isTrusted = this.time.isTrusted;
    return new World(this.storage.afterReboot(), this.keys, time);
  }

  /** What the next boot would find. */
  get stored(): IdentityStore {
    return IdentityStore.load(this.storage.afterReboot(), this.keys);
  }

  get serial(): string | undefined {
    return this.stored.active?.certificate.serial;
  }

  issueFor(csr: Uint8Array, lifetimeMs = 90 * DAY_MS, options: IssueOptions = {}): Promise<Uint8Array> {
    const nowMs = this.time.wallMs();
    return issueFor(csr, { notBefore: new Date(nowMs), notAfter: new Date(nowMs + lifetimeMs), ...options });
  }

  /** Puts a certificate into the free slot, to be proved. @returns its serial */
  async storePending(store: IdentityStore): Promise<string> {
    const slot = store.beginEnrolment();
    return store.storePending([await this.issueFor(this.keys.csr(slot, store.device.id))], this.platform.chains).certificate.serial;
  }

  /** The requests that came to the authority over one connection or all, without the reports. */
  get enrolments(): { requestId: string; csr: string }[] {
    return this.#requests("enrol") as { requestId: string; csr: string }[];
  }

  get reports(): string[] {
    return this.#requests("active").map(({ serial }) => String(serial));
  }

  #requests(type: string): Record<string, unknown>[] {
    const published = this.dialer.peers
      .flatMap((peer) => peer.of("publish"))
      .filter(({ topic }) => topic === `devices/${ID}/identity/request`);
    return published
      .map(({ payload }) => JSON.parse(String(payload)) as Record<string, unknown>)
      .filter((message) => message["type"] === type);
  }

  /** Answers the last request with a certificate, over the connection at hand. */
  async issue(lifetimeMs = 90 * DAY_MS, options: IssueOptions = {}): Promise<void> {
    const request = this.enrolments.at(-1);
    if (!request) throw new Error("nothing was asked for");
    const chain = [await this.issueFor(Buffer.from(request.csr, "base64"), lifetimeMs, options)];
    await this.answer({ requestId: request.requestId, chain: chain.map((der) => Buffer.from(der).toString("base64")) });
  }

  /** The authority says something. */
  async answer(fields: Record<string, unknown>): Promise<void> {
    const packet: LibraryPacket = {
      cmd: "publish",
      topic: `devices/${ID}/identity/response`,
      payload: JSON.stringify({ v: 1, ...fields }),
      qos: 0,
      retain: false,
      dup: false,
    };
    this.dialer.last.send(packet);
    await this.pass(0);
  }

  async pass(durationMs: number): Promise<void> {
    await this.time.pass(durationMs);
    await settle();
  }

  /** The events of one kind. */
  of<T extends DeviceEvent["type"]>(type: T): Extract<DeviceEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<DeviceEvent, { type: T }> => event.type === type);
  }

  /** The kinds of events since the last call. */
  news(): string[] {
    const types = this.events.map(({ type }) => type);
    this.events.length = 0;
    return types;
  }
}

/** A key store whose named calls throw. */
function breakable(keys: KeyStore, broken: ReadonlySet<keyof KeyStore>): KeyStore {
  const guarded =
    <A extends unknown[], R>(name: keyof KeyStore, call: (...given: A) => R) =>
    (...given: A): R => {
      if (broken.has(name)) throw new Error(`the key store fails: ${name}`);
      return call(...given);
    };
  return {
    generate: guarded("generate", (slot: string) => keys.generate(slot)),
    csr: guarded("csr", (slot: string, name: string) => keys.csr(slot, name)),
    sign: guarded("sign", (slot: string, data: Uint8Array) => keys.sign(slot, data)),
    publicKey: guarded("publicKey", (slot: string) => keys.publicKey(slot)),
    mac: guarded("mac", (slot: string, data: Uint8Array) => keys.mac(slot, data)),
    importPsk: guarded("importPsk", (slot: string, key: Uint8Array) => keys.importPsk(slot, key)),
    destroy: guarded("destroy", (slot: string) => keys.destroy(slot)),
    has: guarded("has", (slot: string) => keys.has(slot)),
  };
}
