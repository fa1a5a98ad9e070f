import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { Message, MqttOptions, QoS, Subscription } from "../index.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { LibraryPacket, PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;
const world = (options: Partial<MqttOptions> = {}): SessionWorld => new SessionWorld(library, options);

function message(payload: string, qos: QoS, messageId = 0, more: Record<string, unknown> = {}): LibraryPacket {
  return { cmd: "publish", topic: "t", payload, qos, dup: false, retain: false, messageId, ...more };
}

/** What came from the client behind its SUBSCRIBE packets. */
function acks({ broker }: SessionWorld): string[] {
  return broker.received.filter(({ cmd }) => cmd.startsWith("pub")).map(({ cmd, messageId }) => `${cmd} ${messageId}`);
}

/** Takes messages on command. */
class Consumer {
  readonly seen: string[] = [];
  #current: ReturnType<typeof watch> | undefined;

  constructor(private readonly subscription: Subscription) {}

  ask(): void {
    const next = this.subscription.next();
    this.#current = watch(next);
    next.then(
      (result) => this.seen.push(result.done === true ? "done" : result.value.text()),
      () => this.seen.push("error"),
    );
  }

  get waits(): boolean {
    return this.#current?.state === "pending";
  }
}

async function subscribed(
  w: SessionWorld,
  qos: QoS = 2,
  filter = "t",
  options = {},
): Promise<{ subscription: Subscription; consumer: Consumer }> {
  const subscription = w.client.subscribe(filter, { qos, ...options });
  await w.time.pass(0);
  const { messageId } = w.broker.of("subscribe").at(-1) as LibraryPacket;
  await w.broker.send({ cmd: "suback", messageId: messageId as number, granted: [qos] });
  return { subscription, consumer: new Consumer(subscription) };
}

describe.each([4, 5] as const)("receiving in protocol version %i", (protocolVersion) => {
  test("QoS 1 is acknowledged when the next message is asked for, not before", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const { consumer } = await subscribed(w);
    await w.broker.send(message("a", 1, 7), message("b", 1, 8));
    consumer.ask();
    await w.time.pass(1_000);
    expect([consumer.seen, acks(w)]).toEqual([["a"], []]);
    consumer.ask();
    await w.time.pass(0);
    expect([consumer.seen, acks(w)]).toEqual([["a", "b"], ["puback 7"]]);
    consumer.ask();
    await w.time.pass(0);
    expect([consumer.waits, acks(w)]).toEqual([true, ["puback 7", "puback 8"]]);
  });

  test("QoS 2 is given once and completed by PUBREC and PUBCOMP", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const { consumer } = await subscribed(w);
    await w.broker.send(message("a", 2, 7));
    consumer.ask();
    await w.time.pass(0);
    expect(acks(w)).toEqual([]);
    consumer.ask();
    await w.time.pass(0);
    await w.broker.send(message("a", 2, 7, { dup: true }));
    await w.broker.send({ cmd: "pubrel", messageId: 7, reasonCode: 0 });
    expect([consumer.seen, acks(w)]).toEqual([["a"], ["pubrec 7", "pubrec 7", "pubcomp 7"]]);
    await w.broker.send(message("b", 2, 7));
    expect(consumer.seen).toEqual(["a", "b"]);
  });

  test("a loop that breaks off has taken its message, closes the subscription and acknowledges what it took", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const { subscription } = await subscribed(w);
    await w.broker.send(message("a", 1, 7), message("b", 1, 8));
    const texts: string[] = [];
    const loop = (async () => {
      for await (const one of subscription) {
        texts.push(one.text());
        break;
      }
    })();
    await w.time.pass(0);
    const [unsubscribe] = w.broker.of("unsubscribe");
    expect([texts, acks(w), unsubscribe?.unsubscriptions]).toEqual([["a"], ["puback 7"], ["t"]]);
    await w.broker.send({ cmd: "unsuback", messageId: unsubscribe?.messageId as number, granted: [0] });
    await loop;
    expect((await subscription.next()).done).toBe(true);
  });

  test("PUBREL for an identifier that is not known is answered", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    await w.broker.send({ cmd: "pubrel", messageId: 9, reasonCode: 0 });
    expect(w.broker.of("pubcomp")).toMatchObject([{ messageId: 9, ...(protocolVersion === 5 && { reasonCode: 0x92 }) }]);
  });

  test("what comes without a subscription is acknowledged and reported when nobody came for it in time", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    await w.broker.send(message("a", 1, 7));
    await w.time.pass(9_999);
    expect([acks(w), w.dropped]).toEqual([[], []]);
    await w.time.pass(1);
    expect([acks(w), w.dropped]).toEqual([["puback 7"], ["t NO_SUBSCRIPTION"]]);
  });

  test("a whole burst is acknowledged in one write", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const { subscription } = await subscribed(w);
    const writes = w.broker.wire?.written.length ?? 0;
    void (async () => {
      for await (const one of subscription) if (one.payload.length > 5) break;
    })();
    await w.broker.send(...Array.from({ length: 50 }, (_, n) => message(`${n}`, 1, n + 1)));
    expect(acks(w)).toEqual(Array.from({ length: 50 }, (_, n) => `puback ${n + 1}`));
    expect((w.broker.wire?.written.length ?? 0) - writes).toBe(1);
  });
});

