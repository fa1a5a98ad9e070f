import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { Wire } from "../../../test/support/mqtt/wire.js";
import type { MqttOptions } from "../index.js";
import type { Subscription } from "../contract/incoming-messages.js";

const library = mqttPacket as unknown as PacketLibrary;
const KILOBYTE = 1_000;

async function connected(options: Partial<MqttOptions> = {}): Promise<{ w: SessionWorld; subscription: Subscription }> {
  const w = new SessionWorld(library, { inboundBytes: 13_000, sessionExpirySeconds: 60, ...options });
  const subscription = w.client.subscribe("t", { qos: 1 });
  await w.connect();
  await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] });
  return { w, subscription };
}

const message = (messageId: number, sizeBytes = KILOBYTE): { cmd: string } & Record<string, unknown> => {
  return { cmd: "publish", topic: "t", payload: Buffer.alloc(sizeBytes, messageId), qos: 1, messageId, retain: false, dup: false };
};
const from = (first: number, count: number): ReturnType<typeof message>[] => Array.from({ length: count }, (_, i) => message(first + i));
const wire = (w: SessionWorld): Wire => w.broker.wire as Wire;

async function take(w: SessionWorld, subscription: Subscription, count: number): Promise<number[]> {
  const taken: number[] = [];
  for (let i = 0; i < count; i++) {
    const next = await subscription.next();
    if (next.done !== true) taken.push(next.value.payload[0] as number);
    await w.time.pass(0);
  }
  return taken;
}

describe("an application that takes no messages", () => {
  test("has the link stop reading, in the middle of a piece, and go on when it has taken half", async () => {
    const { w, subscription } = await connected();
    await w.broker.send(...from(1, 30));
    expect([wire(w).isPaused, subscription.buffered]).toEqual([true, 10]);
    expect(await take(w, subscription, 4)).toEqual([1, 2, 3, 4]);
    expect(wire(w).isPaused).toBe(true);
    expect(await take(w, subscription, 26)).toEqual(Array.from({ length: 26 }, (_, i) => 5 + i));
    expect([wire(w).isPaused, w.ends, w.broker.wires.length]).toEqual([false, [], 1]);
  });

  test("does not have a dead link suspected while nothing is read", async () => {
    const { w } = await connected({ keepAliveSeconds: 5 });
    await w.broker.send(...from(1, 11));
    await w.time.pass(29_000);
    expect([wire(w).isPaused, w.ends]).toEqual([true, []]);
  });

  test("leaves what comes with the broker after half a minute, and hears all else", async () => {
    const { w, subscription } = await connected();
    await w.broker.send(...from(1, 30));
    await w.time.pass(31_000);
    expect([wire(w).isPaused, subscription.buffered]).toEqual([false, 10]);
    await w.broker.send(...from(31, 200));
    const published = watch(w.client.publish("up", "x", { qos: 1 }));
    await w.time.pass(0);
    const { messageId } = w.broker.of("publish")[0] as { messageId: number };
    await w.broker.send({ cmd: "puback", messageId, reasonCode: 0 });
    expect([published.state, subscription.buffered, w.ends, w.broker.of("puback").length]).toEqual(["resolved", 10, [], 0]);
    // It comes back to it: the broker repeats on the next connection only.
    await take(w, subscription, 7);
    expect(w.ends).toMatchObject([{ code: "CLOSED_LOCALLY" }]);
    expect(w.broker.of("disconnect")).toHaveLength(1);
    await w.connect({ sessionPresent: true });
    await w.broker.send(...from(7, 20).map((one) => ({ ...one, dup: true })));
    expect(await take(w, subscription, 10)).toEqual([8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
  });

  test("is heard again when it took what there was before anything had been left with the broker", async () => {
    const { w, subscription } = await connected();
    await w.broker.send(...from(1, 10));
    void w.client.publish("up", "x", { qos: 1 });
    // The answer is waited for: reading goes on, and nothing comes.
    await w.time.pass(1_100);
    expect(wire(w).isPaused).toBe(false);
    await take(w, subscription, 10);
    await w.broker.send(...from(11, 5));
    expect([await take(w, subscription, 5), w.ends]).toEqual([[11, 12, 13, 14, 15], []]);
  });

  test("because it waits for the broker's answer gets that within a second", async () => {
    const { w } = await connected();
    const published = watch(w.client.publish("up", "x", { qos: 1 }));
    await w.time.pass(0);
    await w.broker.send(...from(1, 30), { cmd: "puback", messageId: w.broker.of("publish")[0]?.messageId as number, reasonCode: 0 });
    expect([wire(w).isPaused, published.state]).toEqual([true, "pending"]);
    await w.time.pass(1_100);
    expect(published.state).toBe("resolved");
  });

  test("is told of what is dropped where the broker keeps no session", async () => {
    const { w, subscription } = await connected({ sessionExpirySeconds: 0 });
    await w.broker.send(...from(1, 12));
    await w.time.pass(31_000);
    expect([subscription.buffered, w.dropped]).toEqual([10, ["t BUFFER_FULL", "t BUFFER_FULL"]]);
  });

  test("holds no more over many connections, each with the same messages again or others", async () => {
    const { w, subscription } = await connected();
    for (let round = 0; round < 20; round++) {
      await w.broker.send(...from(1 + round * 30, 30));
      await w.cut();
      await w.connect({ sessionPresent: false });
      await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]?.messageId as number, granted: [1] });
    }
    expect(subscription.buffered).toBeLessThanOrEqual(30);
  });
});

