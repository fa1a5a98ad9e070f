/**
 * A device whose identity comes from a double of AWS Fleet Provisioning, over real mosquitto: the first certificate by a claim, and those
 * that replace it over the device's own connection. The CA that issues is none that the device knows.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { Device } from "../../../sdk/device/device.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { Enrolment } from "../../../sdk/identity/enrolment-port.js";
import type { Subscription } from "../../../sdk/mqtt/contract/incoming-messages.js";
import type { RequestingClient } from "../../../sdk/mqtt/requester.js";
import { IdentityStore } from "../../../sdk/identity/store.js";
import { FleetDouble } from "../../../test/support/brokers/fleet-double.js";
import { OpensslCa } from "../../../test/support/node/est-server.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../../test/support/node/test-mosquitto.js";
import { memoryKeyStore, memoryStorage } from "../memory-stores.js";
import { nodePlatform } from "../node-platform.js";
import { MqttClient } from "../url-client.js";
import { fleetEnrolment, provisionByClaim, type FleetProvisioning } from "./fleet-enrolment.js";
import { FleetExchange } from "./fleet-exchange.js";

const ID = "meter-7";
const METERS = { template: "meters", parameters: { SerialNumber: ID } };
const room = mkdtempSync(join(tmpdir(), "hawser-fleet-"));
let ca: OpensslCa;
let claim: { cert: string; key: string };
let broker: TestMosquitto;
let port: number;
let aws: FleetDouble;

beforeAll(async () => {
  ca = new OpensslCa(join(room, "ca"));
  ca.another("amazon", "amazon-issuing");
  ca.another("stranger", "stranger-issuing");
  const server = await ca.server();
  claim = await client("claim");
  port = await freePort();
  const files = {
    "ca.pem": ca.pem("root") + ca.pem("amazon") + ca.pem("amazon-issuing"),
    "server.pem": server.cert,
    "server.key": server.key,
  };
  broker = await startMosquitto(room, "broker", files, [...mtlsListener(port)]);
  aws = new FleetDouble(ca, "amazon-issuing");
  await aws.start(`mqtts://localhost:${port}`, { ca: ca.pem("root"), ...(await client("aws")) });
});
afterAll(async () => {
  await aws.stop();
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});
beforeEach(() => {
  aws.requests.length = 0;
  aws.active.length = 0;
  aws.leaf = {};
  aws.instead = {};
  aws.nowMs = Date.now;
  aws.onSilence = () => undefined;
});

async function client(name: string): Promise<{ cert: string; key: string }> {
  await ca.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", `${name}.key`);
  await ca.openssl("req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-outform", "DER", "-out", `${name}.req`);
  const leaf = await ca.issue(readFileSync(join(ca.directory, `${name}.req`)));
  return { cert: ca.pem(leaf) + ca.pem("issuing"), key: readFileSync(join(ca.directory, `${name}.key`), "utf8") };
}

type Stores = { keyStore: ReturnType<typeof memoryKeyStore>; storage: ReturnType<typeof memoryStorage> };

async function provisioned(given: Partial<FleetProvisioning> = {}): Promise<Stores & { serial: string }> {
  const vault = { keyStore: memoryKeyStore(), storage: memoryStorage() };
  const usual = { broker: { host: "localhost", port }, claim, trustAnchors: [ca.der("root")], id: ID, ...METERS };
  return { ...vault, ...(await provisionByClaim({ ...usual, vault, ...given })) };
}

/** A device that renews, and what it said. */
class Life {
  readonly events: DeviceEvent[] = [];
  readonly device: Device;
  readonly #seen = new Set<() => void>();

