/** What only 5.0 has, against a real mosquitto 2.0. It uses no aliases itself and refuses all enhanced authentication. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import type { MessageProperties, MqttClient, MqttOptions } from "./index.js";
import { end, makeClient, next, nextTexts, plainDial, subscribed, vanish, type Dial } from "../../test/support/mqtt/test-clients.js";
import { LossyDial } from "../../test/support/mqtt/test-lossy-dial.js";

const room = mkdtempSync(join(tmpdir(), "hawser-mqtt5-"));
const brokers: TestMosquitto[] = [];
const clients: MqttClient[] = [];
const dial = plainDial(() => openPort);
const strictDial = plainDial(() => strictPort);
let openPort: number;
let strictPort: number;

beforeAll(async () => {
  [openPort, strictPort] = [await freePort(), await freePort()];
  const open = [`listener ${openPort} 127.0.0.1`, "allow_anonymous true", "max_packet_size 200000", "max_queued_messages 0"];
  const strict = [
    `listener ${strictPort} 127.0.0.1`,
    "password_file passwords",
    "acl_file acl",
    "max_inflight_messages 3",
    "max_keepalive 10",
  ];
  const files = { passwords: `alice:${passwordHash("secret")}\n`, acl: "user alice\ntopic readwrite open/#\n" };
  brokers.push(await startMosquitto(room, "open", {}, open), await startMosquitto(room, "strict", files, strict));
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.disconnect()));
});

afterAll(async () => {
  await Promise.all(brokers.map((broker) => broker.stop()));
  rmSync(room, { recursive: true, force: true });
});

/** As mosquitto_passwd writes it: SHA-512 of password and salt. */
function passwordHash(password: string): string {
  const salt = randomBytes(12);
  return `$6$${salt.toString("base64")}$${createHash("sha512").update(password).update(salt).digest("base64")}`;
}

function offline(options: Partial<MqttOptions> = {}): MqttClient {
  const client = makeClient({ protocolVersion: 5, ...options });
  clients.push(client);
  return client;
}

async function online(options: Partial<MqttOptions> = {}, over: Dial = dial): Promise<MqttClient> {
  const client = offline(options);
  await client.connect(over);
  return client;
}

/** Settles when so much time has passed at the broker: it publishes a delayed will then. */
async function atTheBroker(seconds: number): Promise<void> {
  const watcher = await subscribed(await online(), "time", { qos: 1 });
  await vanish(await online({ ...LASTING, will: { topic: "time", payload: "now", qos: 1, delaySeconds: seconds } }));
  await next(watcher);
}

const LASTING = { cleanStart: false, sessionExpirySeconds: 60 };

describe("subscriptions", () => {
  test("no-local keeps away what the client publishes itself", async () => {
    const client = await online();
    const subscription = await subscribed(client, "no-local", { qos: 1, noLocal: true });
    await client.publish("no-local", "own", { qos: 1 });
    await (await online()).publish("no-local", "other", { qos: 1 });
    expect((await next(subscription)).text()).toBe("other");
  });

  test("retain handling and retain-as-published do what they say", async () => {
    const client = await online();
    await client.publish("handling", "kept", { qos: 1, retain: true });
    const once = await subscribed(client, "handling", { qos: 1, retainHandling: 1 });
    expect((await next(once)).retain).toBe(true);
    await client.confirm("handling");
    const never = await subscribed(await online(), "handling", { qos: 1, retainHandling: 2, retainAsPublished: true });
    await client.publish("handling", "fresh", { qos: 1, retain: true });
    for (const [subscription, retain] of [
      [once, false],
      [never, true],
    ] as const) {
      const message = await next(subscription);
      expect([message.text(), message.retain]).toEqual(["fresh", retain]);
    }
    await client.publish("handling", "", { qos: 1, retain: true });
  });

  test("subscription identifiers come back with the messages of their subscription, also where two match", async () => {
    const client = await online();
    const one = await subscribed(client, "identified/a", { qos: 1, subscriptionIdentifier: 11 });
    const all = await subscribed(client, "identified/+", { qos: 1, subscriptionIdentifier: 300_000 });
    await client.publish("identified/a", "both", { qos: 1 });
    await client.publish("identified/b", "one", { qos: 1 });
    expect((await next(one)).properties.subscriptionIdentifiers).toContain(11);
    const [both, alone] = [await next(all), await next(all)];
    expect([both.text(), alone.text(), alone.properties.subscriptionIdentifiers]).toEqual(["both", "one", [300_000]]);
    expect(both.properties.subscriptionIdentifiers).toContain(300_000);
  });
});