describe("acknowledging by hand", () => {
  async function taken(w: SessionWorld, subscription: Subscription, count: number): Promise<Message[]> {
    const messages: Message[] = [];
    for (let n = 0; n < count; n++) messages.push((await subscription.next()).value as Message);
    await w.time.pass(0);
    return messages;
  }

  test("acknowledgements go out in the order in which the messages came, whatever the order they are given in", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 2, "t", { manualAck: true });
    await w.broker.send(message("a", 1, 7), message("b", 2, 8), message("c", 1, 9));
    const [a, b, c] = (await taken(w, subscription, 3)) as [Message, Message, Message];
    c.ack();
    await w.time.pass(0);
    expect(acks(w)).toEqual([]);
    b.ack();
    b.ack();
    await w.time.pass(0);
    expect(acks(w)).toEqual(["pubrec 8"]);
    a.ack();
    await w.time.pass(0);
    expect(acks(w)).toEqual(["pubrec 8", "puback 7", "puback 9"]);
  });

  test("an acknowledgement for an earlier connection stays at home, and the repetition is not given again", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 2, "t", { manualAck: true });
    await w.broker.send(message("a", 1, 7), message("b", 2, 8), message("c", 2, 9), message("d", 1, 10));
    const [a, b, c, d] = (await taken(w, subscription, 4)) as [Message, Message, Message, Message];
    await w.cut();
    a.ack();
    b.ack();
    await w.connect({ sessionPresent: true });
    expect(acks(w)).toEqual([]);
    await w.broker.send(
      message("a", 1, 7, { dup: true }),
      message("b", 2, 8, { dup: true }),
      message("c", 2, 9, { dup: true }),
      message("d", 1, 10, { dup: true }),
    );
    expect([acks(w), subscription.buffered]).toEqual([["puback 7", "pubrec 8"], 0]);
    d.ack();
    c.ack();
    await w.time.pass(0);
    expect(acks(w).slice(2)).toEqual(["puback 10", "pubrec 9"]);
  });

  test("an identifier that carries a new message on a new session is given, and the old one is not acknowledged in its place", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 2, "t", { manualAck: true });
    await w.broker.send(message("old", 2, 7));
    const [old] = (await taken(w, subscription, 1)) as [Message];
    await w.cut();
    await w.connect({ sessionPresent: false });
    await w.broker.send(message("new", 2, 7));
    old.ack();
    await w.time.pass(0);
    expect([acks(w), subscription.buffered]).toEqual([[], 1]);
    const [fresh] = (await taken(w, subscription, 1)) as [Message];
    fresh.ack();
    await w.time.pass(0);
    expect(acks(w)).toEqual(["pubrec 7"]);
  });
});