  constructor(stores: Stores, enrolment: Enrolment = fleetEnrolment({ ...METERS, device: () => this.device })) {
    const backoff = { baseMs: 50, capMs: 200, floorMs: 20 };
    this.device = new Device({ broker: { host: "localhost", port }, enrolment, backoff }, nodePlatform(stores));
    this.device.listen((event) => {
      this.events.push(event);
      for (const look of this.#seen) look();
    });
    this.device.start();
    onTestFinished(() => this.device.stop());
  }

  has<T extends DeviceEvent["type"]>(type: T): Promise<Extract<DeviceEvent, { type: T }>> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.events.find((event): event is Extract<DeviceEvent, { type: T }> => event.type === type);
        if (found === undefined) return;
        this.#seen.delete(look);
        resolve(found);
      };
      this.#seen.add(look);
      look();
    });
  }

  async renews(): Promise<void> {
    await this.has("connected");
    this.device.renew();
  }
}

describe("A device of AWS Fleet Provisioning", () => {
  it("gets its first certificate by a claim, for its own key, and replaces it over its own connection", async () => {
    const { serial, ...stores } = await provisioned();
    const store = IdentityStore.load(stores.storage, stores.keyStore);
    expect(store.active?.chain).toHaveLength(1);
    expect(aws.requests[0]?.csr?.includes(Buffer.from(stores.keyStore.publicKey("key-a")))).toBe(true);
    expect(aws.requests[1]?.content).toMatchObject({ parameters: { SerialNumber: ID } });
    const life = new Life(stores);
    await life.renews();
    expect(await life.has("renewed")).toMatchObject({ oldSerial: serial });
    expect([aws.steps, aws.active.length]).toEqual([["create", "register", "create", "register"], 2]);
    await life.device.publish("up/x", "by the new one", { qos: 1 });
    expect([stores.keyStore.has("key-a"), stores.keyStore.has("key-b")]).toEqual([false, true]);
  });

  it("keeps what it has where AWS refuses, or hands out what cannot be the device's", async () => {
    const { serial, ...stores } = await provisioned();
    for (const [prepare, code] of [
      [() => (aws.instead.create = "no JSON"), "FLEET_ANSWER_INVALID"],
      [() => (aws.leaf = { lifetimeSeconds: -60 }), "FLEET_ANSWER_INVALID"],
      [() => (aws.leaf = { subject: "/CN=meter-8" }), "WRONG_SUBJECT"],
      [() => aws.templates.delete("meters"), "FLEET_REFUSED"],
    ] as const) {
      prepare();
      const life = new Life(stores);
      await life.renews();
      const { code: told, message } = await life.has("renewal-failed");
      expect(told).toBe(code);
      if (code === "FLEET_REFUSED") expect(message).toContain("(400): ResourceNotFoundException: no such template");
      expect(life.device.status).toMatchObject({ state: "online", serial });
      await life.device.stop();
      aws.instead = {};
      aws.leaf = {};
    }
    aws.templates.set("meters", ["SerialNumber"]);
    const life = new Life(stores);
    expect(await life.has("renewed")).toMatchObject({ oldSerial: serial });
  });

  it("goes back to the certificate that it has where the broker does not accept the new one", async () => {
    const { serial, ...stores } = await provisioned();
    aws.leaf = { issuer: "stranger-issuing" };
    const life = new Life(stores);
    await life.renews();
    expect(await life.has("pending")).not.toMatchObject({ serial });

    expect(await life.has("identity-dropped")).toMatchObject({ code: "CERTIFICATE_CA_UNKNOWN" });
    await life.device.online();
    expect(life.device.status).toMatchObject({ serial });
  });

  it("takes a certificate of an unknown CA only where it came so itself: any other way to certificates still needs a CA that is known", async () => {
    const { serial, ...stores } = await provisioned();
    let life: Life | undefined = undefined;
    const exchange = fleetEnrolment({ ...METERS, device: () => life!.device });
    const another = fleetEnrolment({ ...METERS, device: () => life!.device });
    for (const enrolment of [{ request: exchange.request }, { request: exchange.request, chains: another.chains! }]) {
      life = new Life(stores, enrolment);
      await life.renews();
      expect(await life.has("renewal-failed")).toMatchObject({ code: "UNTRUSTED_CERTIFICATE" });
      expect(life.device.status).toMatchObject({ serial });
      await life.device.stop();
    }
  });
});

