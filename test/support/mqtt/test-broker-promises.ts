/**
 * What the client promises on every broker, as tests: the same for mosquitto, aedes and RabbitMQ. Call it in a `describe`. Topics begin
 * with `test/`.
 */
import { afterEach, expect, test } from "vitest";
import type { LinkInfo, Storage } from "../../../sdk/platform.js";
import type { MqttClient } from "../../../sdk/mqtt/client.js";
import type { MqttOptions } from "../../../sdk/mqtt/contract/options.js";
import type { ProtocolVersion, QoS } from "../../../sdk/mqtt/codec/packet-types.js";
import { MemoryStorage } from "./memory-storage.js";
import { end, makeClient, next, nextTexts, pinged, subscribed, vanish, type Dial } from "./test-clients.js";
import { LossyDial } from "./test-lossy-dial.js";

export interface BrokerUnderTest {
  dial: Dial;
  protocolVersion: ProtocolVersion;
  /** The highest level it has: 2 where not said. */
  maximumQoS?: 1 | 2;
  login?: Pick<MqttOptions, "username" | "password">;
}

const SESSION = { cleanStart: false, sessionExpirySeconds: 60 };

const texts = (count: number): string[] => Array.from({ length: count }, (_, n) => `${n}`);

export function testPromises({ dial, protocolVersion, maximumQoS = 2, login = {} }: BrokerUnderTest): void {
  const levels = ([0, 1, 2] as const).filter((qos) => qos <= maximumQoS);
  const acknowledged = levels.filter((qos) => qos > 0);
  const clients: MqttClient[] = [];
  const topic = (name: string): string => `test/${protocolVersion}/${name}`;
  const lossyDial = (): LossyDial => new LossyDial(dial, protocolVersion);

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.disconnect()));
  });

  function offline(options: Partial<MqttOptions> = {}, storage?: Storage): MqttClient {
    const client = makeClient({ protocolVersion, ...login, ...options }, storage);
    clients.push(client);
    return client;
  }

  async function online(options: Partial<MqttOptions> = {}, over: Dial = dial): Promise<MqttClient> {
    const client = offline(options);
    await client.connect(over);
    return client;
  }

  /** A client with a session at the broker. RabbitMQ keeps one for its subscriptions only. */
  async function resident(over: Dial, options: Partial<MqttOptions> = {}, storage?: Storage): Promise<MqttClient> {
    const client = offline({ ...SESSION, ...options }, storage);
    client.subscribe(topic("own"), { qos: 1 });
    await client.connect(over);
    await client.confirm(topic("own"));
    return client;
  }

  test.each(levels)("messages of QoS %i go out and come back, in order", async (qos) => {
    const client = await online();
    const subscription = await subscribed(client, topic(`flow/${qos}/#`), { qos });
    expect(await subscription.granted).toBe(qos);
    const sent = texts(200).map((text, n) => client.publish(topic(`flow/${qos}/${n % 3}`), text, { qos }));
    for (const text of texts(200)) {
      const message = await next(subscription);
      expect([message.text(), message.qos]).toEqual([text, qos]);
    }
    await Promise.all(sent);
    expect(client.pending.messages).toBe(0);
    await client.disconnect();
    expect(client.connected).toBe(false);
  });

  test("messages in the flight of CONNECT are taken once each, before those that waited for CONNACK", async () => {
    const listener = await online();
    const subscription = await subscribed(listener, topic("early/#"), { qos: 1 });
    const client = offline({ messagesWithConnect: 3 });
    const sent = texts(5).map((text) => client.publish(topic(`early/${text}`), text, { qos: 1 }));
    const pieces: number[] = [];
    await client.connect((handlers) => {
      // What a broker does with what follows CONNECT does not depend on how TLS began.
      const opened = (info: LinkInfo): void => handlers.opened({ ...info, resumed: true });
      const link = dial({ ...handlers, opened });
      return { close: () => link.close(), write: (bytes) => (pieces.push(publishes(bytes)), link.write(bytes)) };
    });
    await Promise.all(sent);
    expect([pieces[0], await nextTexts(subscription, 5), client.pending.messages]).toEqual([3, texts(5), 0]);
    await listener.publish(topic("early/last"), "last", { qos: 1 });
    expect(await nextTexts(subscription, 1)).toEqual(["last"]);
  });

  test("a payload of 150 KB and an empty one come through", async () => {
    const client = await online();
    const subscription = await subscribed(client, topic("size"), { qos: 1 });
    const large = Uint8Array.from({ length: 150_000 }, (_, n) => n * 7);
    await client.publish(topic("size"), large, { qos: 1 });
    await client.publish(topic("size"), "", { qos: 1 });
    expect(Buffer.compare((await next(subscription)).payload, large)).toBe(0);
    expect((await next(subscription)).payload).toHaveLength(0);
  });

  test("wildcards reach what they are for, and a message that two of them match comes to both", async () => {
    const client = await online();
    const one = await subscribed(client, topic("wild/+/end"), { qos: 1 });
    const all = await subscribed(client, topic("wild/a/#"), { qos: 1 });
    const names = ["wild/b/c/end", "wild/b/end", "wilder", "wild/a", "wild/a/b/c"];
    for (const name of names) await client.publish(topic(name), name, { qos: 1 });
    expect([await nextTexts(one, 1), await nextTexts(all, 2)]).toEqual([["wild/b/end"], ["wild/a", "wild/a/b/c"]]);
    // A broker may send one copy or two.
    await client.publish(topic("wild/a/end"), "both", { qos: 1 });
    expect([await nextTexts(one, 1), await nextTexts(all, 1)]).toEqual([["both"], ["both"]]);
  });

  test("unsubscribed, nothing comes any more", async () => {
    const client = await online();
    const gone = await subscribed(client, topic("gone"), { qos: 1 });
    const stays = await subscribed(client, topic("stays"), { qos: 1 });
    await gone.close();
    const dropped: string[] = [];
    client.onMessageDropped = (name) => dropped.push(name);
    for (const name of ["gone", "stays"]) await client.publish(topic(name), "x", { qos: 1 });
    await next(stays);
    expect(dropped).toEqual([]);
  });

  test("a retained message comes to a later subscription, and is gone once it is emptied", async () => {
    const client = await online();
    await client.publish(topic("retained"), "kept", { qos: 1, retain: true });
    const later = await subscribed(client, topic("retained"), { qos: 1 });
    const message = await next(later);
    expect([message.text(), message.retain]).toEqual(["kept", true]);
    await client.publish(topic("retained"), "", { qos: 1, retain: true });
    expect((await next(later)).payload).toHaveLength(0);
    const nothing = await subscribed(await online(), topic("retained"), { qos: 1 });
    await client.publish(topic("retained"), "fresh", { qos: 1 });
    expect((await next(nothing)).text()).toBe("fresh");
  });

  test("the will is published when the client vanishes, and not after a DISCONNECT", async () => {
    const qos = maximumQoS;
    const wills = await subscribed(await online(), topic("will/+"), { qos });
    const orderly = await online({ will: { topic: topic("will/orderly"), payload: "no", qos } });
    await orderly.disconnect();
    await vanish(await online({ will: { topic: topic("will/vanished"), payload: "gone", qos, retain: true } }));
    const will = await next(wills);
    expect([will.text(), will.qos, will.retain]).toEqual(["gone", qos, false]);
    const late = await next(await subscribed(await online(), topic("will/vanished")));
    expect([late.text(), late.retain]).toEqual(["gone", true]);
  });

  test("a session is resumed: what was not acknowledged comes again, then what came meanwhile and what waited here", async () => {
    const qos = maximumQoS;
    const client = await online(SESSION);
    const sender = await online();
    const subscription = await subscribed(client, topic("resume"), { qos, manualAck: true });
    await sender.publish(topic("resume"), "before", { qos });
    const before = await next(subscription);
    await vanish(client);
    await sender.publish(topic("resume"), "meanwhile", { qos });
    const late = client.publish(topic("resume"), "from the outbox", { qos });
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
    const client = await online(SESSION);
    const subscription = await subscribed(client, topic("forget"), { qos: 1 });
    await client.disconnect();
    await (await online()).publish(topic("forget"), "lost", { qos: 1 });
    client.configure({ cleanStart: true });
    expect(await client.connect(dial)).toMatchObject({ sessionPresent: false });
    expect(await client.confirm(topic("forget"))).toBe(1);
    await client.publish(topic("forget"), "new", { qos: 1 });
    expect((await next(subscription)).text()).toBe("new");
  });

  test("offline, messages wait in the outbox and go out in their order", async () => {
    const received = await subscribed(await online(), topic("outbox"), { qos: 1 });
    const client = offline();
    await expect(client.publish(topic("outbox"), "x")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    const sent = texts(50).map((text) => client.publish(topic("outbox"), text, { qos: 1 }));
    expect(client.pending.messages).toBe(50);
    await client.connect(dial);
    await Promise.all(sent);
    expect(await nextTexts(received, 50)).toEqual(texts(50));
  });

  test.each(acknowledged)(
    "no more of QoS %i is in flight than the window; unanswered, it goes again with DUP and before the rest",
    async (qos) => {
      const received = await subscribed(await online(), topic(`window/${qos}`), { qos });
      const lossy = lossyDial();
      const client = await resident(lossy.dial, { inFlightWindow: 3 });
      lossy.toClient = ["puback", "pubrec"];
      const sent = texts(10).map((text) => client.publish(topic(`window/${qos}`), text, { qos }));
      if (qos === 1) expect(await nextTexts(received, 3)).toEqual(["0", "1", "2"]);
      await lossy.lostOf(qos === 1 ? "puback" : "pubrec", 3);
      expect([client.pending.inFlight, lossy.sentOf("publish").length]).toEqual([3, 3]);
      await vanish(client);
      lossy.toClient = [];
      await client.connect(lossy.dial);
      await Promise.all(sent);
      const published = lossy.sentOf("publish").map(({ payload, dup }) => `${String(payload)}${dup === true ? " again" : ""}`);
      expect(published).toEqual(["0", "1", "2", "0 again", "1 again", "2 again", ...texts(10).slice(3)]);
      // Level 1 delivers at least once, level 2 exactly once.
      expect(await nextTexts(received, 10)).toEqual(texts(10));
    },
  );

  const repeated: [qos: QoS, lost: string, delivered: string[]][] = [
    [1, "puback", ["first", "first", "second"]],
    [2, "pubrec", ["first", "second"]],
    [2, "pubcomp", ["first", "second"]],
  ];

  test.each(repeated.filter(([qos]) => qos <= maximumQoS))(
    "a message of QoS %i whose %s is lost comes again, and is delivered as promised",
    async (qos, lost, delivered) => {
      const lossy = lossyDial();
      const client = await online(SESSION, lossy.dial);
      const name = topic(`repeat/${qos}/${lost}`);
      const subscription = await subscribed(client, name, { qos });
      const sender = await online();
      lossy.toBroker = [lost];
      await sender.publish(name, "first", { qos });
      const received = nextTexts(subscription, delivered.length);
      await lossy.lostOf(lost, 1);
      await vanish(client);
      lossy.toBroker = [];
      await sender.publish(name, "second", { qos });
      expect(await client.connect(lossy.dial)).toMatchObject({ sessionPresent: true });
      expect(await received).toEqual(delivered);
    },
  );

  test("a persistent client that starts anew goes on where it stopped", async () => {
    const qos = maximumQoS;
    const options = { clientId: `persistent-${protocolVersion}`, persistent: true };
    const received = await subscribed(await online(), topic("journal"), { qos });
    const storage = new MemoryStorage();
    const lossy = lossyDial();
    await offline(options, storage).publish(topic("journal"), "stored before", { qos: 1, queue: true });
    const first = await resident(lossy.dial, options, storage);
    expect((await next(received)).text()).toBe("stored before");
    // A broker may deliver before it acknowledges.
    await expect.poll(() => first.pending.messages, { interval: 5 }).toBe(0);
    lossy.toClient = ["puback", "pubrec"];
    void first.publish(topic("journal"), "unanswered", { qos }).catch(() => undefined);
    await lossy.lostOf(qos === 2 ? "pubrec" : "puback", 1);
    await vanish(first);
    await first.publish(topic("journal"), "stored while away", { qos, queue: true });
    const second = offline({ ...SESSION, ...options }, storage.afterReboot());
    expect(second.pending.messages).toBe(2);
    const settled: string[] = [];
    const all = new Promise<void>((resolve) => (second.onPublishSettled = (name) => settled.push(name) === 2 && resolve()));
    expect(await second.connect(dial)).toMatchObject({ sessionPresent: true });
    await all;
    // Level 2 delivers the one in the middle once.
    const delivered = ["unanswered", ...(qos === 2 ? [] : ["unanswered"]), "stored while away"];
    expect(await nextTexts(received, delivered.length)).toEqual(delivered);
    expect(second.pending.messages).toBe(0);
  });

  test("a takeover by another client of the same name ends the connection", async () => {
    const clientId = `twin-${protocolVersion}`;
    const first = await online({ clientId });
    const ended = end(first);
    await online({ clientId });
    // Before 5.0 no broker can say why, and mosquitto 2.0.11 does not in 5.0.
    expect(["CONNECTION_CLOSED", "SESSION_TAKEN_OVER"]).toContain((await ended).code);
  });

  test("the keep-alive keeps an idle connection alive beyond the broker's patience", async () => {
    const client = offline({ keepAliveSeconds: 1 });
    await pinged(client, dial, 3);
    await client.publish(topic("alive"), "x", { qos: 1 });
  });

  test("the broker names a client that has no name", async () => {
    const client = await online({ clientId: "" });
    await client.publish(topic("nameless"), "x", { qos: 1 });
  });

  if (maximumQoS < 2) return;

  test("a PUBCOMP that is lost is asked for by PUBREL alone", async () => {
    const received = await subscribed(await online(), topic("pubcomp"), { qos: 2 });
    const lossy = lossyDial();
    const client = await online(SESSION, lossy.dial);
    lossy.toClient = ["pubcomp"];
    const sent = client.publish(topic("pubcomp"), "once", { qos: 2 });
    await lossy.lostOf("pubcomp", 1);
    await vanish(client);
    lossy.toClient = [];
    await client.connect(lossy.dial);
    await sent;
    expect(lossy.sent.map(({ cmd }) => cmd).filter((cmd) => cmd.startsWith("pub"))).toEqual(["publish", "pubrel", "pubrel"]);
    await client.publish(topic("pubcomp"), "the next", { qos: 2 });
    expect(await nextTexts(received, 2)).toEqual(["once", "the next"]);
  });

  test("a persistent client that starts anew does not deliver again what it had taken at QoS 2", async () => {
    const options = { ...SESSION, clientId: `careful-${protocolVersion}`, persistent: true };
    const storage = new MemoryStorage();
    const lossy = lossyDial();
    const first = offline(options, storage);
    await first.connect(lossy.dial);
    const before = await subscribed(first, topic("careful"), { qos: 2 });
    const sender = await online();
    lossy.toBroker = ["pubrec"];
    await sender.publish(topic("careful"), "once", { qos: 2 });
    expect((await next(before)).text()).toBe("once");
    // Asking for the next acknowledges the last.
    void before.next();
    await lossy.lostOf("pubrec", 1);
    await vanish(first);
    const second = offline(options, storage.afterReboot());
    const after = second.subscribe(topic("careful"), { qos: 2 });
    expect(await second.connect(dial)).toMatchObject({ sessionPresent: true });
    await sender.publish(topic("careful"), "the next", { qos: 2 });
    expect((await next(after)).text()).toBe("the next");
  });
}

/** How many PUBLISH packets of QoS 1 these bytes hold. */
function publishes(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0x32) count++;
    let [sizeBytes, step, digit] = [0, at, 0];
    do {
      digit = bytes[++step] ?? 0;
      sizeBytes += (digit & 0x7f) << (7 * (step - at - 1));
    } while (digit >= 0x80);
    at = step + 1 + sizeBytes;
  }
  return count;
}