test("QoS 2 sent again without DUP, as aedes does, is the same message: the identifier says so", async () => {
  const w = world();
  await w.connect();
  const { subscription } = await subscribed(w, 2, "t", { manualAck: true });
  await w.broker.send(message("once", 2, 7), message("twice", 1, 8));
  await w.cut();
  await w.connect({ sessionPresent: true });
  await w.broker.send(message("once", 2, 7), message("twice", 1, 8));
  expect(subscription.buffered).toBe(3);
});

test("QoS 1 sent again under another message's identifier, as RabbitMQ does on a new connection, is not taken for that message", async () => {
  const w = world();
  await w.connect();
  const { subscription } = await subscribed(w, 1, "t", { manualAck: true });
  await w.broker.send(message("a", 1, 2));
  const { value: first } = await subscription.next();
  await w.cut();
  await w.connect({ sessionPresent: true });
  await w.broker.send(message("a", 1, 1, { dup: true }), message("b", 1, 2, { dup: true }));
  first?.ack();
  const texts: string[] = [];
  while (subscription.buffered > 0) texts.push((await subscription.next()).value?.text() ?? "");
  expect([texts, acks(w)]).toEqual([["a", "b"], []]);
});

describe("identifiers on a new session are new, also those of", () => {
  test("messages the application still has", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 2, "t", { manualAck: true });
    await w.broker.send(message("old", 1, 7), message("old", 2, 8));
    await w.cut();
    await w.connect({ sessionPresent: false });
    await w.broker.send(message("new", 1, 7, { dup: true }), message("new", 2, 8, { dup: true }));
    expect(subscription.buffered).toBe(4);
  });

  test("messages that were received and not released", async () => {
    const w = world();
    await w.connect();
    const { subscription, consumer } = await subscribed(w);
    await w.broker.send(message("old", 2, 7));
    consumer.ask();
    await w.time.pass(0);
    consumer.ask();
    await w.time.pass(0);
    expect(acks(w)).toEqual(["pubrec 7"]);
    await w.cut();
    await w.connect({ sessionPresent: false });
    await w.broker.send(message("new", 2, 7));
    expect([consumer.seen, subscription.buffered]).toEqual([["old", "new"], 0]);
  });
});