describe("The first certificate", () => {
  it.each([
    ["a template that there is not", { template: "pumps" }, "FLEET_REFUSED"],
    ["a parameter that is missing", { parameters: {} }, "FLEET_REFUSED"],
    ["a name of a template that AWS does not have", { template: "a/b" }, "BAD_OPTION"],
    ["no anchors", { trustAnchors: [] }, "BAD_OPTION"],
  ])("is refused for %s", async (_, given, code) => {
    await expect(provisioned(given)).rejects.toMatchObject({ code });
  });

  it("is asked for of no server but one that the anchors vouch for", async () => {
    await expect(provisioned({ trustAnchors: [ca.der("stranger")] })).rejects.toMatchObject({ code: "SERVER_CA_UNKNOWN" });
    expect(aws.steps).toEqual([]);
  });

  it("is there once", async () => {
    const vault = await provisioned();
    await expect(provisioned({ vault })).rejects.toMatchObject({ code: "ALREADY_PROVISIONED" });
  });
});

describe("Requests", () => {
  async function connected(): Promise<MqttClient> {
    const connection = await MqttClient.connect(`mqtts://localhost:${port}`, { ca: ca.pem("root"), ...claim, reconnect: false });
    onTestFinished(() => connection.disconnect());
    return connection;
  }
  const soon = (): number => performance.now() + 60_000;

  it("whose answer was lost have no second certificate issued, until the token is too old", async () => {
    const keyStore = memoryKeyStore();
    keyStore.generate("key-a");
    const exchange = new FleetExchange(METERS);
    const run = async (): Promise<unknown> => exchange.run(await connected(), keyStore.csr("key-a", ID), soon());
    /** AWS has done what was asked, and nobody hears the answer any more. */
    const loses = async (): Promise<void> => {
      const connection = await connected();
      const heard: Subscription[] = [];
      const deaf: RequestingClient = {
        publish: (topic, payload, options) => connection.publish(topic, payload, options),
        subscribe(filter, options) {
          heard.push(connection.subscribe(filter, options));
          return heard.at(-1)!;
        },
      };
      aws.instead.register = "silence";
      aws.onSilence = () => heard.forEach((one) => void one.close());
      await expect(exchange.run(deaf, keyStore.csr("key-a", ID), soon())).rejects.toMatchObject({ code: "FLEET_ANSWER_INVALID" });
      aws.instead = {};
    };
    await loses();
    await run();
    expect(aws.steps).toEqual(["create", "register", "register"]);
    await loses();
    aws.nowMs = () => Date.now() + 3_600_001;
    await expect(run()).rejects.toMatchObject({ code: "FLEET_REFUSED" });
    aws.requests.length = 0;
    await run();
    expect(aws.steps).toEqual(["create", "register"]);
  });

  it("that nobody answers end in time", async () => {
    const keyStore = memoryKeyStore();
    keyStore.generate("key-a");
    aws.instead.create = "silence";
    const late = new FleetExchange(METERS).run(await connected(), keyStore.csr("key-a", ID), performance.now() + 300);
    await expect(late).rejects.toMatchObject({ code: "FLEET_TIMEOUT" });
  });

  it("are never answered with a certificate for another key", async () => {
    const keyStore = memoryKeyStore();
    keyStore.generate("key-a");
    keyStore.generate("key-b");
    const connection = await connected();
    const other = new FleetExchange(METERS);
    const first = await other.run(connection, keyStore.csr("key-b", ID), soon());
    aws.instead.create = JSON.stringify({ certificatePem: pem(first), certificateOwnershipToken: "t" });
    await expect(new FleetExchange(METERS).run(connection, keyStore.csr("key-a", ID), soon())).rejects.toMatchObject({
      code: "KEY_MISMATCH",
    });
  });
});

function pem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
}
