import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import mqtt from "mqtt";
import type { MqttClient } from "mqtt";
import { enrolmentMessage, readAnswer } from "../../sdk/identity/enrolment.js";
import type { BrokerMaterial } from "../../sim/brokers/broker-events.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { EmbeddedBroker } from "../../sim/brokers/embedded-broker.js";
import { TestAuthority } from "../../test/support/brokers/test-certificates.js";
import type { TestIdentity } from "../../test/support/brokers/test-certificates.js";
import { FaultProxy } from "../../sim/proxy/fault-proxy.js";
import { EnrolmentAuthority } from "./enrolment-authority.js";
import type { EnrolmentCa } from "./enrolment-authority.js";
import { RateLimiter } from "./rate-limiter.js";
import { AuthorityService } from "./service.js";
import type { ServiceEvent, ServiceIdentity } from "./service.js";

const requestId = "0123456789abcdef0123456789abcdef";
const CHAIN = [Uint8Array.of(0x30, 1), Uint8Array.of(0x30, 2)];
const keyStore = memoryKeyStore();
keyStore.generate("key-a");
const holder = { keySlot: "key-a", certificate: { publicKey: keyStore.publicKey("key-a") } };
const REPORT = new TextDecoder().decode(enrolmentMessage({ type: "active", serial: "4f" }, keyStore, holder));
const REQUEST = JSON.stringify({ v: 1, type: "enrol", requestId, csr: Buffer.from([0x30, 0]).toString("base64") });

const CA: EnrolmentCa = {
  issueFromCsr: async () => ({ chain: CHAIN, serial: "4f", repeated: false }),
  retireOlder: async () => ["3a"],
  recordObjection: async () => "3a",
  identityBasesOf: async () => ["devices/{id}/identity"],
};