describe("flow control", () => {
  test("a broker that forgets the receive maximum is put up with where the application asked for none", async () => {
    const w = world();
    await w.connect();
    const { consumer } = await subscribed(w);
    const count = 500;
    await w.broker.send(...Array.from({ length: count }, (_, n) => message(String(n), 1, n + 1)));
    for (let n = 0; n <= count; n++) {
      consumer.ask();
      await w.time.pass(0);
    }
    expect(w.broker.received[0]).toMatchObject({ properties: { receiveMaximum: 64 } });
    expect(consumer.seen).toEqual(Array.from({ length: count }, (_, n) => String(n)));
    expect(acks(w)).toHaveLength(count);
  });

  test("what was outstanding on one connection does not count on the next", async () => {
    const w = world({ receiveMaximum: 2 });
    await w.connect();
    await subscribed(w);
    await w.broker.send(message("a", 1, 1), message("b", 1, 2));
    await w.cut();
    await w.connect({ sessionPresent: false });
    await w.broker.send(message("c", 1, 3), message("d", 1, 4));
    expect(w.client.connected).toBe(true);
  });

  test("a broker that uses one identifier for several messages at a time is disconnected: the limit counts identifiers", async () => {
    for (const second of [message("b", 1, 7), message("b", 2, 7), message("b", 1, 7, { topic: "u" })]) {
      const w = world({ receiveMaximum: 2 });
      await w.connect();
      await subscribed(w, 2, "#");
      await w.broker.send(message("a", 1, 7), second);
      await w.time.pass(0);
      expect(w.broker.of("disconnect")).toMatchObject([{ reasonCode: 0x82 }]);
    }
  });

  test("a broker that sends more than the receive maximum is disconnected with 0x93", async () => {
    const w = world({ receiveMaximum: 2 });
    await w.connect();
    await subscribed(w);
    await w.broker.send(message("a", 1, 1), message("b", 2, 2), message("c", 1, 3));
    await w.time.pass(0);
    expect(w.broker.of("disconnect")).toMatchObject([{ reasonCode: 0x93 }]);
    expect(w.ends).toMatchObject([{ code: "RECEIVE_MAXIMUM_EXCEEDED" }]);
  });

  test("a QoS 2 message counts until PUBCOMP", async () => {
    const w = world({ receiveMaximum: 1 });
    await w.connect();
    const { consumer } = await subscribed(w);
    consumer.ask();
    await w.broker.send(message("a", 2, 1));
    consumer.ask();
    await w.broker.send({ cmd: "pubrel", messageId: 1, reasonCode: 0 });
    await w.broker.send(message("b", 2, 2));
    expect(w.client.connected).toBe(true);
    await w.broker.send(message("c", 2, 3));
    expect(w.client.connected).toBe(false);
  });

  test("in 3.1.1 the memory for messages nobody takes is bounded too", async () => {
    const w = world({ protocolVersion: 4, receiveMaximum: 2, inboundBytes: 0x4000_0000 });
    await w.connect();
    await subscribed(w);
    await w.broker.send(...Array.from({ length: 16_384 }, (_, n) => message("a", 1, n + 1)));
    expect(w.client.connected).toBe(true);
    await w.broker.send(message("a", 1, 20_000));
    expect(w.ends).toMatchObject([{ code: "RECEIVE_MAXIMUM_EXCEEDED" }]);
  });

  test("QoS 0 beyond the buffer is dropped and reported, in messages and in bytes", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 0, "t", { bufferSize: 2, bufferBytes: 20 });
    await w.broker.send(message("a", 0), message("b", 0), message("c", 0));
    expect([subscription.buffered, w.dropped]).toEqual([2, ["t BUFFER_FULL"]]);
    await subscription.next();
    await w.broker.send(message("x".repeat(30), 0));
    expect([subscription.buffered, w.dropped.length]).toEqual([1, 2]);
  });

  test("a long queue is taken in order", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w, 0);
    await w.broker.send(...Array.from({ length: 3_000 }, (_, n) => message(`${n}`, 0)));
    for (let n = 0; n < 3_000; n++) expect(((await subscription.next()).value as Message).text()).toBe(`${n}`);
  });
});

