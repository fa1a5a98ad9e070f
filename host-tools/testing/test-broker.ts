/**
 * A real broker for a test: CA, broker on free ports, enrolment authority and an independent subscriber, all gone when the test is over.
 */
import mqtt, { type MqttClient } from "mqtt";
import { disposeBy } from "../../sdk/async-dispose.js";
import type { DeviceConfig } from "../../sdk/device/device.js";
import type { Endpoint, KeyStore, Storage } from "../../sdk/platform.js";
import { FleetStores } from "../../sim/fleet/fleet-client.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import type { LinkKeys } from "../../sim/node/node-key-store.js";
import { provisionFleet } from "../cli/fleet/fleet-identities.js";
import type { ClientRole } from "../policy/roles.js";
import { FleetSite, type SiteEngine } from "../cli/fleet/fleet-site.js";
import { TestDevice, type ProgramOptions } from "./test-device.js";
import { lastOf, notSeen, type ReceivedMessage, type TestPlace, type WaitOptions } from "./test-place.js";

const SUBSCRIBER = "test-subscriber";
/** Room for the connections of one test. */
const DEVICES = 200;
const WITHIN_MS = 10_000;
/** The SDK's defaults are made for fleets and hours; a test has seconds. */
const HASTY: Partial<DeviceConfig> = {
  backoff: { baseMs: 100, capMs: 1_000, stableAfterMs: 1_000 },
  recoveryPatience: { refusals: 2, minimumMs: 300, maximumMs: 500 },
};

/** PEM texts. */
export interface TestCredentials {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

export interface TestBrokerOptions {
  /** `embedded` (the default) needs nothing; `mosquitto` starts the one that is installed. */
  engine?: SiteEngine;
  /** Milliseconds a device's certificate is valid; default 90 days. */
  deviceLifetimeMs?: number;
}

/**
 * Starts a CA, a broker on free ports of loopback and an enrolment authority, in a passing directory. `await using` ends them.
 * @throws HawserError `MOSQUITTO_MISSING`, `MOSQUITTO_FAILED`, `NO_FREE_PORT`
 */
export function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  return TestBroker.open(options);
}

export class TestBroker implements TestPlace {
  /** Ends devices, broker and authority, and removes their directory. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly host = "localhost";
  readonly #received: ReceivedMessage[] = [];
  readonly #devices = new Set<TestDevice>();
  readonly #waiting = new Set<() => void>();
  #subscriber: MqttClient | undefined;
  #made = 0;

  private constructor(private readonly site: FleetSite) {}

  /** @internal see {@link startBroker} */
  static async open({ engine = "embedded", deviceLifetimeMs }: TestBrokerOptions): Promise<TestBroker> {
    const broker = new TestBroker(
      new FleetSite({ engine, devices: DEVICES, ...(deviceLifetimeMs === undefined ? {} : { deviceLifetimeMs }) }),
    );
    try {
      await broker.#open();
      return broker;
    } catch (error) {
      await broker.stop();
      throw error;
    }
  }