describe("messages", () => {
  test("a topic goes out once and then by its alias, and nobody sees it", async () => {
    const lossy = new LossyDial(dial, 5);
    const client = await online({ outgoingTopicAliases: 2 }, lossy.dial);
    const subscription = await subscribed(client, "alias/#", { qos: 1 });
    const topics = ["alias/one", "alias/two", "alias/one", "alias/three", "alias/two"];
    for (const name of topics) await client.publish(name, name, { qos: 1 });
    expect(lossy.sentOf("publish").map(({ topic }) => topic)).toEqual(["alias/one", "alias/two", "", "alias/three", ""]);
    for (const name of topics) {
      const message = await next(subscription);
      expect([message.topic, message.text()]).toEqual([name, name]);
    }
  });

  test("all properties of a message and of a will come through", async () => {
    const client = await online();
    const subscription = await subscribed(client, "properties/#", { qos: 1 });
    const properties: MessageProperties = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Uint8Array.of(1, 2, 3),
      userProperties: [
        ["b", "1"],
        ["a", "ü"],
        ["b", "2"],
      ],
    };
    await client.publish("properties/message", "x", { qos: 1, properties });
    // The identifier is the client's own: it tells which subscription the broker matched.
    const received = { ...properties, subscriptionIdentifiers: [expect.any(Number)] };
    expect((await next(subscription)).properties).toEqual(received);
    await vanish(await online({ will: { topic: "properties/will", payload: "gone", qos: 1, properties } }));
    expect((await next(subscription)).properties).toEqual(received);
  });

  test("a request finds its answer", async () => {
    const server = await online();
    const requests = await subscribed(server, "service", { qos: 1 });
    void (async () => {
      for await (const { payload, properties } of requests) {
        const { responseTopic = "", correlationData = new Uint8Array(0) } = properties;
        void server.publish(responseTopic, payload, { qos: 1, properties: { correlationData } });
      }
    })();
    const requester = (await online()).requester("answers/me");
    const answers = await Promise.all(["a", "b", "c"].map((text) => requester.request("service", text, { qos: 1 })));
    expect(answers.map((answer) => answer.text())).toEqual(["a", "b", "c"]);
  });

  test("a message to nobody is a success that says so", async () => {
    const client = await online();
    expect(await client.publish("nobody", "x", { qos: 1 })).toMatchObject({ reasonCode: 0x10 });
  });
});

describe("wills and sessions", () => {
  test("a will waits for its delay", async () => {
    const wills = await subscribed(await online(), "delayed/#", { qos: 1 });
    const will = { payload: "gone", qos: 1 as const, delaySeconds: 1 };
    const returning = await online({ ...LASTING, will: { ...will, topic: "delayed/returning" } });
    const leaving = await online({ ...LASTING, will: { ...will, topic: "delayed/leaving" } });
    await vanish(returning);
    await vanish(leaving);
    await returning.connect(dial);
    expect((await next(wills)).topic).toBe("delayed/leaving");
  });

  test("a DISCONNECT may have the will published all the same", async () => {
    const wills = await subscribed(await online(), "on-request", { qos: 1 });
    await (await online({ will: { topic: "on-request", payload: "gone", qos: 1 } })).disconnect({ reasonCode: 4 });
    expect((await next(wills)).text()).toBe("gone");
  });

  test("a DISCONNECT may end the session early", async () => {
    const client = await online(LASTING);
    await client.disconnect();
    expect(await client.connect(dial)).toMatchObject({ sessionPresent: true });
    await client.disconnect({ sessionExpirySeconds: 0 });
    expect(await client.connect(dial)).toMatchObject({ sessionPresent: false });
  });

  test("messages and sessions expire at the broker, and what is left of a message's time comes with it", async () => {
    const client = await online(LASTING);
    const subscription = await subscribed(client, "expiry", { qos: 1 });
    await client.disconnect();
    const shortLived = await online({ ...LASTING, sessionExpirySeconds: 1 });
    await shortLived.disconnect();
    const sender = await online();
    await sender.publish("expiry", "short", { qos: 1, properties: { messageExpiryInterval: 1 } });
    await sender.publish("expiry", "long", { qos: 1, properties: { messageExpiryInterval: 100 } });
    await atTheBroker(2);
    await client.connect(dial);
    const message = await next(subscription);
    expect(message.text()).toBe("long");
    expect(message.properties.messageExpiryInterval).toBeLessThan(100);
    expect(await shortLived.connect(dial)).toMatchObject({ sessionPresent: false });
  });
});