describe("subscribing", () => {
  test("all options of 5.0 are sent, and none of them in 3.1.1", async () => {
    const options = {
      qos: 1 as const,
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 2 as const,
      subscriptionIdentifier: 200,
      userProperties: [["a", "b"]] as const,
    };
    for (const protocolVersion of [4, 5] as const) {
      const w = world({ protocolVersion });
      await w.connect();
      w.client.subscribe("t", options);
      await w.time.pass(0);
      const [packet] = w.broker.of("subscribe");
      expect(packet?.subscriptions).toEqual([
        protocolVersion === 5 ? { topic: "t", qos: 1, nl: true, rap: true, rh: 2 } : { topic: "t", qos: 1 },
      ]);
      expect(packet?.properties).toEqual(protocolVersion === 5 ? { subscriptionIdentifier: 200, userProperties: { a: "b" } } : undefined);
    }
  });

  test("made offline it is sent with the connection; it is sent again only when the session is gone", async () => {
    const w = world();
    const subscription = w.client.subscribe("t", { qos: 1 });
    const granted = watch(subscription.granted);
    await w.connect();
    expect(granted.state).toBe("pending");
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] });
    expect(granted).toEqual({ state: "resolved", value: 1 });
    await w.cut();
    await w.connect({ sessionPresent: true });
    expect(w.broker.of("subscribe")).toEqual([]);
    await w.cut();
    await w.connect({ sessionPresent: false });
    expect(w.broker.of("subscribe")).toHaveLength(1);
  });

  test("made on a connection of 3.1.1 it is sent again on one of 5.0, although the session is there: only then come its options", async () => {
    const w = world({ protocolVersion: 4 });
    await w.connect();
    await subscribed(w, 1, "t", { noLocal: true });
    await w.cut();
    Object.assign(w.broker, { version: 5 });
    w.client.configure({ protocolVersion: 5 });
    await w.connect({ sessionPresent: true });
    const [packet] = w.broker.of("subscribe");
    expect(packet?.subscriptions).toMatchObject([{ topic: "t", qos: 1, nl: true }]);
    await w.broker.send({ cmd: "suback", messageId: packet?.messageId as number, granted: [1] });
    await w.cut();
    await w.connect({ sessionPresent: true });
    expect(w.broker.of("subscribe")).toEqual([]);
  });

  test("without an answer it is sent again although the session is there", async () => {
    const w = world();
    w.client.subscribe("t");
    await w.connect();
    await w.cut();
    await w.connect({ sessionPresent: true });
    expect(w.broker.of("subscribe")).toHaveLength(1);
  });

  test("it is asked for again when a CONNECT went unanswered: the session that is present then may be a new one that nobody heard of", async () => {
    const w = world();
    await w.connect();
    await subscribed(w);
    await w.cut();
    const lost = watch(w.client.connect(w.broker.dial));
    await w.time.pass(0);
    await w.cut();
    expect(lost.state).toBe("CONNECTION_RESET");
    await w.connect({ sessionPresent: true });
    expect(w.broker.of("subscribe")).toMatchObject([{ subscriptions: [{ topic: "t", rh: 1 }] }]);
    await w.cut();

    await w.connect({ sessionPresent: true });
    await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]?.messageId as number, granted: [2] });
    await w.cut();
    const refused = watch(w.client.connect(w.broker.dial));
    await w.broker.connack({ reasonCode: 0x97 });
    expect(refused.state).toBe("QUOTA_EXCEEDED");
    await w.connect({ sessionPresent: true });
    expect(w.broker.of("subscribe")).toEqual([]);
  });

  test("refused, it ends with the broker's reason for all who wait for it", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t");
    const next = watch(subscription.next());
    await w.time.pass(0);
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [0x87] });
    await expect(subscription.granted).rejects.toMatchObject({ name: "RefusedError", code: "NOT_AUTHORIZED", reasonCode: 0x87 });
    expect(next.state).toBe("NOT_AUTHORIZED");
    await expect(subscription.next()).rejects.toMatchObject({ code: "NOT_AUTHORIZED" });
    w.client.subscribe("t");
  });

  test.each([
    ["wildcards", "wildcardSubscriptionAvailable", "a/+", {}, 0xa2],
    ["shared subscriptions", "sharedSubscriptionAvailable", "$share/g/a", {}, 0x9e],
    ["subscription identifiers", "subscriptionIdentifiersAvailable", "a", { subscriptionIdentifier: 1 }, 0xa1],
  ])("a broker that says it has no %s is not asked for them, for it would disconnect", async (_, property, filter, options, reasonCode) => {
    const w = world();
    const early = w.client.subscribe(filter, options);
    await w.connect({ properties: { [property]: false } });
    const late = w.client.subscribe(filter, options);
    w.client.subscribe("b");
    await w.time.pass(0);
    for (const one of [early, late]) await expect(one.granted).rejects.toMatchObject({ name: "RefusedError", reasonCode });
    expect(w.broker.of("subscribe")).toMatchObject([{ subscriptions: [{ topic: "b" }] }]);

    const kept = w.client.subscribe("c");
    await w.cut();
    await w.connect();
    expect(w.broker.of("subscribe").map(({ subscriptions }) => (subscriptions as { topic: string }[])[0]?.topic)).toEqual(["b", "c"]);
    expect(w.client.subscribe(filter, options)).not.toBe(kept);
    await w.time.pass(0);
    expect(w.broker.of("subscribe")).toHaveLength(3);
  });

  test("refused on a later connection, it is asked for again on the next", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w);
    await w.cut();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]?.messageId as number, granted: [0x97] });
    await w.cut();
    await w.connect({ sessionPresent: true });
    expect([w.broker.of("subscribe").length, await subscription.granted]).toEqual([1, 2]);
  });

  test("refused, what came before (of a session from earlier) is still to be taken, then it ends; nothing is acknowledged untaken", async () => {
    const w = world();
    await w.connect();
    const consumer = new Consumer(w.client.subscribe("t", { qos: 1 }));
    await w.time.pass(0);
    await w.broker.send(message("a", 1, 7), message("b", 1, 8));
    consumer.ask();
    await w.time.pass(0);
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [0x87] });
    expect([consumer.seen, acks(w)]).toEqual([["a"], []]);
    for (let more = 0; more < 2; more++) {
      consumer.ask();
      await w.time.pass(0);
    }
    expect([consumer.seen, acks(w)]).toEqual([
      ["a", "b", "error"],
      ["puback 7", "puback 8"],
    ]);
  });

  test("too large for the broker, it fails here; what the connection carries goes on", async () => {
    const w = world({ protocolVersion: 5 });
    await w.connect({ properties: { maximumPacketSize: 100 } });
    const large = w.client.subscribe("large", { userProperties: [["a", "x".repeat(100)]] });
    await expect(large.granted).rejects.toMatchObject({ name: "HawserError", code: "PACKET_TOO_LARGE" });
    w.client.subscribe("small");
    await w.time.pass(0);
    expect(w.broker.of("subscribe").map(({ messageId, subscriptions }) => [messageId, subscriptions])).toMatchObject([
      [2, [{ topic: "small" }]],
    ]);
    await w.cut();
    await w.connect();
    expect(w.broker.of("subscribe")).toHaveLength(1);
  });

  test("refused and closed, it gives up what waits when nobody else comes for it", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send(message("a", 1, 7), { cmd: "suback", messageId: 1, granted: [0x87] });
    await subscription.close();
    await w.time.pass(10_000);
    expect([acks(w), w.broker.of("unsubscribe")]).toEqual([["puback 7"], []]);
    expect(await subscription.next()).toEqual({ value: undefined, done: true });
  });

  test("a SUBACK with a code that is none, or with two, is a protocol error", async () => {
    for (const granted of [Uint8Array.of(0x90, 4, 0, 1, 0, 3), Uint8Array.of(0x90, 5, 0, 1, 0, 1, 1)]) {
      const w = world();
      await w.connect();
      w.client.subscribe("t");
      await w.time.pass(0);
      await w.broker.send(granted);
      expect(w.ends).toMatchObject([{ code: "PROTOCOL_ERROR" }]);
    }
  });

  test("bad filters, bad options and a filter that is taken are refused", () => {
    const w = world();
    for (const filter of ["", "a/#/b", "a+", "$share/g", "$share//f", "$share/+/f"]) {
      expect(() => w.client.subscribe(filter)).toThrowError(expect.objectContaining({ code: "INVALID_FILTER" }));
    }
    for (const options of [{ subscriptionIdentifier: 0 }, { bufferSize: 0 }, { qos: 3 as 2 }]) {
      expect(() => w.client.subscribe("t", options)).toThrowError(expect.objectContaining({ code: "BAD_OPTION" }));
    }
    expect(() => w.client.subscribe("$share/g/t", { noLocal: true })).toThrowError(expect.objectContaining({ code: "BAD_OPTION" }));
    w.client.subscribe("t");
    expect(() => w.client.subscribe("t")).toThrowError(expect.objectContaining({ code: "ALREADY_SUBSCRIBED" }));
  });

  test("confirming asks the broker once more and tells its answer, without retained messages", async () => {
    const w = world();
    await w.connect();
    await expect(w.client.confirm("t")).rejects.toMatchObject({ code: "NOT_SUBSCRIBED" });
    await subscribed(w);
    const answer = w.client.confirm("t");
    await w.time.pass(0);
    expect(w.broker.of("subscribe").at(-1)?.subscriptions).toMatchObject([{ topic: "t", rh: 1 }]);
    await w.broker.send({ cmd: "suback", messageId: 2, granted: [0x87] });
    expect(await answer).toBe(0x87);
    const cutOff = watch(w.client.confirm("t"));
    await w.cut();
    expect(cutOff.state).toBe("NOT_CONNECTED");
    await expect(w.client.confirm("t")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
  });
});