  async #open(): Promise<void> {
    await this.site.build();
    const credentials = await this.site.ca.issueClient({ name: SUBSCRIBER, role: "operator" });
    await this.site.startBroker();
    await this.site.startAuthority();
    const { keyPem: key, chainPem: cert, trustAnchorPem: ca } = credentials;
    const client = mqtt.connect({
      protocol: "mqtts",
      host: this.host,
      port: this.mtlsPort,
      key,
      cert,
      ca,
      clientId: SUBSCRIBER,
      protocolVersion: 4,
      clean: false,
      reconnectPeriod: 50,
      reconnectOnConnackError: true,
    });
    this.#subscriber = client;
    client.on("error", () => undefined); // it reconnects
    client.on("message", (topic, payload, { qos }) => {
      this.#received.push({ topic, payload: new Uint8Array(payload), text: payload.toString("utf8"), qos });
      for (const look of [...this.#waiting]) look();
    });
    await client.subscribeAsync("devices/#", { qos: 2 });
  }

  get mtlsPort(): number {
    return this.site.mtlsPort;
  }

  get pskPort(): number {
    return this.site.pskPort;
  }

  /** For `broker` of a `DeviceConfig`. */
  get endpoint(): Endpoint {
    return { host: this.host, port: this.mtlsPort };
  }

  /** For `recovery` of a `DeviceConfig`. */
  get recovery(): Endpoint {
    return { host: this.host, port: this.pskPort };
  }

  /** The directory of the CA behind it; gone with the broker. */
  get caDirectory(): string {
    return this.site.ca.directory;
  }

  /** Credentials for a client of the test that is not a device. An operator reads everything below `devices/`, and sends commands. */
  async issueClient(name: string, role: ClientRole = "operator"): Promise<TestCredentials> {
    const { keyPem, chainPem, trustAnchorPem } = await this.site.ca.issueClient({ name, role });
    await this.site.reload();
    return { keyPem, chainPem, trustAnchorPem };
  }

  get received(): readonly ReceivedMessage[] {
    return this.#received;
  }

  async makeDevice(options: ProgramOptions = {}): Promise<TestDevice> {
    const id = options.id ?? `device-${++this.#made}`;
    const [identity] = await provisionFleet(this.site.ca, [id], options.role ?? "sensor");
    if (identity === undefined) throw new Error(`${id} was not provisioned`);
    await this.site.reload();
    const { keyStore, storage } = new FleetStores(identity);
    return this.#boot({ keyStore, storage }, options);
  }

  #boot(stores: { keyStore: KeyStore & LinkKeys; storage: Storage }, options: ProgramOptions): TestDevice {
    const config = { broker: this.endpoint, recovery: this.recovery, ...HASTY, ...options.config };
    const device = new TestDevice(
      config,
      nodePlatform({ ...stores, keepSessions: options.keepSessions ?? false }),
      this,
      options,
      async (old) => {
        await old.stop();
        this.#devices.delete(old);
        return this.#boot(stores, options);
      },
    );
    this.#devices.add(device);
    device.listen(() => {
      for (const look of [...this.#waiting]) look();
    });
    device.boot();
    return device;
  }

  async publish(topic: string, payload: string | Uint8Array, { qos = 1 }: { qos?: 0 | 1 | 2 } = {}): Promise<void> {
    await this.#subscriber?.publishAsync(topic, typeof payload === "string" ? payload : Buffer.from(payload), { qos });
  }

  until<T>(what: string, condition: () => T | undefined | false, { withinMs = WITHIN_MS }: WaitOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const over = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const timer = setTimeout(() => {
        over();
        reject(notSeen(what, withinMs, this.story));
      }, withinMs);
      const look = (): void => {
        try {
          const found = condition();
          if (found === undefined || found === false) return;
          resolve(found);
        } catch (error) {
          reject(error as Error);
        }
        over();
      };
      this.#waiting.add(look);
      look();
    });
  }

  killBroker(): Promise<void> {
    return this.site.killBroker();
  }

  startBroker(): Promise<void> {
    return this.site.startBroker();
  }

  stopAuthority(): Promise<void> {
    return this.site.stopAuthority();
  }

  startAuthority(): Promise<void> {
    return this.site.startAuthority();
  }

  async revoke(id: string): Promise<void> {
    await this.site.ca.revoke({ id, certificateOnly: true, reason: "keyCompromise" });
    await this.site.reload();
  }

  /** The CA gets another root, which the present one vouches for. Devices take it with their next renewal. */
  async rollOverRoot(): Promise<void> {
    await this.site.ca.rollOverRoot();
    await this.site.reload();
  }

  /** Ends the root before, whoever has not renewed: their certificates are refused from now on. */
  async retireRoot(): Promise<void> {
    await this.site.ca.retirePrevious(true);
    await this.site.reload();
  }

  async shutOut(id: string): Promise<void> {
    await this.site.ca.revoke({ id, reason: "keyCompromise" });
    await this.site.reload();
  }

  /** What `await using` calls. */
  async stop(): Promise<void> {
    const ends = await Promise.allSettled([...[...this.#devices].map((device) => device.stop()), this.#subscriber?.endAsync(true)]);
    await this.site.strike();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  /** The last messages, for a report. */
  get story(): string {
    return lastOf(this.#received.map(({ topic, text }) => `${topic} ${text}`));
  }
}

disposeBy(TestBroker.prototype, function () {
  return this.stop();
});
