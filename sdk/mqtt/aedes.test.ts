/**
 * The client against aedes (3.1.1) as the embedded broker has it, over mutual TLS. Aedes by itself sends messages again without DUP and reports no session
 * that has no subscription; the embedded broker mends that.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { BrokerMaterial } from "../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../sim/brokers/embedded.js";
import { NodeDialer } from "../../sim/node/dialer.js";
import { memoryKeyStore } from "../../sim/node/memory.js";
import { TestCa } from "../../sim/node/testing/test-pki.js";
import type { Storage } from "../platform.js";
import type { MqttClient, MqttOptions, QoS } from "./index.js";
import { MemoryStorage } from "./testing/memory-storage.js";
import { dialWith, end, makeClient, next, nextTexts, pinged, subscribed, vanish, type Dial } from "./testing/test-clients.js";
import { LossyDial } from "./testing/test-lossy-dial.js";

const keys = memoryKeyStore();
let material: BrokerMaterial;
let broker: EmbeddedBroker | undefined;
let port: number;
let dial: Dial;
const clients: MqttClient[] = [];

beforeAll(async () => {
  const ca = await TestCa.create("Hawser");
  material = {
    ...(await ca.server(["127.0.0.1"])),
    trustAnchorPem: ca.caPem,
    crlPem: await ca.crlPem([]),
    pskFor: () => undefined,
    maySignIn: () => true,
    clientIdAllowed: () => true,
    authorize: (_who, _action, topic) => !topic.startsWith("forbidden"),
  };
  port = await startBroker(0);
  keys.generate("key-a");
  const chain = await ca.clientChain(keys.publicKey("key-a"), "tester");
  dial = dialWith(new NodeDialer(keys), () => port, { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors });
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

function offline(options: Partial<MqttOptions> = {}, storage?: Storage): MqttClient {
  const client = makeClient({ protocolVersion: 4, ...options }, storage);
  clients.push(client);
  return client;
}

async function online(options: Partial<MqttOptions> = {}, over: Dial = dial): Promise<MqttClient> {
  const client = offline(options);
  await client.connect(over);
  return client;
}

const texts = (count: number): string[] => Array.from({ length: count }, (_, n) => `${n}`);

test.each([0, 1, 2] as const)("messages of QoS %i go out and come back, in order", async (qos) => {
  const client = await online();
  const subscription = await subscribed(client, `flow/${qos}/#`, { qos });
  expect(await subscription.granted).toBe(qos);
  const sent = texts(200).map((text, n) => client.publish(`flow/${qos}/${n % 3}`, text, { qos }));
  expect(await nextTexts(subscription, 200)).toEqual(texts(200));
  await Promise.all(sent);
  expect(client.pending.messages).toBe(0);
});

test("a payload of 150 KB and an empty one come through", async () => {
  const client = await online();
  const subscription = await subscribed(client, "size", { qos: 1 });
  const large = Uint8Array.from({ length: 150_000 }, (_, n) => n * 7);
  await client.publish("size", large, { qos: 1 });
  await client.publish("size", "", { qos: 1 });
  expect(Buffer.compare((await next(subscription)).payload, large)).toBe(0);
  expect((await next(subscription)).payload).toHaveLength(0);
});

test("wildcards reach what they are for, and a message that two of them match comes to both", async () => {
  const client = await online();
  const one = await subscribed(client, "wild/+/end", { qos: 1 });
  const all = await subscribed(client, "wild/a/#", { qos: 1 });
  for (const topic of ["wild/b/c/end", "wild/b/end", "wilder", "wild/a", "wild/a/end"]) await client.publish(topic, topic, { qos: 1 });
  expect([await nextTexts(one, 2), await nextTexts(all, 2)]).toEqual([["wild/b/end", "wild/a/end"], ["wild/a", "wild/a/end"]]);
});

test("unsubscribed, nothing comes any more", async () => {
  const client = await online();
  const gone = await subscribed(client, "gone", { qos: 1 });
  const stays = await subscribed(client, "stays", { qos: 1 });
  await gone.close();
  const dropped: string[] = [];
  client.onMessageDropped = (topic) => dropped.push(topic);
  for (const topic of ["gone", "stays"]) await client.publish(topic, "x", { qos: 1 });
  await next(stays);
  expect(dropped).toEqual([]);
});

test("a retained message comes to a later subscription, and is gone once it is emptied", async () => {
  const client = await online();
  await client.publish("kept/a", "kept", { qos: 1, retain: true });
  const message = await next(await subscribed(client, "kept/#", { qos: 1 }));
  expect([message.text(), message.retain]).toEqual(["kept", true]);
  await client.publish("kept/a", "", { qos: 1, retain: true });
  const later = await online();
  const nothing = await subscribed(later, "kept/+", { qos: 1 });
  await later.publish("kept/b", "fresh", { qos: 1 });
  expect((await next(nothing)).text()).toBe("fresh");
});

test("the will is published when the client vanishes, and not after a DISCONNECT", async () => {
  const wills = await subscribed(await online(), "will/+", { qos: 2 });
  const orderly = await online({ will: { topic: "will/orderly", payload: "no", qos: 1 } });
  await orderly.disconnect();
  await vanish(await online({ will: { topic: "will/vanished", payload: "gone", qos: 2, retain: true } }));
  const will = await next(wills);
  expect([will.text(), will.qos]).toEqual(["gone", 2]);
  const late = await next(await subscribed(await online(), "will/vanished"));
  expect([late.text(), late.retain]).toEqual(["gone", true]);
});

test("a session is resumed: what was not acknowledged comes again, then what came meanwhile and what waited here", async () => {
  const client = await online({ cleanStart: false });
  const sender = await online();
  const subscription = await subscribed(client, "resume", { qos: 2, manualAck: true });
  await sender.publish("resume", "before", { qos: 2 });
  const before = await next(subscription);
  await vanish(client);
  await sender.publish("resume", "meanwhile", { qos: 2 });
  const late = client.publish("resume", "from the outbox", { qos: 2 });
  expect(await client.connect(dial)).toMatchObject({ sessionPresent: true });
  await late;
  before.ack();
  const received = [];
  for (let n = 0; n < 2; n++) {
    const message = await next(subscription);
    received.push(message.text());
    message.ack();
  }
  expect([before.text(), ...received]).toEqual(["before", "meanwhile", "from the outbox"]);
  expect(subscription.buffered).toBe(0);
});

test("a clean start forgets the session, and subscriptions are made again", async () => {
  const client = await online({ cleanStart: false });
  const subscription = await subscribed(client, "forget", { qos: 1 });
  await client.disconnect();
  await (await online()).publish("forget", "lost", { qos: 1 });
  client.configure({ cleanStart: true });
  expect(await client.connect(dial)).toMatchObject({ sessionPresent: false });
  expect(await client.confirm("forget")).toBe(1);
  await client.publish("forget", "new", { qos: 1 });
  expect((await next(subscription)).text()).toBe("new");
});

test("offline, messages wait in the outbox and go out in their order", async () => {
  const received = await subscribed(await online(), "outbox", { qos: 2 });
  const client = offline();
  await expect(client.publish("outbox", "x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
  const sent = texts(50).map((text) => client.publish("outbox", text, { qos: 1 }));
  expect(client.pending.messages).toBe(50);
  await client.connect(dial);
  await Promise.all(sent);
  expect(await nextTexts(received, 50)).toEqual(texts(50));
});

test.each([1, 2] as const)("no more of QoS %i is in flight than the window; unanswered, it goes again with DUP and before the rest", async (qos) => {
  const received = await subscribed(await online(), `window/${qos}`, { qos: 2 });
  const lossy = new LossyDial(dial);
  const client = await online({ cleanStart: false, inFlightWindow: 3 }, lossy.dial);
  lossy.toClient = ["puback", "pubrec"];
  const sent = texts(10).map((text) => client.publish(`window/${qos}`, text, { qos }));
  expect(await nextTexts(received, 3)).toEqual(["0", "1", "2"]);
  expect([client.pending.inFlight, lossy.sent.filter(({ cmd }) => cmd === "publish").length]).toEqual([3, 3]);
  await vanish(client);
  lossy.toClient = [];
  await client.connect(lossy.dial);
  await Promise.all(sent);
  const published = lossy.sent.filter(({ cmd }) => cmd === "publish").map(({ payload, dup }) => `${String(payload)}${dup === true ? " again" : ""}`);
  expect(published).toEqual(["0", "1", "2", "0 again", "1 again", "2 again", ...texts(10).slice(3)]);
  // At least once, and exactly once.
  expect(await nextTexts(received, qos === 1 ? 10 : 7)).toEqual([...(qos === 1 ? ["0", "1", "2"] : []), ...texts(10).slice(3)]);
});

test("a PUBCOMP that is lost is asked for by PUBREL alone", async () => {
  const received = await subscribed(await online(), "pubcomp", { qos: 2 });
  const lossy = new LossyDial(dial);
  const client = await online({ cleanStart: false }, lossy.dial);
  lossy.toClient = ["pubcomp"];
  const sent = client.publish("pubcomp", "once", { qos: 2 });
  await lossy.sentOf("pubrel", 1);
  await vanish(client);
  lossy.toClient = [];
  await client.connect(lossy.dial);
  await sent;
  expect(lossy.sent.filter(({ cmd }) => /pub/.test(cmd)).map(({ cmd }) => cmd)).toEqual(["publish", "pubrel", "pubrel"]);
  await client.publish("pubcomp", "the next", { qos: 2 });
  expect(await nextTexts(received, 2)).toEqual(["once", "the next"]);
});

test.each<[QoS, string, string[]]>([
  [1, "puback", ["first", "first", "second"]],
  [2, "pubrec", ["first", "second"]],
  [2, "pubcomp", ["first", "second"]],
])("a message of QoS %i whose %s is lost comes again, and is delivered as promised", async (qos, lost, delivered) => {
  const lossy = new LossyDial(dial);
  const client = await online({ cleanStart: false }, lossy.dial);
  const topic = `repeat/${qos}/${lost}`;
  const subscription = await subscribed(client, topic, { qos });
  const sender = await online();
  lossy.toBroker = [lost];
  await sender.publish(topic, "first", { qos });
  const received = nextTexts(subscription, delivered.length);
  await lossy.sentOf(lost, 1);
  await vanish(client);
  lossy.toBroker = [];
  await sender.publish(topic, "second", { qos });
  expect(await client.connect(lossy.dial)).toMatchObject({ sessionPresent: true });
  expect(await received).toEqual(delivered);
});

test("exactly once holds although the broker dies in the middle, and comes back with its disk", async () => {
  const watcher = await online({ cleanStart: false });
  const subscription = await subscribed(watcher, "flood", { qos: 2 });
  const sender = await online({ cleanStart: false });
  const sent = texts(300).map((text) => sender.publish("flood", text, { qos: 2 }));
  const received = await nextTexts(subscription, 50);
  const ended = Promise.all([end(watcher), end(sender)]);
  await broker?.kill();
  expect((await ended).map((reason) => reason.class)).toEqual(["network", "network"]);
  await startBroker(port);
  const back = await Promise.all([watcher.connect(dial), sender.connect(dial)]);
  expect(back).toMatchObject([{ sessionPresent: true }, { sessionPresent: true }]);
  await Promise.all(sent);
  received.push(...(await nextTexts(subscription, 250)));
  expect(received).toEqual(texts(300));
});

test("a persistent client that starts anew goes on where it stopped: nothing lost, nothing twice", async () => {
  const options = { clientId: "persistent", cleanStart: false, persistent: true };
  const received = await subscribed(await online(), "journal/#", { qos: 2 });
  const storage = new MemoryStorage();
  const lossy = new LossyDial(dial);
  const first = offline(options, storage);
  await first.publish("journal/1", "stored before the first connection", { qos: 1, queue: true });
  await first.connect(lossy.dial);
  expect((await next(received)).text()).toBe("stored before the first connection");
  lossy.toClient = ["pubrec"];
  void first.publish("journal/2", "taken over, but who knows", { qos: 2 }).catch(() => undefined);
  expect((await next(received)).text()).toBe("taken over, but who knows");
  await vanish(first);
  await first.publish("journal/2", "stored while away", { qos: 2, queue: true });
  const second = offline(options, storage.afterReboot());
  expect(second.pending.messages).toBe(2);
  const settled: string[] = [];
  const all = new Promise<void>((resolve) => (second.onPublishSettled = (topic) => settled.push(topic) === 2 && resolve()));
  expect(await second.connect(dial)).toMatchObject({ sessionPresent: true });
  await all;
  await second.publish("journal/2", "and on", { qos: 2 });
  expect(await nextTexts(received, 2)).toEqual(["stored while away", "and on"]);
  expect(second.pending.messages).toBe(0);
});

test("a persistent client that starts anew does not deliver again what it had taken at QoS 2", async () => {
  const options = { clientId: "careful", cleanStart: false, persistent: true };
  const storage = new MemoryStorage();
  const lossy = new LossyDial(dial);
  const first = offline(options, storage);
  await first.connect(lossy.dial);
  const before = await subscribed(first, "careful", { qos: 2 });
  const sender = await online();
  lossy.toBroker = ["pubrec"];
  await sender.publish("careful", "once", { qos: 2 });
  expect((await next(before)).text()).toBe("once");
  void before.next();
  await lossy.sentOf("pubrec", 1);
  await vanish(first);
  const second = offline(options, storage.afterReboot());
  const after = second.subscribe("careful", { qos: 2 });
  expect(await second.connect(dial)).toMatchObject({ sessionPresent: true });
  await sender.publish("careful", "the next", { qos: 2 });
  expect((await next(after)).text()).toBe("the next");
});

test("a takeover by another client of the same name ends the connection", async () => {
  const first = await online({ clientId: "twin" });
  const ended = end(first);
  await online({ clientId: "twin" });
  expect(await ended).toMatchObject({ code: "CONNECTION_CLOSED", class: "network" });
});

test("the keep-alive keeps an idle connection alive beyond the broker's patience", async () => {
  const client = offline({ keepAliveSeconds: 1 });
  await pinged(client, dial, 3);
  await client.publish("alive", "x", { qos: 1 });
});

test("the broker names a client that has no name", async () => {
  const client = await online({ clientId: "" });
  await client.publish("nameless", "x", { qos: 1 });
});

test("protocol version 5 is refused as such", async () => {
  await expect(offline({ protocolVersion: 5 }).connect(dial)).rejects.toMatchObject({ code: "UNSUPPORTED_PROTOCOL_VERSION" });
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