describe("limits", () => {
  test("the broker begins with no more than the client's receive maximum", async () => {
    const client = await online({ receiveMaximum: 2 });
    const subscription = await subscribed(client, "receive", { qos: 1, manualAck: true });
    const sender = await online();
    for (const text of ["1", "2", "3", "4", "5"]) await sender.publish("receive", text, { qos: 1 });
    // Answered behind all that the broker had to send. Mosquitto 2.0.11 forgets the maximum with the first acknowledgement: none is given
    // here.
    await client.confirm("receive");
    expect(subscription.buffered).toBe(2);
  });

  test("the client sends no more than the broker's receive maximum before it is acknowledged", async () => {
    const lossy = new LossyDial(strictDial, 5);
    const client = offline({ username: "alice", password: "secret", ...LASTING });
    expect((await client.connect(lossy.dial)).properties).toMatchObject({ receiveMaximum: 3 });
    lossy.toClient = ["puback"];
    const sent = Array.from({ length: 10 }, (_, n) => client.publish("open/window", `${n}`, { qos: 1 }));
    await lossy.lostOf("puback", 3);
    expect(lossy.sentOf("publish")).toHaveLength(3);
    await vanish(client);
    lossy.toClient = [];
    await client.connect(lossy.dial);
    await Promise.all(sent);
  });

  test("what is larger than the client takes is kept away by the broker", async () => {
    const client = await online({ maximumPacketSizeBytes: 100 });
    const subscription = await subscribed(client, "small", { qos: 1 });
    const sender = await online();
    await sender.publish("small", new Uint8Array(200), { qos: 1 });
    await sender.publish("small", "fits", { qos: 1 });
    expect(await nextTexts(subscription, 1)).toEqual(["fits"]);
  });

  test("a message larger than the broker takes is refused here, and the connection stays", async () => {
    const client = await online();
    await expect(client.publish("large", new Uint8Array(300_000), { qos: 0 })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    client.configure({ outbox: { maxMessages: 10, maxBytes: 1_000_000, overflow: "reject" } });
    await expect(client.publish("large", new Uint8Array(300_000), { qos: 1 })).rejects.toMatchObject({ code: "PACKET_TOO_LARGE" });
    await client.publish("small", "x", { qos: 1 });
  });
});

describe("the broker's word", () => {
  test("names a client that has no name, and sets another keep-alive", async () => {
    const client = offline({ clientId: "", username: "alice", password: "secret", keepAliveSeconds: 600 });
    const { clientId, properties } = await client.connect(strictDial);
    expect(clientId).toMatch(/./);
    expect(properties).toMatchObject({ assignedClientIdentifier: clientId, serverKeepAlive: 10 });
  });

  test.each<[string, Partial<MqttOptions>, object]>([
    ["a wrong password", { username: "alice", password: "wrong" }, { code: "NOT_AUTHORIZED", reasonCode: 0x87 }],
    ["an unknown name", { username: "nobody", password: "secret" }, { code: "NOT_AUTHORIZED", reasonCode: 0x87 }],
    ["no name at all", {}, { code: "NOT_AUTHORIZED", reasonCode: 0x87 }],
    [
      "an authentication method",
      { authentication: { method: "SCRAM-SHA-256", start: () => Uint8Array.of(1), respond: () => undefined } },
      { code: "BAD_AUTHENTICATION_METHOD", reasonCode: 0x8c },
    ],
  ])("refuses %s", async (_, options, refusal) => {
    await expect(offline(options).connect(strictDial)).rejects.toMatchObject({ failure: { class: "credential", ...refusal } });
  });

  test.each([1, 2] as const)("refuses a message of QoS %i that is not allowed, and the connection stays", async (qos) => {
    const client = await online({ username: "alice", password: "secret" }, strictDial);
    await expect(client.publish("closed/x", "x", { qos })).rejects.toMatchObject({
      name: "RefusedError",
      code: "NOT_AUTHORIZED",
      reasonCode: 0x87,
    });
    await client.publish("open/x", "x", { qos });
    expect(client.pending.inFlight).toBe(0);
  });

  test.each([
    [
      "an alias it did not offer",
      { cmd: "publish", topic: "", qos: 0, payload: "x", properties: { topicAlias: 60_000 } },
      "TOPIC_ALIAS_INVALID",
      0x94,
    ],
    [
      "an alias that stands for nothing",
      { cmd: "publish", topic: "", qos: 0, payload: "x", properties: { topicAlias: 9 } },
      "PROTOCOL_ERROR",
      0x82,
    ],
    ["too large a packet", { cmd: "publish", topic: "x", qos: 0, payload: "x".repeat(210_000) }, "PACKET_TOO_LARGE", 0x95],
    ["a filter that is none", { cmd: "subscribe", messageId: 9, subscriptions: [{ topic: "a/#/b", qos: 0 }] }, "MALFORMED_PACKET", 0x81],
  ])("ends the connection over %s, and says why", async (_, packet, code, reasonCode) => {
    const lossy = new LossyDial(dial, 5);
    const ended = end(await online({}, lossy.dial));
    lossy.inject(packet);
    expect(await ended).toMatchObject({ code, class: "protocol", reasonCode });
  });
});
