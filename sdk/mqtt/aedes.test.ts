/**
 * The client against aedes (3.1.1) as the embedded broker has it, over mutual TLS. Aedes by itself sends messages again without DUP and
 * reports no session that has no subscription; the embedded broker mends that.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { BrokerMaterial } from "../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../sim/brokers/embedded-broker.js";
import { NodeDialer } from "../../sim/node/node-dialer.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import type { MqttClient, MqttOptions } from "./index.js";
import { testPromises } from "../../test/support/mqtt/test-broker-promises.js";
import { dialWith, end, makeClient, next, nextTexts, subscribed } from "../../test/support/mqtt/test-clients.js";

const ca = await TestCa.create("Hawser");
const keys = memoryKeyStore();
keys.generate("key-a");
const chain = await ca.clientChain(keys.publicKey("key-a"), "tester");
const material: BrokerMaterial = {
  ...(await ca.server(["127.0.0.1"])),
  trustAnchorPem: ca.caPem,
  crlPem: await ca.crlPem([]),
  pskFor: () => undefined,
  maySignIn: () => true,
  clientIdAllowed: () => true,
  authorize: (_who, _action, topic) => !topic.startsWith("forbidden"),
};
const dial = dialWith(new NodeDialer(keys), () => port, { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors });
const clients: MqttClient[] = [];
let broker: EmbeddedBroker | undefined;
let port: number;

beforeAll(async () => {
  port = await startBroker(0);
});

/** On a port, or on a free one for 0; with the sessions of the broker before it. */
async function startBroker(onPort: number): Promise<number> {
  const before = broker === undefined ? {} : { persistence: broker.persistence };
  broker = new EmbeddedBroker({ material, host: "127.0.0.1", mtlsPort: onPort, pskPort: 0, ...before });
  return (await broker.start()).mtlsPort;
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.disconnect()));
});

afterAll(() => broker?.stop());

async function online(options: Partial<MqttOptions> = {}): Promise<MqttClient> {
  const client = makeClient({ protocolVersion: 4, ...options });
  clients.push(client);
  await client.connect(dial);
  return client;
}

testPromises({ dial, protocolVersion: 4 });

test("exactly once holds although the broker dies in the middle, and comes back with its disk", async () => {
  const texts = Array.from({ length: 300 }, (_, n) => `${n}`);
  const watcher = await online({ cleanStart: false });
  const subscription = await subscribed(watcher, "flood", { qos: 2 });
  const sender = await online({ cleanStart: false });
  const sent = texts.map((text) => sender.publish("flood", text, { qos: 2 }));
  const received = await nextTexts(subscription, 50);
  const ended = Promise.all([end(watcher), end(sender)]);
  await broker?.kill();
  expect((await ended).map((reason) => reason.class)).toEqual(["network", "network"]);
  await startBroker(port);
  const back = await Promise.all([watcher.connect(dial), sender.connect(dial)]);
  expect(back).toMatchObject([{ sessionPresent: true }, { sessionPresent: true }]);
  await Promise.all(sent);
  received.push(...(await nextTexts(subscription, 250)));
  expect(received).toEqual(texts);
});

test("protocol version 5 is refused as such", async () => {
  await expect(online({ protocolVersion: 5 })).rejects.toMatchObject({ code: "UNSUPPORTED_PROTOCOL_VERSION" });
});

test("what is not allowed is refused where 3.1.1 can say so, and the connection stays", async () => {
  const client = await online();
  const refused: string[] = [];
  client.onSubscriptionRefused = (filter, reasonCode) => refused.push(`${filter} ${reasonCode}`);
  await expect(client.subscribe("forbidden/#", { qos: 1 }).granted).rejects.toMatchObject({ name: "RefusedError", reasonCode: 0x80 });
  const nothing = await subscribed(client, "+/x", { qos: 1 });
  // Acknowledged and dropped: 3.1.1 has no way to refuse a message but to end the connection.
  await client.publish("forbidden/x", "1", { qos: 1 });
  await client.publish("allowed/x", "2", { qos: 1 });
  expect([(await next(nothing)).text(), refused, client.connected]).toEqual(["2", ["forbidden/# 128"], true]);
});