test("a link that cannot be paused is read on, and what comes is left with the broker", async () => {
  const w = new SessionWorld(library, { inboundBytes: 13_000, sessionExpirySeconds: 60 });
  const subscription = w.client.subscribe("t", { qos: 1 });
  const done = w.client.connect((handlers) => Object.assign(w.broker.dial(handlers), { pause: undefined }));
  await w.broker.connack();
  await done;
  await w.time.pass(0);
  await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] }, ...from(1, 200));
  expect([subscription.buffered, w.ends]).toEqual([10, []]);
});

test("a message of many user properties counts for what it takes of memory", async () => {
  const { w, subscription } = await connected();
  const userProperties = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, ""]));
  await w.broker.send(...Array.from({ length: 10 }, (_, i) => ({ ...message(i + 1, 0), properties: { userProperties } })));
  expect(subscription.buffered).toBe(2);
});

describe("an accepted message that the broker at hand does not take", () => {
  const cases = [{ maximumQoS: 0 }, { maximumPacketSize: 20 }, { retainAvailable: false }];
  const held = async (properties: object): Promise<{ w: SessionWorld; told: string[] }> => {
    const w = new SessionWorld(library, { heldForMs: 60_000 });
    const told: string[] = [];
    w.client.onMessageHeld = (topic, code) => void told.push(`${topic} ${code}`);
    for (const [topic, qos] of [
      ["a", 1],
      ["b", 2],
    ] as const)
      await w.client.publish(topic, "x".repeat(30), { qos, queue: true, retain: true });
    await w.connect({ properties });
    return { w, told };
  };

  test.each(cases)("because of %o waits for another broker, and this is told", async (properties) => {
    const { w, told } = await held(properties);
    expect([told.length, w.dropped, w.client.pending.messages, w.broker.of("publish")]).toEqual([2, [], 2, []]);
    await w.cut();
    await w.connect();
    expect(w.broker.of("publish")).toMatchObject([{ topic: "a" }, { topic: "b" }]);
  });

  test("is dropped after a bounded time, and others pass meanwhile", async () => {
    const { w, told } = await held({ maximumQoS: 0 });
    await w.client.publish("c", "x");
    await w.time.pass(0);
    expect(w.broker.of("publish")).toMatchObject([{ topic: "c" }]);
    await w.time.pass(61_000);
    expect([told, w.dropped, w.client.pending.messages]).toEqual([
      ["a QOS_NOT_SUPPORTED", "b QOS_NOT_SUPPORTED"],
      ["a QOS_NOT_SUPPORTED", "b QOS_NOT_SUPPORTED"],
      0,
    ]);
  });

  test("is refused at once to who waits for it", async () => {
    const { w } = await held({ maximumQoS: 0 });
    await expect(w.client.publish("d", "x", { qos: 1 })).rejects.toMatchObject({ code: "QOS_NOT_SUPPORTED" });
  });
});
