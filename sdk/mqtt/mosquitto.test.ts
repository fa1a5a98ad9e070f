/** The client against a real mosquitto over plain TCP. */
import { spawn, type ChildProcess } from "node:child_process";
import { createServer, connect as tcpConnect, type AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../connection/failure.js";
import type { Link, LinkHandlers } from "../platform.js";
import { MqttClient, type Failure, type Message, type MessageProperties, type MqttOptions, type SubscribeOptions, type Subscription } from "./index.js";

let broker: ChildProcess;
let directory: string;
let port: number;

const platform = {
  clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now(), wallTrusted: () => true },
  scheduler: {
    after(delayMs: number, run: () => void) {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
  },
  random: { bytes: (size: number) => new Uint8Array(size).map(() => Math.random() * 256), fraction: () => Math.random() },
  log: () => undefined,
};

function dial(handlers: LinkHandlers): Link {
  const socket = tcpConnect({ port, host: "127.0.0.1", noDelay: true });
  let closedHere = false;
  let problem: Error | undefined;
  socket.on("connect", () => handlers.opened({ tlsVersion: "none", cipher: "", resumed: false }));
  socket.on("data", (bytes) => handlers.data(bytes));
  socket.on("drain", () => handlers.drain());
  socket.on("error", (error) => (problem = error));
  socket.on("close", () => handlers.ended(closedHere ? failure("CLOSED_LOCALLY", "closed") : failure("CONNECTION_CLOSED", problem?.message ?? "closed by the broker")));
  return {
    write: (bytes) => socket.write(bytes),
    close: () => {
      closedHere = true;
      socket.end();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: found } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return found;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "hawser-mqtt-"));
  port = await freePort();
  const config = join(directory, "mosquitto.conf");
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_packet_size 200000\nmax_queued_messages 0\n`);
  broker = spawn("/usr/sbin/mosquitto", ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    broker.stderr?.on("data", (text: Buffer) => text.toString().includes("running") && resolve());
    broker.once("error", reject);
    broker.once("exit", (code) => reject(new Error(`mosquitto ended with ${code}`)));
  });
});

afterAll(async () => {
  const ended = new Promise((resolve) => broker.once("exit", resolve));
  broker.kill();
  await ended;
  rmSync(directory, { recursive: true, force: true });
});

let count = 0;
function makeClient(options: Partial<MqttOptions> = {}): MqttClient {
  return new MqttClient(
    { clientId: `client-${process.pid}-${count++}`, protocolVersion: 5, cleanStart: true, keepAliveSeconds: 30, connackTimeoutMs: 10_000, ...options },
    platform,
  );
}

async function online(options: Partial<MqttOptions> = {}): Promise<MqttClient> {
  const client = makeClient(options);
  await client.connect(dial);
  return client;
}

async function subscribed(client: MqttClient, filter: string, options: SubscribeOptions = {}): Promise<Subscription> {
  const subscription = client.subscribe(filter, options);
  await subscription.granted;
  return subscription;
}

async function next(subscription: Subscription): Promise<Message> {
  const { value } = await subscription.next();
  if (value === undefined) throw new Error("the subscription ended");
  return value;
}

/** The next connection's end. */
function end(client: MqttClient): Promise<Failure> {
  return new Promise((resolve) => (client.onEnd = resolve));
}

/** Breaks the connection without a DISCONNECT. */
async function vanish(client: MqttClient): Promise<void> {
  const ended = end(client);
  client.abort(failure("CONNECTION_RESET", "the test breaks it"));
  await ended;
}

/** Settles when so much time has passed at the broker: it publishes a delayed will then. */
async function atTheBroker(seconds: number): Promise<void> {
  const topic = `time/${count}`;
  const watcher = await subscribed(await online(), topic, { qos: 1 });
  await vanish(await online({ cleanStart: false, sessionExpirySeconds: 60, will: { topic, payload: "now", qos: 1, delaySeconds: seconds } }));
  await next(watcher);
}

describe.each([4, 5] as const)("against mosquitto in protocol version %i", (protocolVersion) => {
  const topic = (name: string): string => `${name}/${protocolVersion}`;

  test.each([0, 1, 2] as const)("messages of QoS %i go out and come back, in order", async (qos) => {
    const client = await online({ protocolVersion });
    const subscription = await subscribed(client, `${topic("flow")}/${qos}/#`, { qos });
    expect(await subscription.granted).toBe(qos);
    const sent = Array.from({ length: 200 }, (_, n) => client.publish(`${topic("flow")}/${qos}/${n % 3}`, `message ${n}`, { qos }));
    const received: string[] = [];
    for await (const message of subscription) {
      expect(message.qos).toBe(qos);
      if (received.push(message.text()) === 200) break;
    }
    await Promise.all(sent);
    expect(received).toEqual(Array.from({ length: 200 }, (_, n) => `message ${n}`));
    await client.disconnect();
    expect(client.connected).toBe(false);
  });

  test("a payload of 150 KB and an empty one come through", async () => {
    const client = await online({ protocolVersion });
    const subscription = await subscribed(client, topic("size"), { qos: 1 });
    const large = Uint8Array.from({ length: 150_000 }, (_, n) => n * 7);
    await client.publish(topic("size"), large, { qos: 1 });
    await client.publish(topic("size"), "", { qos: 1 });
    expect(Buffer.compare((await next(subscription)).payload, large)).toBe(0);
    expect((await next(subscription)).payload).toHaveLength(0);
  });

  test("the will is published when the client vanishes, and not after a DISCONNECT", async () => {
    const watcher = await online({ protocolVersion });
    const wills = await subscribed(watcher, `${topic("will")}/#`, { qos: 1 });
    const orderly = await online({ protocolVersion, will: { topic: `${topic("will")}/orderly`, payload: "no" } });
    await orderly.disconnect();
    const vanished = await online({ protocolVersion, will: { topic: `${topic("will")}/vanished`, payload: "gone", qos: 1, retain: false } });
    await vanish(vanished);
    const will = await next(wills);
    expect([will.topic, will.text()]).toEqual([`${topic("will")}/vanished`, "gone"]);
  });

  test("a retained message comes to a later subscription, and is gone once it is emptied", async () => {
    const client = await online({ protocolVersion });
    await client.publish(topic("retained"), "kept", { qos: 1, retain: true });
    const later = await subscribed(client, topic("retained"), { qos: 1 });
    const message = await next(later);
    expect([message.text(), message.retain]).toEqual(["kept", true]);
    await client.publish(topic("retained"), "", { qos: 1, retain: true });
    expect((await next(later)).payload).toHaveLength(0);
  });

  test("a session is resumed: what came meanwhile arrives, what was not acknowledged comes again, subscriptions hold", async () => {
    const session = { protocolVersion, cleanStart: false, sessionExpirySeconds: 60 };
    const client = await online(session);
    const subscription = await subscribed(client, topic("resume"), { qos: 2, manualAck: true });
    const sender = await online({ protocolVersion });
    await sender.publish(topic("resume"), "before", { qos: 2 });
    const before = await next(subscription);
    await vanish(client);
    await sender.publish(topic("resume"), "meanwhile", { qos: 2 });
    const late = client.publish(topic("resume"), "from the outbox", { qos: 2 });
    expect(await client.connect(dial)).toMatchObject({ sessionPresent: true });
    await late;
    before.ack();
    const texts = [];
    for (let n = 0; n < 2; n++) {
      const message = await next(subscription);
      texts.push(message.text());
      message.ack();
    }
    expect([before.text(), ...texts]).toEqual(["before", "meanwhile", "from the outbox"]);
    expect(subscription.buffered).toBe(0);
  });

  test("without a session subscriptions are made again", async () => {
    const client = await online({ protocolVersion });
    const subscription = await subscribed(client, topic("again"), { qos: 1 });
    await vanish(client);
    expect(await client.connect(dial)).toMatchObject({ sessionPresent: false });
    expect(await client.confirm(topic("again"))).toBe(1);
    await client.publish(topic("again"), "x", { qos: 1 });
    expect((await next(subscription)).text()).toBe("x");
  });

  test("a shared subscription gives each message to one of its members", async () => {
    const members = await Promise.all([0, 1].map(() => online({ protocolVersion })));
    const shares = await Promise.all(members.map((member) => subscribed(member, `$share/group/${topic("shared")}`, { qos: 1 })));
    const sender = await online({ protocolVersion });
    const received: string[] = [];
    let report: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (report = resolve));
    for (const share of shares) {
      void (async () => {
        for await (const message of share) if (received.push(message.text()) === 20) report();
      })();
    }
    await Promise.all(Array.from({ length: 20 }, (_, n) => sender.publish(topic("shared"), `${n}`, { qos: 1 })));
    await all;
    expect([...received].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
  });

  test("a takeover by another client of the same name ends the connection", async () => {
    const first = await online({ protocolVersion, clientId: topic("twin").replace("/", "-") });
    const ended = end(first);
    await online({ protocolVersion, clientId: topic("twin").replace("/", "-") });
    // mosquitto 2.0.11 sends no DISCONNECT for it, later versions do in 5.0.
    expect(["CONNECTION_CLOSED", "SESSION_TAKEN_OVER"]).toContain((await ended).code);
  });

  test("the keep-alive keeps an idle connection alive beyond the broker's patience", async () => {
    const client = makeClient({ protocolVersion, keepAliveSeconds: 1 });
    let pings = 0;
    await new Promise<void>((resolve, reject) => {
      const counting = (handlers: LinkHandlers): Link => {
        const link = dial(handlers);
        return { close: () => link.close(), write: (bytes) => (bytes[0] === 0xc0 && ++pings === 5 && resolve(), link.write(bytes)) };
      };
      client.connect(counting).catch(reject);
      client.onEnd = (reason) => reject(new Error(reason.message));
    });
    await client.publish(topic("alive"), "x", { qos: 1 });
    expect(client.connected).toBe(true);
  });

  test("unsubscribed, nothing comes any more", async () => {
    const client = await online({ protocolVersion });
    const gone = await subscribed(client, topic("unsubscribed"), { qos: 1 });
    const stays = await subscribed(client, topic("stays"), { qos: 1 });
    await gone.close();
    const dropped: string[] = [];
    client.onMessageDropped = (name) => dropped.push(name);
    await client.publish(topic("unsubscribed"), "x", { qos: 1 });
    await client.publish(topic("stays"), "x", { qos: 1 });
    await next(stays);
    expect(dropped).toEqual([]);
  });
});

