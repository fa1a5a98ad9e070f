/** Messages in the same flight as CONNECT: which ones, when, and what becomes of them whatever the broker answers. */
import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { MemoryStorage } from "../../test/support/mqtt/memory-storage.js";
import type { PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../test/support/mqtt/session-world.js";
import type { MqttOptions, PublishOptions } from "./contract/options.js";

const library = mqttPacket as unknown as PacketLibrary;

function world(options: Partial<MqttOptions> = {}, storage?: MemoryStorage): SessionWorld {
  const w = new SessionWorld(library, { messagesWithConnect: 2, ...options }, storage);
  w.broker.resumes = true;
  return w;
}

/** What reached the broker before it answered anything. */
async function firstFlight(w: SessionWorld): Promise<string[]> {
  w.client.connect(w.broker.dial).catch(() => undefined);
  await w.time.pass(0);
  expect(w.broker.wire?.written).toHaveLength(1);
  return w.broker.received.map(({ cmd, topic }) => (cmd === "publish" ? `${cmd} ${topic as string}` : cmd));
}

const ids = (w: SessionWorld): number[] => w.broker.of("publish").map(({ messageId }) => messageId as number);

describe.each([4, 5] as const)("messages with CONNECT, in version %i,", (protocolVersion) => {
  test("go in one piece with it where the TLS session was resumed, no more than wanted, and are sent once", async () => {
    const w = world({ protocolVersion });
    const results = ["a", "b", "c"].map((topic) => watch(w.client.publish(topic, "1", { qos: 1 })));
    expect(await firstFlight(w)).toEqual(["connect", "publish a", "publish b"]);
    expect(w.broker.of("publish").map(({ dup }) => dup)).toEqual([false, false]);
    const early = ids(w);
    await w.broker.connack();
    expect(w.broker.received.map(({ cmd }) => cmd)).toEqual(["connect", "publish", "publish", "publish"]);
    for (const messageId of ids(w)) await w.broker.send({ cmd: "puback", messageId, reasonCode: 0 });
    expect([early.length, results.map(({ state }) => state), w.client.pending.messages]).toEqual([2, Array(3).fill("resolved"), 0]);
  });

  test("settle when CONNACK and PUBACK come in one read", async () => {
    const w = world({ protocolVersion });
    const result = watch(w.client.publish("a", "1", { qos: 1 }));
    await firstFlight(w);
    const code = protocolVersion === 5 ? "reasonCode" : "returnCode";
    await w.broker.send(
      { cmd: "connack", sessionPresent: true, [code]: 0 },
      { cmd: "puback", messageId: ids(w)[0] as number, reasonCode: 0 },
    );
    expect([result.state, w.client.connected, w.ends]).toEqual(["resolved", true, []]);
  });

  test("wait for CONNACK after a full handshake, and without the option", async () => {
    const full = world({ protocolVersion });
    full.broker.resumes = false;
    const none = new SessionWorld(library, { protocolVersion });
    none.broker.resumes = true;
    for (const w of [full, none]) {
      void w.client.publish("a", "1", { qos: 1 });
      expect(await firstFlight(w)).toEqual(["connect"]);
      await w.broker.connack();
      expect(w.broker.of("publish")).toHaveLength(1);
    }
  });

  const LARGE = "x".repeat(1_100);
  test.each<[string, string, PublishOptions]>([
    ["of QoS 2", "1", { qos: 2 }],
    ["that are retained", "1", { qos: 1, retain: true }],
    ["of more than 1 KiB", LARGE, { qos: 1 }],
    ["of QoS 0", "1", { qos: 0, queue: true }],
  ])("wait for CONNACK %s, and what comes behind them too", async (_, payload, options) => {
    const w = world({ protocolVersion });
    void w.client.publish("first", payload, options);
    void w.client.publish("second", "1", { qos: 1 });
    expect(await firstFlight(w)).toEqual(["connect"]);
    await w.broker.connack();
    expect(w.broker.of("publish").map(({ topic }) => topic)).toEqual(["first", "second"]);
  });

  test("are those that were never sent: what an earlier connection may have delivered is sent after CONNACK, before the others", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    void w.client.publish("old", "1", { qos: 1 });
    await w.time.pass(0);
    await w.cut();
    void w.client.publish("new", "1", { qos: 1 });
    expect(await firstFlight(w)).toEqual(["connect"]);
    await w.broker.connack({ sessionPresent: true });
    expect(w.broker.of("publish").map(({ topic, dup }) => [topic, dup])).toEqual([
      ["old", true],
      ["new", false],
    ]);
  });

  test("go again, once, when the attempt ended before CONNACK; the next attempt waits, the one after it does not", async () => {
    const w = world({ protocolVersion });
    const result = watch(w.client.publish("a", "1", { qos: 1 }));
    expect(await firstFlight(w)).toEqual(["connect", "publish a"]);
    await w.cut();
    expect([result.state, w.client.pending]).toEqual(["pending", expect.objectContaining({ messages: 1, inFlight: 0 })]);
    expect(await firstFlight(w)).toEqual(["connect"]);
    await w.broker.connack();
    // This broker's session is new: it cannot have seen the message.
    expect(w.broker.of("publish").map(({ dup }) => dup)).toEqual([false]);
    await w.broker.send({ cmd: "puback", messageId: ids(w)[0] as number, reasonCode: 0 });
    await w.cut();
    void w.client.publish("b", "1", { qos: 1 });
    expect([result.state, await firstFlight(w)]).toEqual(["resolved", ["connect", "publish b"]]);
  });

  test("are not lost when the broker refuses the connection", async () => {
    const w = world({ protocolVersion });
    const result = watch(w.client.publish("a", "1", { qos: 1 }));
    await firstFlight(w);
    await w.broker.connack({ [protocolVersion === 5 ? "reasonCode" : "returnCode"]: protocolVersion === 5 ? 0x87 : 5 });
    expect([result.state, w.client.pending.messages]).toEqual(["pending", 1]);
  });

  test("are told apart from what the broker has after a power cut before CONNACK", async () => {
    const storage = new MemoryStorage();
    const w = world({ protocolVersion, persistent: true }, storage);
    void w.client.publish("a", "kept", { qos: 1, queue: true });
    await firstFlight(w);
    const [messageId] = ids(w);
    const later = world({ protocolVersion, persistent: true }, storage.afterReboot());
    // The broker may have it by now: it is sent again under its identifier.
    await later.connect({ sessionPresent: true });
    expect(later.broker.of("publish").map(({ topic, messageId: id }) => [topic, id])).toEqual([["a", messageId]]);
  });
});

test("nothing but AUTH goes before CONNACK where authentication is enhanced (MQTT 5.0, section 3.1.2.11.9)", async () => {
  const w = world({ authentication: { method: "SCRAM-SHA-256", start: () => undefined, respond: () => undefined } });
  void w.client.publish("a", "1", { qos: 1 });
  expect(await firstFlight(w)).toEqual(["connect"]);
});

test("no topic alias is used before the broker has said how many it takes", async () => {
  const w = world({ outgoingTopicAliases: 8 });
  await w.connect({ properties: { topicAliasMaximum: 8 } });
  void w.client.publish("a", "1", { qos: 1 });
  await w.time.pass(0);
  for (const messageId of ids(w)) await w.broker.send({ cmd: "puback", messageId, reasonCode: 0 });
  await w.cut();
  void w.client.publish("a", "2", { qos: 1 });
  await firstFlight(w);
  expect(w.broker.of("publish").map(({ topic, properties }) => [topic, properties])).toEqual([["a", undefined]]);
});
