/** The client, and a device on it, against a real RabbitMQ 3.10: 3.1.1 only, QoS 1 at most, and a closed connection where others say no. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestRabbitmq } from "../../test/support/brokers/test-rabbitmq.js";
import { NodeDialer } from "../../sim/node/node-dialer.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import { EXPIRED, TestCa } from "../../test/support/node/test-pki.js";
import { Device } from "../device/device.js";
import type { DeviceEvent } from "../events.js";
import { installIdentity } from "../identity/store.js";
import type { MqttClient, MqttOptions } from "./index.js";
import { testPromises } from "../../test/support/mqtt/test-broker-promises.js";
import { LossyDial } from "../../test/support/mqtt/test-lossy-dial.js";
import {
  dialWith,
  end,
  makeClient,
  next,
  nextTexts,
  plainDial,
  subscribed,
  vanish,
  type Dial,
} from "../../test/support/mqtt/test-clients.js";

const room = mkdtempSync(join(tmpdir(), "hawser-rabbitmq-"));
const keys = memoryKeyStore();
const login = { username: "gateway", password: "secret" };
const tcp = plainDial(() => broker.mqttPort);
let ca: TestCa;
let stranger: TestCa;
let broker: TestRabbitmq;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  stranger = await TestCa.create("Stranger");
  keys.generate("key-a");
  const users = [
    { name: "gateway", password: "secret", mayWrite: String.raw`^(test|devices)\.`, mayRead: String.raw`^(test|devices)\.` },
    ...["dev1", "dev2", "dev3"].map((name) => ({
      name,
      mayWrite: String.raw`^devices\.{username}\.(up|identity)\.`,
      mayRead: String.raw`^devices\.{username}\.(down|identity)\.`,
    })),
  ];
  const { chainPem, keyPem } = await ca.server(["127.0.0.1"]);
  broker = await TestRabbitmq.start(room, { users, caPem: ca.caPem, chainPem, keyPem });
});

const clients: MqttClient[] = [];
const devices: Device[] = [];

afterEach(async () => {
  await Promise.all([...clients.splice(0).map((client) => client.disconnect()), ...devices.splice(0).map((device) => device.stop())]);
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

function offline(options: Partial<MqttOptions> = {}): MqttClient {
  const client = makeClient({ protocolVersion: 4, ...login, ...options });
  clients.push(client);
  return client;
}

async function online(options: Partial<MqttOptions> = {}, dial: Dial = tcp): Promise<MqttClient> {
  const client = offline(options);
  await client.connect(dial);
  return client;
}

const connect = (client: MqttClient, dial: Dial = tcp): Promise<unknown> =>
  client.connect(dial).catch((error: { failure: unknown }) => error.failure);

describe("the client over TCP", () => {
  testPromises({ dial: tcp, protocolVersion: 4, maximumQoS: 1, login });

  test("a QoS 2 message is taken over with PUBACK, and comes at QoS 1 to a subscription that was granted no more", async () => {
    const client = await online();
    const subscription = await subscribed(client, "test/lowered", { qos: 2 });
    expect(await subscription.granted).toBe(1);
    const sent = Array.from({ length: 50 }, (_, n) => client.publish("test/lowered", `${n}`, { qos: 2 }));
    expect((await Promise.all(sent)).every(({ reasonCode }) => reasonCode === 0)).toBe(true);
    const first = await next(subscription);
    expect([first.text(), first.qos]).toEqual(["0", 1]);
    expect(await nextTexts(subscription, 49)).toEqual(sent.slice(1).map((_, n) => `${n + 1}`));
    expect([client.pending.messages, client.connected]).toEqual([0, true]);
  });

  test("a message lost on its way comes on the next connection, although under the identifier of one that the application still has", async () => {
    const lossy = new LossyDial(tcp, 4);
    const client = offline({ cleanStart: false });
    await client.connect(lossy.dial);
    const subscription = await subscribed(client, "test/repeated", { qos: 1, manualAck: true });
    const sender = await online();
    for (const text of ["first", "held"]) await sender.publish("test/repeated", text, { qos: 1 });
    (await next(subscription)).ack();
    const held = await next(subscription);
    lossy.toClient = ["publish"];
    await sender.publish("test/repeated", "lost", { qos: 1 });
    await lossy.lostOf("publish", 1);
    await vanish(client);
    lossy.toClient = [];
    await client.connect(lossy.dial);
    held.ack();
    expect(await nextTexts(subscription, 2)).toEqual(["held", "lost"]);
  });

  test("a dot is a slash to this broker", async () => {
    const client = await online();
    const subscription = await subscribed(client, "test/dotted/name", { qos: 1 });
    await client.publish("test/dotted.name", "x", { qos: 1 });
    expect((await next(subscription)).topic).toBe("test/dotted/name");
  });

  test.each([
    ["a wrong password", { password: "wrong" }],
    ["an unknown name", { username: "nobody" }],
  ])("%s is refused as such", async (_, options) => {
    expect(await connect(offline(options))).toMatchObject({ code: "BAD_USERNAME_OR_PASSWORD", class: "credential", reasonCode: 4 });
  });

  test("protocol version 5 is answered by a closed connection and no word", async () => {
    expect(await connect(offline({ protocolVersion: 5 }))).toMatchObject({ code: "CONNECTION_CLOSED", class: "network" });
  });

  test("a topic that is not allowed costs the connection, without a reason", async () => {
    const silence = { code: "CONNECTION_CLOSED", class: "network" };
    const reader = await online();
    const deaf = end(reader);
    reader.subscribe("forbidden/read", { qos: 1 });
    expect(await deaf).toMatchObject(silence);
    for (const qos of [0, 1] as const) {
      const writer = await online();
      const cut = end(writer);
      void writer.publish("forbidden/write", "x", { qos }).catch(() => undefined);
      expect(await cut).toMatchObject(silence);
      // What was never acknowledged is kept, and asks for the same answer again.
      expect(writer.pending.messages).toBe(qos);
    }
  });
});

/** A connection over mutual TLS; the user's name is the certificate's. */
function mtls(chain: readonly Uint8Array[], maxTlsVersion: "TLSv1.2" | "TLSv1.3", trustAnchors = ca.trustAnchors): Dial {
  return dialWith(new NodeDialer(keys, { maxTlsVersion }), () => broker.mtlsPort, { kind: "mtls", slot: "key-a", chain, trustAnchors });
}

