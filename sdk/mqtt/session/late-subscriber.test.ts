import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../test/support/mqtt/memory-storage.js";
import type { LibraryPacket, PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { MqttOptions } from "../contract/options.js";
import type { Subscription } from "../contract/incoming-messages.js";

const library = mqttPacket as unknown as PacketLibrary;
const world = (options: Partial<MqttOptions> = {}, storage?: MemoryStorage): SessionWorld => new SessionWorld(library, options, storage);
const message = (topic: string, messageId: number, payload = `${messageId}`, more: object = {}): LibraryPacket => ({
  cmd: "publish",
  topic,
  payload,
  qos: 1,
  retain: false,
  dup: false,
  messageId,
  ...more,
});
const acks = (w: SessionWorld): (number | undefined)[] => w.broker.of("puback").map(({ messageId }) => messageId);

/** Takes everything, and acknowledges each when it asks for the next. */
function taking(subscription: Subscription): string[] {
  const texts: string[] = [];
  void (async () => {
    for await (const one of subscription) texts.push(`${one.topic} ${one.text()}`);
  })();
  return texts;
}

describe("messages that come before somebody subscribes", () => {
  for (const protocolVersion of [4, 5] as const) {
    test(`wait unacknowledged for who subscribes within ten seconds, in their order (version ${protocolVersion})`, async () => {
      const w = world({ protocolVersion });
      await w.connect({ sessionPresent: true });
      await w.broker.send(message("a/1", 1), message("b", 2), message("a/2", 3));
      await w.time.pass(9_000);
      expect([acks(w), w.dropped]).toEqual([[], []]);
      const texts = taking(w.client.subscribe("a/+", { qos: 1 }));
      await w.time.pass(500);
      expect(texts).toEqual(["a/1 1", "a/2 3"]);
      await w.time.pass(500);
      expect([acks(w), w.dropped]).toEqual([[1, 2, 3], ["b NO_SUBSCRIPTION"]]);
    });
  }

  test("at QoS 2 are completed only when somebody has them", async () => {
    const w = world();
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("a", 1, "x", { qos: 2 }));
    expect(w.broker.of("pubrec")).toEqual([]);
    taking(w.client.subscribe("a", { qos: 2 }));
    await w.time.pass(0);
    expect(w.broker.of("pubrec")).toHaveLength(1);
  });

  test("are not waited for again on a topic for which nobody came, until somebody subscribes to anything", async () => {
    const w = world();
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("old", 1));
    await w.time.pass(10_000);
    await w.broker.send(message("old", 2));
    expect(acks(w)).toEqual([1, 2]);
    w.client.subscribe("other");
    await w.broker.send(message("old", 3));
    expect(acks(w)).toEqual([1, 2]);
  });

  test("wait in no larger number than allowed, and in no more bytes, but for one alone", async () => {
    const w = world({ unclaimed: { maxMessages: 2, maxBytes: 20 } });
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("a", 1, "x".repeat(100)), message("b", 2, "x"));
    expect(w.dropped).toEqual(["b NO_SUBSCRIPTION"]);
    const other = world({ unclaimed: { maxMessages: 2 } });
    await other.connect({ sessionPresent: true });
    await other.broker.send(message("a", 1), message("b", 2), message("c", 3));
    expect(other.dropped).toEqual(["c NO_SUBSCRIPTION"]);
  });

  test("are left to the broker when the connection ends, which sends them again", async () => {
    const w = world();
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("a", 1));
    await w.cut();
    await w.time.pass(60_000);
    expect(w.dropped).toEqual([]);
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("a", 1, "1", { dup: true }));
    expect(taking(w.client.subscribe("a", { qos: 1 }))).toEqual([]);
    await w.time.pass(0);
    expect(acks(w)).toEqual([1]);
  });

  test("do not keep back, when this side disconnects, the acknowledgement of what was taken behind them", async () => {
    const w = world();
    taking(w.client.subscribe("mine", { qos: 1 }));
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("old", 1), message("mine", 2));
    expect(acks(w)).toEqual([]);
    void w.client.disconnect();
    await w.time.pass(0);
    expect([acks(w), w.dropped]).toEqual([[2], []]);
  });

  test("are dropped at once where no grace is wanted", async () => {
    const w = world({ unclaimed: { graceMs: 0 } });
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("a", 1));
    expect([acks(w), w.dropped]).toEqual([[1], ["a NO_SUBSCRIPTION"]]);
  });

  test("are among them those that a closed subscription had not handed over", async () => {
    const w = world();
    const first = w.client.subscribe("a", { qos: 1 });
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] }, message("a", 1), message("a", 2));
    await first.next();
    void first.close();
    await w.time.pass(0);
    expect(acks(w)).toEqual([1]);
    const texts = taking(w.client.subscribe("a", { qos: 1 }));
    await w.time.pass(0);
    expect([texts, acks(w)]).toEqual([["a 2"], [1, 2]]);
  });

  test.each([{ graceMs: -1 }, { maxMessages: 1.5 }, { maxBytes: NaN }])("%o is no option", (unclaimed) => {
    expect(() => world({ unclaimed })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
  });
});