describe("closing a subscription", () => {
  test("offline it settles with the next connection: by UNSUBSCRIBE when the session is there", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w);
    await w.cut();
    const closed = watch(subscription.close());
    expect(watch(subscription.close()).state).toBe("pending");
    await w.connect({ sessionPresent: true });
    expect([closed.state, w.broker.of("unsubscribe").length]).toEqual(["pending", 1]);
    await w.broker.send({ cmd: "unsuback", messageId: w.broker.of("unsubscribe")[0]?.messageId as number, granted: [0x11] });
    expect(closed.state).toBe("resolved");
  });

  test("offline it settles without UNSUBSCRIBE when the session is gone", async () => {
    const w = world();
    await w.connect();
    const { subscription } = await subscribed(w);
    await w.cut();
    const closed = watch(subscription.close());
    await w.connect();
    expect([closed.state, w.broker.received.length]).toEqual(["resolved", 1]);
  });

  test("the same filter can be subscribed to again at once, behind the UNSUBSCRIBE", async () => {
    const w = world();
    await w.connect();
    await subscribed(w);
    void w.client.unsubscribe("t");
    const again = w.client.subscribe("t", { qos: 1 });
    await w.time.pass(0);
    expect(w.broker.received.slice(2).map(({ cmd, messageId }) => `${cmd} ${messageId}`)).toEqual(["unsubscribe 2", "subscribe 3"]);
    await w.broker.send({ cmd: "unsuback", messageId: 2, granted: [0] }, { cmd: "suback", messageId: 3, granted: [1] });
    expect(await again.granted).toBe(1);
  });

  test("closed before it was granted, it says so, and who waits for messages is told the end", async () => {
    const w = world();
    const subscription = w.client.subscribe("t");
    const next = watch(subscription.next());
    void subscription.close();
    await expect(subscription.granted).rejects.toMatchObject({ code: "SUBSCRIPTION_CLOSED" });
    expect(next).toMatchObject({ state: "resolved", value: { done: true } });
  });

  test("an answer to a subscription that was closed meanwhile is let pass", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t");
    void subscription.close();
    await w.time.pass(0);
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [0] });
    expect(w.client.connected).toBe(true);
  });
});