describe.each(["TLSv1.3", "TLSv1.2"] as const)("the client over mutual TLS, %s", (version) => {
  // No login but the certificate.
  const bare = (): MqttClient => {
    const client = makeClient({ protocolVersion: 4 });
    clients.push(client);
    return client;
  };

  test("signs in by its certificate's common name, which decides what it may do", async () => {
    const client = bare();
    await client.connect(mtls(await ca.clientChain(keys.publicKey("key-a"), "dev1"), version));
    const uplink = await subscribed(await online(), "devices/dev1/up/x", { qos: 1 });
    await client.publish("devices/dev1/up/x", "own", { qos: 1 });
    expect((await next(uplink)).text()).toBe("own");
    const ended = end(client);
    void client.publish("devices/dev2/up/x", "another's", { qos: 1 }).catch(() => undefined);
    expect(await ended).toMatchObject({ code: "CONNECTION_CLOSED" });
  });

  test("a certificate of an unknown CA, an expired one and an unknown name are refused, each in its own way", async () => {
    const publicKey = keys.publicKey("key-a");
    const refusal = (chain: readonly Uint8Array[]): Promise<unknown> => connect(bare(), mtls(chain, version));
    // In the handshake of TLS 1.2 anybody on the way can send an alert: it is a fault of the network there.
    const told = (code: string): object =>
      version === "TLSv1.2" ? { code: "TLS_FAILED", class: "network" } : { code, class: "credential" };
    expect(await refusal(await stranger.clientChain(publicKey, "dev1"))).toMatchObject({ ...told("CERTIFICATE_CA_UNKNOWN"), alert: 48 });
    expect(await refusal(await ca.clientChain(publicKey, "dev1", EXPIRED))).toMatchObject({ ...told("CERTIFICATE_EXPIRED"), alert: 45 });
    expect(await refusal(await ca.clientChain(publicKey, "nobody"))).toMatchObject({ class: "credential", reasonCode: 4 });
  });

  test("a broker of an unknown CA is refused by this side", async () => {
    const chain = await ca.clientChain(keys.publicKey("key-a"), "dev1");
    expect(await connect(bare(), mtls(chain, version, stranger.trustAnchors))).toMatchObject({
      code: "SERVER_CA_UNKNOWN",
      class: "server-trust",
    });
  });
});