describe("the messages that no subscription takes", () => {
  test("come through the iterator over the others, what waited for it too", async () => {
    const w = world();
    taking(w.client.subscribe("mine", { qos: 1 }));
    await w.connect({ sessionPresent: true });
    await w.broker.send(message("other", 1), message("mine", 2));
    const rest = w.client.messages();
    const texts = taking(rest);
    await w.broker.send(message("more", 3, "3", { qos: 0, messageId: 0 }));
    expect(texts).toEqual(["other 1", "more 3"]);
    expect(() => w.client.messages()).toThrow(expect.objectContaining({ code: "ALREADY_SUBSCRIBED" }) as Error);
    await rest.close();
    expect(w.broker.of("unsubscribe")).toEqual([]);
    expect(() => w.client.messages()).not.toThrow();
  });

  test("go to onMessage, and are acknowledged when it is done with them, also when it throws", async () => {
    const w = world();
    await w.connect({ sessionPresent: true });
    const steps: (() => void)[] = [];
    w.client.onMessage = (one) => {
      if (one.text() === "2") throw new Error("no");
      return new Promise<void>((resolve) => steps.push(resolve));
    };
    await w.broker.send(message("a", 1), message("a", 2));
    expect(acks(w)).toEqual([]);
    steps[0]?.();
    await w.time.pass(0);
    expect(acks(w)).toEqual([1, 2]);
  });
});

describe("subscriptions that overlap, in 5.0", () => {
  async function two(connack = {}): Promise<{ w: SessionWorld; identifiers: number[]; all: string[]; one: string[] }> {
    const w = world();
    const all = taking(w.client.subscribe("t/#", { qos: 1 }));
    const one = taking(w.client.subscribe("t/a", { qos: 1 }));
    await w.connect(connack);
    const subscribes = w.broker.of("subscribe");
    for (const { messageId } of subscribes) await w.broker.send({ cmd: "suback", messageId: messageId as number, granted: [1] });
    return {
      w,
      all,
      one,
      identifiers: subscribes.map(
        ({ properties }) => (properties as { subscriptionIdentifier?: number } | undefined)?.subscriptionIdentifier ?? 0,
      ),
    };
  }

  test("get each message once, from a broker that sends a copy for each and from one that sends a single one", async () => {
    const { w, all, one, identifiers } = await two();
    for (const [n, subscriptionIdentifier] of identifiers.entries())
      await w.broker.send(message("t/a", n + 1, "copy", { properties: { subscriptionIdentifier } }));
    expect([all, one]).toEqual([["t/a copy"], ["t/a copy"]]);
    await w.broker.send(message("t/a", 3, "single", { properties: { subscriptionIdentifier: identifiers } }));
    expect([all, one]).toEqual([
      ["t/a copy", "t/a single"],
      ["t/a copy", "t/a single"],
    ]);
  });

  test("keep their identifiers in every program, whatever the order they are made in", async () => {
    const { identifiers } = await two();
    const w = world();
    w.client.subscribe("t/a", { qos: 1 });
    w.client.subscribe("t/#", { qos: 1 });
    await w.connect();
    expect(
      w.broker.of("subscribe").map(({ properties }) => (properties as { subscriptionIdentifier: number }).subscriptionIdentifier),
    ).toEqual([...identifiers].reverse());
  });

  test("have none where the broker knows none, and identifiers that mean nothing here are not looked at", async () => {
    const { w, all, one, identifiers } = await two({ properties: { subscriptionIdentifiersAvailable: false } });
    expect(identifiers).toEqual([0, 0]);
    await w.broker.send(message("t/a", 1, "x", { properties: { subscriptionIdentifier: 268_435_455 } }));
    expect([all.length, one.length]).toEqual([1, 1]);
  });
});