describe("whom a message is for", () => {
  test("every subscription that matches gets it, and it is acknowledged when all have taken it", async () => {
    const w = world();
    await w.connect();
    const one = await subscribed(w, 1, "t");
    const all = await subscribed(w, 1, "#");
    await subscribed(w, 1, "other/+");
    await w.broker.send(message("a", 1, 7));
    one.consumer.ask();
    await w.time.pass(0);
    one.consumer.ask();
    await w.time.pass(0);
    expect([one.consumer.seen, acks(w)]).toEqual([["a"], []]);
    all.consumer.ask();
    await w.time.pass(0);
    all.consumer.ask();
    await w.time.pass(0);
    expect([all.consumer.seen, acks(w)]).toEqual([["a"], ["puback 7"]]);
  });

  test("subscription identifiers tell copies for different subscriptions apart", async () => {
    const w = world();
    await w.connect();
    const one = await subscribed(w, 0, "t", { subscriptionIdentifier: 1 });
    const two = await subscribed(w, 0, "+", { subscriptionIdentifier: 2 });
    await w.broker.send(
      message("for one", 0, 0, { properties: { subscriptionIdentifier: 1 } }),
      message("for two", 0, 0, { properties: { subscriptionIdentifier: 2 } }),
    );
    for (const { consumer } of [one, two]) {
      consumer.ask();
      await w.time.pass(0);
      consumer.ask();
      await w.time.pass(0);
    }
    expect([one.consumer.seen, two.consumer.seen]).toEqual([["for one"], ["for two"]]);
  });

  test("a shared subscription gets what its filter matches", async () => {
    const w = world();
    await w.connect();
    const { consumer } = await subscribed(w, 0, "$share/group/+");
    consumer.ask();
    await w.broker.send(message("a", 0));
    expect(consumer.seen).toEqual(["a"]);
  });

  test("topic aliases stand for their topics as long as the connection lasts", async () => {
    const w = world({ topicAliasMaximum: 2 });
    await w.connect();
    const { consumer } = await subscribed(w, 0);
    consumer.ask();
    await w.broker.send(
      message("a", 0, 0, { properties: { topicAlias: 2 } }),
      message("b", 0, 0, { topic: "", properties: { topicAlias: 2 } }),
    );
    consumer.ask();
    await w.time.pass(0);
    expect(consumer.seen).toEqual(["a", "b"]);
    await w.cut();
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("c", 0, 0, { topic: "", properties: { topicAlias: 2 } }));
    expect(w.ends.at(-1)).toMatchObject({ code: "PROTOCOL_ERROR" });
  });

  test.each([0, 3])("topic alias %i, which is not allowed, is answered with 0x94", async (topicAlias) => {
    const w = world({ topicAliasMaximum: 2 });
    await w.connect();
    await w.broker.send(message("a", 0, 0, { properties: { topicAlias } }));
    await w.time.pass(0);
    expect([w.ends[0]?.code, w.broker.of("disconnect")[0]?.reasonCode]).toEqual(["TOPIC_ALIAS_INVALID", 0x94]);
  });
});

