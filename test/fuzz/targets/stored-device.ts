/** A real device on a virtual network, started from whatever its flash holds, with its own broker and authority. No real time passes. */
import { Device, type DeviceConfig } from "../../../sdk/index.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import { BrokerAccess } from "../../../sim/virtual/broker/access.js";
import type { BrokerObserver } from "../../../sim/virtual/broker/broker-observer.js";
import { DEFAULT_LIMITS } from "../../../sim/virtual/broker/broker-settings.js";
import { VirtualBroker } from "../../../sim/virtual/broker/virtual-broker.js";
import { VirtualNetwork } from "../../../sim/virtual/network/network.js";
import { Path } from "../../../sim/virtual/network/path.js";
import { VirtualAuthority } from "../../../sim/virtual/pki/virtual-authority.js";
import { Flash } from "../../../sim/virtual/power/flash.js";
import { VirtualKeys } from "../../../sim/virtual/power/key-store.js";
import { PowerSupply } from "../../../sim/virtual/power/power-supply.js";
import { SeededRandom } from "../../../sim/virtual/random.js";
import { DeviceClock, WORLD_BEGINS_MS } from "../../../sim/virtual/time/world-clock.js";
import { drainByTurns, VirtualTime } from "../../../sim/virtual/time/virtual-time.js";
import type { Records } from "../storage-records.js";

export const DEVICE_ID = "dev-1";
const HOST = "broker.virtual";
const DAY_MS = 86_400_000;
const PSK = new Uint8Array(32).fill(7);
const FLASH_BYTES = 2_000_000;

/** What one life of the device came to. */
export interface Life {
  device: Device;
  /** Messages that the broker got from the device's application. */
  arrived: string[];
}

export class StoredDevice {
  readonly flash = new Flash(FLASH_BYTES);
  readonly time: VirtualTime;
  /** What came up that nobody handled, and what the device did that MQTT forbids. */
  readonly errors: unknown[] = [];
  readonly authority: VirtualAuthority;
  /** The chains of the keys in slots a and b. */
  readonly chains: readonly Uint8Array[][];
  readonly #keys = new VirtualKeys(DEVICE_ID);
  readonly #network: VirtualNetwork;
  readonly #arrived: string[] = [];
  #power: PowerSupply | undefined;

  constructor() {
    this.time = new VirtualTime(drainByTurns, (error) => this.errors.push(error));
    const trueMs = (): number => WORLD_BEGINS_MS + this.time.nowMs;
    const random = new SeededRandom("stored device");
    this.authority = new VirtualAuthority(trueMs, random, 30 * DAY_MS);
    const access = new BrokerAccess(this.authority, trueMs);
    this.authority.onRevoked = (serial) => access.revoked.add(serial);
    access.psks.set(DEVICE_ID, PSK);
    const certificate = {
      root: this.authority.root,
      names: [HOST],
      notBeforeMs: WORLD_BEGINS_MS - 90 * DAY_MS,
      notAfterMs: WORLD_BEGINS_MS + 5 * 365 * DAY_MS,
    };
    const broker = new VirtualBroker(this.time, access, DEFAULT_LIMITS, this.#observer(), certificate, "TLSv1.3");
    broker.taps.push({
      filter: "devices/+/identity/request",
      take: (_from, { topic, payload }) => {
        const id = topic.split("/")[1] ?? "";
        for (const answer of this.authority.handle(id, payload))
          this.time.after(50, () => broker.publish(`devices/${id}/identity/response`, answer, 1));
      },
    });
    this.#network = new VirtualNetwork(this.time);
    this.#network.listen(HOST, 8883, broker.mtls);
    this.#network.listen(HOST, 8884, broker.psk);
    const keyStore = this.#keys.open(new PowerSupply());
    keyStore.importPsk("psk", PSK);
    this.chains = ["key-a", "key-b"].map((slot) => {
      keyStore.generate(slot);
      return this.authority.chainOf(this.authority.issue(DEVICE_ID, keyStore.publicKey(slot)));
    });
  }

  /** As the factory leaves it. */
  provision(bare: boolean): void {
    const power = new PowerSupply();
    const chain = this.chains[0] ?? [];
    installIdentity(this.flash.open(power), this.#keys.open(power), {
      id: DEVICE_ID,
      role: "sensor",
      pskIdentity: DEVICE_ID,
      trustAnchors: [this.authority.root],
      ...(bare ? {} : { chain }),
    });
  }

  load(records: Records): void {
    const storage = this.flash.open(new PowerSupply());
    for (const [key, value] of records) storage.put(key, value);
  }

  /** Switches the power on, off first where it is on. @throws what `Device` throws at its start */
  boot(): Life {
    this.#power?.cut();
    const power = new PowerSupply();
    this.#power = power;
    this.#arrived.length = 0;
    const clock = new DeviceClock(this.time, 0);
    const path = new Path(this.time, new SeededRandom("path"));
    const device = new Device(CONFIG, {
      clock,
      scheduler: { after: (delayMs, run) => this.time.after(delayMs, () => power.on && run()) },
      random: new SeededRandom("device"),
      dialer: this.#network.dialer(path, this.#keys, power),
      keyStore: this.#keys.open(power),
      chains: { leadsTo: () => true },
      storage: this.flash.open(power),
      log: () => undefined,
    });
    device.start();
    this.time.after(2_000, () => clock.synchronise());
    return { device, arrived: this.#arrived };
  }

  #observer(): BrokerObserver {
    const nothing = (): void => undefined;
    return {
      accepted: nothing,
      granted: nothing,
      silent: nothing,
      arrived: (_client, { topic }) => this.#arrived.push(topic),
      heard: nothing,
      refused: nothing,
      hungUp: () => undefined,
      taken: nothing,
      gaveUp: nothing,
      sessionLost: nothing,
      misbehaved: (_client, what) => this.errors.push(new Error(`the device broke the protocol: ${what}`)),
    };
  }
}

const CONFIG: DeviceConfig = {
  broker: { host: HOST, port: 8883 },
  recovery: { host: HOST, port: 8884 },
  outbox: { persistent: true, maxMessages: 200 },
  buildTimeMs: WORLD_BEGINS_MS - 30 * DAY_MS,
};