async function makeDevice(id: string, protocolVersion: 4 | "auto" = 4): Promise<Device> {
  const storage = memoryStorage();
  const chain = await ca.clientChain(keys.publicKey("key-a"), id);
  installIdentity(storage, keys, { id, role: "sensor", chain, trustAnchors: ca.trustAnchors });
  const backoff = { baseMs: 20, capMs: 200, floorMs: 10 };
  const device = new Device(
    { broker: { host: "127.0.0.1", port: broker.mtlsPort }, protocolVersion, backoff },
    nodePlatform({ keyStore: keys, storage }),
  );
  devices.push(device);
  return device;
}

/** The next event of this kind. */
function eventOf<T extends DeviceEvent["type"]>(device: Device, type: T): Promise<Extract<DeviceEvent, { type: T }>> {
  return new Promise((resolve) => {
    const forget = device.listen((event) => {
      if (event.type !== type) return;
      forget();
      resolve(event as Extract<DeviceEvent, { type: T }>);
    });
  });
}

describe("a device over mutual TLS", () => {
  test("talks both ways, and gets what came while it was away", async () => {
    const device = await makeDevice("dev1");
    const commands = device.subscribe("down/#", { qos: 1 });
    const backend = await online();
    const reports = await subscribed(backend, "devices/dev1/up/#", { qos: 1 });
    const connected = eventOf(device, "connected");
    device.start();
    expect(await connected).toMatchObject({ credential: "mtls", protocolVersion: 4, tlsVersion: "TLSv1.3" });
    await commands.granted;
    await device.publish("up/temperature", "21", { qos: 1 });
    expect((await next(reports)).text()).toBe("21");
    await backend.publish("devices/dev1/down/led", "on", { qos: 1 });
    expect((await next(commands)).text()).toBe("on");
    // Asking for the next acknowledges the last.
    const second = next(commands);
    await device.stop();
    await backend.publish("devices/dev1/down/led", "off", { qos: 1 });
    const again = eventOf(device, "connected");
    device.start();
    expect(await again).toMatchObject({ sessionPresent: true });
    expect((await second).text()).toBe("off");
  });

  test("left to choose its version, comes online although the broker answers 5.0 with a closed connection", async () => {
    const device = await makeDevice("dev1", "auto");
    const connected = eventOf(device, "connected");
    device.start();
    expect(await connected).toMatchObject({ protocolVersion: 4 });
  });

  test("a denied message makes no storm: each connection that ends at once counts as a failure", async () => {
    const device = await makeDevice("dev2");
    const attempts: number[] = [];
    const enough = new Promise<void>((resolve) => {
      device.listen((event) => event.type === "retrying" && attempts.push(event.attempt) === 5 && resolve());
    });
    device.start();
    void device.publish("forbidden/x", "1", { qos: 1 }).catch(() => undefined);
    await enough;
    expect(attempts).toEqual([1, 2, 3, 4, 5]);
    expect(device.status).toMatchObject({ credential: "mtls", lastFailure: { code: "CONNECTION_CLOSED", class: "network" } });
  });

  test("a broker that was killed finds its clients again, and nothing acknowledged is lost", async () => {
    const device = await makeDevice("dev3");
    const commands = device.subscribe("down/#", { qos: 1 });
    const backend = await online({ cleanStart: false });
    const reports = await subscribed(backend, "devices/dev3/up/#", { qos: 1 });
    device.start();
    await commands.granted;
    await device.stop();
    await backend.publish("devices/dev3/down/led", "kept by the broker", { qos: 1 });
    device.start();
    await eventOf(device, "connected");
    const ended = end(backend);
    const lost = eventOf(device, "disconnected");
    await broker.kill();
    expect(["CONNECTION_CLOSED", "CONNECTION_RESET"]).toContain((await ended).code);
    expect(await lost).toMatchObject({ class: "network", wasConnected: true });
    const report = device.publish("up/report", "kept by the device", { qos: 1 });
    const back = eventOf(device, "connected");
    await broker.restart();
    expect(await back).toMatchObject({ sessionPresent: true });
    await report;
    expect(await backend.connect(tcp)).toMatchObject({ sessionPresent: true });
    expect((await next(reports)).text()).toBe("kept by the device");
    expect((await next(commands)).text()).toBe("kept by the broker");
  });
});