describe("unsubscribing", () => {
  test("takes filters that nobody here subscribed to, several in one packet, with properties, and tells the codes", async () => {
    const w = world();
    const mine = taking(w.client.subscribe("mine"));
    await w.connect({ sessionPresent: true });
    const left = watch(w.client.unsubscribe(["mine", "old/#", "never"], { userProperties: [["why", "update"]] }));
    await w.time.pass(0);
    expect(w.broker.of("unsubscribe")).toMatchObject([
      { unsubscriptions: ["mine", "old/#", "never"], properties: { userProperties: { why: "update" } } },
    ]);
    await w.broker.send({
      cmd: "unsuback",
      messageId: w.broker.of("unsubscribe")[0]?.messageId as number,
      granted: [0, 0, 0x11],
      properties: { reasonString: "bye" },
    });
    expect(left).toMatchObject({ state: "resolved", value: { reasonCodes: [0, 0, 0x11], properties: { reasonString: "bye" } } });
    await w.broker.send(message("mine", 1));
    expect([mine, w.client.filters]).toEqual([[], []]);
  });

  test("rejects what is no filter, and tells zeros in 3.1.1", async () => {
    const w = world({ protocolVersion: 4 });
    await w.connect();
    await expect(w.client.unsubscribe(["a", "b\n"])).rejects.toMatchObject({ code: "INVALID_FILTER" });
    const left = watch(w.client.unsubscribe(["a", "b"]));
    await w.time.pass(0);
    await w.broker.send({ cmd: "unsuback", messageId: 1 });
    expect(left).toMatchObject({ state: "resolved", value: { reasonCodes: [0, 0] } });
  });
});

describe("what an earlier firmware subscribed to", () => {
  test("is remembered by storage, told, and gone when it is unsubscribed from", async () => {
    const storage = new MemoryStorage();
    const first = world({}, storage);
    first.client.subscribe("v1/#");
    first.client.subscribe("both");
    await first.connect();
    await first.broker.send({ cmd: "suback", messageId: 1, granted: [0] }, { cmd: "suback", messageId: 2, granted: [0] });
    const later = world({}, storage.afterReboot());
    later.client.subscribe("both");
    expect(later.client.leftoverFilters).toEqual(["v1/#"]);
    await later.connect({ sessionPresent: true });
    void later.client.unsubscribe(later.client.leftoverFilters);
    await later.time.pass(0);
    await later.broker.send({ cmd: "unsuback", messageId: later.broker.of("unsubscribe")[0]?.messageId as number, granted: [0] });
    expect(later.client.leftoverFilters).toEqual([]);
  });

  test("is nothing when the broker has lost the session, or when another client identifier left it", async () => {
    const storage = new MemoryStorage();
    const first = world({}, storage);
    first.client.subscribe("v1/#");
    await first.connect();
    await first.broker.send({ cmd: "suback", messageId: 1, granted: [0] });
    expect(world({ clientId: "other" }, storage.afterReboot()).client.leftoverFilters).toEqual([]);
    const later = world({}, storage.afterReboot());
    await later.connect({ sessionPresent: false });
    expect(later.client.leftoverFilters).toEqual([]);
  });
});