describe("what only 5.0 has, against mosquitto", () => {
  test("no-local keeps away what the client publishes itself", async () => {
    const client = await online();
    const other = await online();
    const subscription = await subscribed(client, "no-local", { qos: 1, noLocal: true });
    await client.publish("no-local", "own", { qos: 1 });
    await other.publish("no-local", "other", { qos: 1 });
    expect((await next(subscription)).text()).toBe("other");
  });

  test("retain handling and retain-as-published do what they say", async () => {
    const client = await online();
    await client.publish("handling", "kept", { qos: 1, retain: true });
    const never = await subscribed(client, "handling", { qos: 1, retainHandling: 2, retainAsPublished: true });
    await client.publish("handling", "fresh", { qos: 1, retain: true });
    const message = await next(never);
    expect([message.text(), message.retain]).toEqual(["fresh", true]);
    await client.publish("handling", "", { retain: true });
  });

  test("subscription identifiers come back with the messages of their subscription", async () => {
    const client = await online();
    const one = await subscribed(client, "identified/a", { qos: 1, subscriptionIdentifier: 11 });
    const two = await subscribed(client, "identified/b", { qos: 1, subscriptionIdentifier: 300_000 });
    await client.publish("identified/a", "x", { qos: 1 });
    await client.publish("identified/b", "x", { qos: 1 });
    expect((await next(one)).properties.subscriptionIdentifiers).toEqual([11]);
    expect((await next(two)).properties.subscriptionIdentifiers).toEqual([300_000]);
  });

  test("aliases work both ways and nobody sees them", async () => {
    const client = await online({ topicAliasMaximum: 5, outgoingTopicAliases: 5 });
    const subscription = await subscribed(client, "alias/#", { qos: 1 });
    const topics = ["alias/one", "alias/two", "alias/one", "alias/one", "alias/two"];
    for (const name of topics) await client.publish(name, name, { qos: 1 });
    const received = [];
    for (let n = 0; n < topics.length; n++) received.push(await next(subscription));
    expect(received.map((message) => message.topic)).toEqual(topics);
    expect(received.map((message) => message.text())).toEqual(topics);
  });

  test("a message expires at the broker, and what is left of its time comes with it", async () => {
    const options = { cleanStart: false, sessionExpirySeconds: 60 };
    const client = await online(options);
    const subscription = await subscribed(client, "expiry", { qos: 1 });
    await client.disconnect();
    const sender = await online();
    await sender.publish("expiry", "short", { qos: 1, properties: { messageExpiryInterval: 1 } });
    await sender.publish("expiry", "long", { qos: 1, properties: { messageExpiryInterval: 100 } });
    await atTheBroker(2);
    await client.connect(dial);
    const message = await next(subscription);
    expect(message.text()).toBe("long");
    expect(message.properties.messageExpiryInterval).toBeLessThan(100);
  });

  test("all properties of a message come through", async () => {
    const client = await online();
    const subscription = await subscribed(client, "properties", { qos: 1 });
    const properties: MessageProperties = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Uint8Array.of(1, 2, 3),
      userProperties: [["b", "1"], ["a", "ü"], ["b", "2"]],
    };
    await client.publish("properties", "x", { qos: 1, properties });
    expect((await next(subscription)).properties).toEqual(properties);
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

  test("a will waits for its delay", async () => {
    const wills = await subscribed(await online(), "delayed/#", { qos: 1 });
    const will = { payload: "gone", qos: 1 as const, delaySeconds: 1 };
    const returning = await online({ cleanStart: false, sessionExpirySeconds: 60, will: { ...will, topic: "delayed/returning" } });
    const leaving = await online({ cleanStart: false, sessionExpirySeconds: 60, will: { ...will, topic: "delayed/leaving" } });
    await vanish(returning);
    await vanish(leaving);
    await returning.connect(dial);
    expect((await next(wills)).topic).toBe("delayed/leaving");
  });

  test("the broker names a client that has no name", async () => {
    const client = makeClient({ clientId: "" });
    expect((await client.connect(dial)).clientId).toMatch(/./);
  });

  test("a packet larger than the broker takes is refused here, and the connection stays", async () => {
    const client = await online();
    await expect(client.publish("large", new Uint8Array(300_000), { qos: 0 })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    client.configure({ outbox: { maxMessages: 10, maxBytes: 1_000_000, overflow: "reject" } });
    await expect(client.publish("large", new Uint8Array(300_000), { qos: 1 })).rejects.toMatchObject({ code: "PACKET_TOO_LARGE" });
    await client.publish("small", "x", { qos: 1 });
  });
});

test("a flood of 10,000 messages of each level arrives whole and in order", async () => {
  const client = await online({ inFlightWindow: 60, receiveMaximum: 100 });
  for (const qos of [1, 2] as const) {
    const subscription = await subscribed(client, `flood/${qos}`, { qos });
    let sent = 0;
    const worker = async (): Promise<void> => {
      while (sent < 10_000) await client.publish(`flood/${qos}`, `${sent++}`, { qos });
    };
    const workers = Promise.all(Array.from({ length: 50 }, worker));
    for (let n = 0; n < 10_000; n++) expect((await next(subscription)).text()).toBe(`${n}`);
    await workers;
    await subscription.close();
  }
});