/** A broker that lets everybody do everything but read what is not granted to `mute`. */
class Site {
  readonly events: ServiceEvent[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #clients: MqttClient[] = [];
  readonly #services: AuthorityService[] = [];
  #broker: EmbeddedBroker | undefined;
  port = 0;
  mute = false;
  issued = 0;
  beforeIssuing = (): void => undefined;
  /** How long a certificate of the service is to be shown, milliseconds. */
  showForMs = 3_600_000;

  private constructor(
    readonly authority: TestAuthority,
    private readonly server: TestIdentity,
  ) {}

  static async create(): Promise<Site> {
    const authority = await TestAuthority.create();
    const site = new Site(authority, await authority.issue("localhost", "server"));
    await site.startBroker();
    return site;
  }

  async startBroker(): Promise<void> {
    const { chainPem, keyPem } = this.server;
    const material: BrokerMaterial = {
      chainPem,
      keyPem,
      trustAnchorPem: this.authority.trustAnchorPem,
      crlPem: await this.authority.crlPem(),
      pskFor: () => undefined,
      maySignIn: () => true,
      authorize: (_who, action) => !(this.mute && action === "subscribe"),
    };
    const persistence = this.#broker === undefined ? {} : { persistence: this.#broker.persistence };
    this.#broker = new EmbeddedBroker({ material, mtlsPort: this.port, pskPort: 0, ...persistence });
    this.port = (await this.#broker.start()).mtlsPort;
  }

  readonly #ca: EnrolmentCa = {
    ...CA,
    issueFromCsr: (...request) => {
      this.beforeIssuing();
      return CA.issueFromCsr(...request);
    },
  };

  async killBroker(): Promise<void> {
    await this.#broker?.kill();
  }

  async service(trustAnchorPem = this.authority.trustAnchorPem, port = this.port): Promise<AuthorityService> {
    const issueOwn = async (): Promise<ServiceIdentity> => {
      this.issued += 1;
      return { name: "authority", ...(await this.authority.issue("authority")), trustAnchorPem, renewAtMs: Date.now() + this.showForMs };
    };
    const service = new AuthorityService({
      endpoint: { host: "localhost", port },
      authority: new EnrolmentAuthority(this.#ca, new RateLimiter({ perHour: 0, burst: 0 }, () => 0)),
      identity: await issueOwn(),
      issueOwn,
      onEvent: (event) => {
        this.events.push(event);
        for (const look of [...this.#waiting]) look();
      },
    });
    this.#services.push(service);
    return service;
  }

  /** A device that hears its answers; connected and subscribed. */
  async device(
    id: string,
  ): Promise<{ ask: (payload: string) => Promise<unknown>; leave: (payload: string) => Promise<unknown>; answer: Promise<Buffer> }> {
    const { chainPem, keyPem } = await this.authority.issue(id);
    const client = mqtt.connect({
      protocol: "mqtts",
      host: "localhost",
      port: this.port,
      cert: chainPem,
      key: keyPem,
      ca: this.authority.trustAnchorPem,
      clientId: id,
      protocolVersion: 4,
      reconnectPeriod: 50,
    });
    client.on("error", () => undefined);
    this.#clients.push(client);
    const answer = new Promise<Buffer>((resolve) => client.once("message", (_topic, payload) => resolve(payload)));
    await client.subscribeAsync(`devices/${id}/identity/response`, { qos: 1 });
    const publish = (payload: string, retain: boolean): Promise<unknown> =>
      client.publishAsync(`devices/${id}/identity/request`, payload, { qos: 1, retain });
    return { ask: (payload) => publish(payload, false), leave: (payload) => publish(payload, true), answer };
  }

  /** The event called `name` with the given number, counted from 1, past or to come. */
  hears<Name extends ServiceEvent["event"]>(name: Name, number = 1): Promise<Extract<ServiceEvent, { event: Name }>> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.events.filter((event): event is Extract<ServiceEvent, { event: Name }> => event.event === name)[number - 1];
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#services.map((service) => service.stop()));
    for (const client of this.#clients) client.end(true);
    await this.#broker?.stop();
  }
}

let site: Site;

beforeEach(async () => {
  site = await Site.create();
});
afterEach(() => site.close());

describe("AuthorityService", () => {
  test("answers requests and takes reports over mutual TLS", async () => {
    (await site.service()).start();
    await site.hears("connected");
    const device = await site.device("sensor-1");
    await device.ask(REQUEST);
    expect(readAnswer(await device.answer)).toEqual({ requestId, chain: CHAIN });
    await device.ask(REPORT);
    expect(await site.hears("active")).toEqual({ event: "active", id: "sensor-1", serial: "4f", retired: ["3a"] });
  });

  test("survives what is no request, and goes on with the next", async () => {
    (await site.service()).start();
    await site.hears("connected");
    const device = await site.device("sensor-1");
    await device.ask("\u0000 nonsense");
    expect(await site.hears("ignored")).toMatchObject({ id: "sensor-1" });
    await device.ask(REQUEST);
    expect(readAnswer(await device.answer)).toMatchObject({ requestId });
  });

  test("puts off a request that came while it was away, takes such a report, and serves what comes then", async () => {
    const early = await site.service();
    early.start();
    await site.hears("connected");
    await early.stop();
    const device = await site.device("sensor-1");
    await device.ask(REQUEST);
    await device.ask(REPORT);
    (await site.service()).start();
    expect(await site.hears("connected", 2)).toMatchObject({ resumedSession: true });
    expect(readAnswer(await device.answer)).toMatchObject({ requestId, error: { code: "TRY_LATER", retryAfterSeconds: 1 } });
    expect(await site.hears("active")).toMatchObject({ id: "sensor-1", retired: ["3a"] });
    await expect.poll(async () => (await device.ask(REQUEST), site.events.some(({ event }) => event === "issued"))).toBe(true);
  });

  test("does not serve a retained request, now or later", async () => {
    const device = await site.device("sensor-1");
    await device.leave(REQUEST);
    (await site.service()).start();
    expect(await site.hears("ignored")).toMatchObject({ id: "sensor-1", reason: expect.stringContaining("retained") });
    expect(site.events.some(({ event }) => event === "issued")).toBe(false);
  });

  test("answers a device at once while another sends thousands of requests", async () => {
    (await site.service()).start();
    await site.hears("connected");
    const noisy = await site.device("sensor-1");
    const quiet = await site.device("sensor-2");
    const flood = Promise.all(Array.from({ length: 3_000 }, () => noisy.ask(REQUEST)));
    await site.hears("throttled");
    await quiet.ask(REQUEST);
    expect(readAnswer(await quiet.answer)).toEqual({ requestId, chain: CHAIN });
    expect(site.events.filter((event) => event.event === "issued" && event.id === "sensor-1").length).toBeLessThanOrEqual(25);
    await flood;
    expect(site.events.filter(({ event }) => event === "throttled")).toHaveLength(1);
  });

  test("comes back when the broker does, with another certificate when its own is due", async () => {
    site.showForMs = 0;
    (await site.service()).start();
    await site.hears("connected");
    const before = site.issued;
    await site.killBroker();
    expect(await site.hears("disconnected")).toMatchObject({ wasConnected: true, failure: { class: "network" } });
    const { delayMs } = await site.hears("retrying");
    expect(delayMs).toBeGreaterThanOrEqual(200);
    await site.startBroker();
    await site.hears("connected", 2);
    expect(site.issued).toBeGreaterThan(before);
    const device = await site.device("sensor-1");
    await device.ask(REQUEST);
    expect(readAnswer(await device.answer)).toMatchObject({ requestId });
  });

  test("keeps its certificate as long as that is not due", async () => {
    (await site.service()).start();
    await site.hears("connected");
    await site.killBroker();
    await site.startBroker();
    await site.hears("connected", 2);
    expect(site.issued).toBe(1);
  });

  test("says when the broker is not the one it trusts", async () => {
    const { trustAnchorPem } = await TestAuthority.create("Another");
    (await site.service(trustAnchorPem)).start();
    expect(await site.hears("disconnected")).toMatchObject({
      wasConnected: false,
      failure: { class: "server-trust", code: "SERVER_CA_UNKNOWN" },
    });
  });

  test("says when the broker does not let it read requests", async () => {
    site.mute = true;
    (await site.service()).start();
    expect(await site.hears("disconnected")).toMatchObject({ failure: { code: "NOT_AUTHORIZED" } });
  });

  test("stops while it waits for a broker that is not there", async () => {
    await site.killBroker();
    const service = await site.service();
    service.start();
    expect(await site.hears("disconnected")).toMatchObject({ failure: { code: "CONNECTION_REFUSED" } });
    await service.stop();
    expect(site.events.at(-1)?.event).toBe("retrying");
  });

  test("stops though the broker never acknowledges its last answer", async () => {
    const device = await site.device("sensor-1");
    const proxy = new FaultProxy({
      name: "to the broker",
      listen: { host: "localhost", port: 0 },
      upstream: { host: "localhost", port: site.port },
    });
    await proxy.start();
    onTestFinished(() => proxy.stop());
    const service = await site.service(site.authority.trustAnchorPem, proxy.port);
    service.start();
    await site.hears("connected");
    site.beforeIssuing = () => proxy.set({ name: "hole", type: "timeout", stream: "downstream", toxicity: 1, attributes: {} });
    await device.ask(REQUEST);
    await device.answer;
    await service.stop();
    expect(site.events.map(({ event }) => event)).not.toContain("retrying");
  });
});
