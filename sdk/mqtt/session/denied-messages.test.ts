/** A message that the broker denies just before it ends the connection was accepted, and is delivered later. */
import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import { MemoryStorage } from "../../../test/support/mqtt/memory-storage.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { MqttOptions } from "../contract/options.js";

const library = mqttPacket as unknown as PacketLibrary;
const GRACE_MS = 5_000;
const DENIED = 0x87;

async function connected(options: Partial<MqttOptions> = {}, storage?: MemoryStorage): Promise<SessionWorld> {
  const w = new SessionWorld(library, { denialGraceMs: GRACE_MS, sessionExpirySeconds: 60, ...options }, storage);
  await w.connect();
  return w;
}

/** Answers everything that was published and is not answered. */
async function answer(w: SessionWorld, reasonCode: number, from = 0): Promise<void> {
  await w.time.pass(0);
  for (const { messageId, qos } of w.broker.of("publish").slice(from))
    await w.broker.send({ cmd: qos === 2 ? "pubrec" : "puback", messageId: messageId as number, reasonCode });
}

const published = (w: SessionWorld): string[] =>
  w.broker.of("publish").map(({ topic, payload, dup }) => `${String(topic)} ${String(payload)}${dup === true ? " dup" : ""}`);

test.each([1, 2] as const)(
  "goes again as new at QoS %i, before what was published later, when the connection ends within the grace time",
  async (qos) => {
    const w = await connected();
    const outcomes = ["one", "two"].map((payload) => watch(w.client.publish("t", payload, { qos })));
    await answer(w, DENIED);
    await w.time.pass(GRACE_MS - 1);
    outcomes.push(watch(w.client.publish("t", "three", { qos })));
    await w.time.pass(0);
    await w.cut();
    expect([outcomes.map(({ state }) => state), w.dropped, w.client.pending.messages]).toEqual([["pending", "pending", "pending"], [], 3]);
    await w.connect({ sessionPresent: true });
    expect(published(w)).toEqual(["t one", "t two", "t three dup"]);
  },
);

test("is given up with its reason when the connection lives on", async () => {
  const w = await connected();
  const awaited = watch(w.client.publish("t", "one", { qos: 1 }));
  void w.client.publish("u", "two", { qos: 2, queue: true });
  await answer(w, DENIED);
  await w.time.pass(GRACE_MS - 1);
  expect([awaited.state, w.dropped]).toEqual(["pending", []]);
  await w.time.pass(1);
  expect([awaited.state, w.dropped, w.client.pending.messages]).toEqual(["NOT_AUTHORIZED", ["t NOT_AUTHORIZED", "u NOT_AUTHORIZED"], 0]);
});

test("is given up at once when a later one of its topic is accepted, or three others are", async () => {
  const w = await connected();
  const outcomes = ["t", "u"].map((topic) => watch(w.client.publish(topic, "x", { qos: 1 })));
  await answer(w, DENIED);
  const states = async (topic: string): Promise<string[]> => {
    const from = w.broker.of("publish").length;
    void w.client.publish(topic, "x", { qos: 1 });
    await answer(w, 0, from);
    return outcomes.map(({ state }) => state);
  };
  expect(await states("t")).toEqual(["NOT_AUTHORIZED", "pending"]);
  expect(await states("v")).toEqual(["NOT_AUTHORIZED", "pending"]);
  expect(await states("v")).toEqual(["NOT_AUTHORIZED", "NOT_AUTHORIZED"]);
});

test("is not denied for ever by a broker that also ends each connection", async () => {
  const w = await connected();
  const awaited = watch(w.client.publish("t", "x", { qos: 1 }));
  for (let n = 0; n < 6; n++) {
    await answer(w, DENIED);
    if (n < 5) {
      await w.cut();
      await w.connect({ sessionPresent: true });
    }
  }
  expect(awaited.state).toBe("NOT_AUTHORIZED");
});

test("makes room for new ones in a full outbox, whatever becomes of those otherwise", async () => {
  const w = await connected({ outbox: { maxMessages: 1, maxBytes: 1_000, overflow: "reject" } });
  const denied = watch(w.client.publish("t", "old", { qos: 1 }));
  await answer(w, DENIED);
  const next = watch(w.client.publish("u", "new", { qos: 1 }));
  await answer(w, 0, 1);
  expect([denied.state, next.state]).toEqual(["NOT_AUTHORIZED", "resolved"]);
});

test("can be seen and discarded meanwhile, and outlives a reboot", async () => {
  const storage = new MemoryStorage();
  const w = await connected({ persistent: true }, storage);
  void w.client.publish("t", "x", { qos: 1, queue: true });
  await answer(w, DENIED);
  expect(w.client.outbox()).toMatchObject([{ topic: "t", state: "waiting" }]);
  const later = new SessionWorld(library, { denialGraceMs: GRACE_MS, persistent: true }, storage.afterReboot());
  expect(later.client.outbox()).toMatchObject([{ topic: "t", state: "waiting" }]);
  expect([w.client.discard(() => true), w.client.pending.messages]).toEqual([1, 0]);
  await w.time.pass(GRACE_MS);
  expect(w.dropped).toEqual(["t MESSAGE_DISCARDED"]);
});

test("is final at once without a grace time", async () => {
  const w = await connected({ denialGraceMs: 0 });
  const awaited = watch(w.client.publish("t", "x", { qos: 1 }));
  await answer(w, DENIED);
  expect(awaited.state).toBe("NOT_AUTHORIZED");
});