test("this client's own aliases are told once and used from then on, on each connection anew", async () => {
  const w = world({ outgoingTopicAliases: 5 });
  for (let connection = 0; connection < 2; connection++) {
    await w.connect({ properties: { topicAliasMaximum: 2 } });
    for (const topic of ["x", "y", "z", "x", "y"]) await w.client.publish(topic, "p");
    await w.time.pass(0);
    expect(
      w.broker.of("publish").map(({ topic, properties }) => [topic, (properties as { topicAlias?: number } | undefined)?.topicAlias]),
    ).toEqual([
      ["x", 1],
      ["y", 2],
      ["z", undefined],
      ["", 1],
      ["", 2],
    ]);
    await w.cut();
  }
});

test("a message that is not text says so", async () => {
  const w = world();
  await w.connect();
  const { subscription } = await subscribed(w, 0);
  await w.broker.send(Uint8Array.of(0x30, 5, 0, 1, 116, 0, 0xff));
  const { value } = await subscription.next();
  expect(() => (value as Message).text()).toThrowError(expect.objectContaining({ code: "NOT_UTF8" }));
  expect((value as Message).properties).toEqual({});
});

test("with several iterators at once each message goes to one of them, and all are acknowledged", async () => {
  const w = world();
  await w.connect();
  const { subscription } = await subscribed(w);
  const nexts = [subscription.next(), subscription.next()];
  await w.broker.send(message("a", 1, 7), message("b", 1, 8));
  expect((await Promise.all(nexts)).map(({ value }) => (value as Message).text())).toEqual(["a", "b"]);
  void subscription.next();
  await w.time.pass(0);
  expect(acks(w)).toEqual(["puback 7", "puback 8"]);
});

test("a subscription carries an identifier, unless the application leaves them out", async () => {
  for (const [options, isNamed] of [
    [{}, true],
    [{ subscriptionIdentifiers: false }, false],
  ] as const) {
    const w = world(options);
    await w.connect();
    w.client.subscribe("a");
    await w.time.pass(0);
    expect(
      (w.broker.of("subscribe")[0]?.properties as { subscriptionIdentifier?: number } | undefined)?.subscriptionIdentifier !== undefined,
    ).toBe(isNamed);
  }
});
