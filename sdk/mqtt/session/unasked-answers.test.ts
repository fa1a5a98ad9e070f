import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";
import { ManualTime, testPlatform } from "../../../test/support/mqtt/manual-time.js";
import { ScriptedBroker } from "../../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { RefusedError } from "../contract/connect-error.js";
import { MqttClient } from "../client.js";

const library = mqttPacket as unknown as PacketLibrary;

async function connected(protocolVersion: 4 | 5, connack = {}, options = {}): Promise<SessionWorld> {
  const world = new SessionWorld(library, { protocolVersion, ...options });
  await world.connect(connack);
  return world;
}

const bytes = (...all: number[]): Uint8Array => Uint8Array.of(...all);

describe.each([4, 5] as const)("an answer to nothing, in version %i,", (version) => {
  const short = version === 5 ? [0] : [];
  test.each([
    ["PUBACK", bytes(0x40, 2, 0x12, 0x67)],
    ["PUBREC", bytes(0x50, 2, 0x12, 0x67)],
    ["PUBREL", bytes(0x62, 2, 0x12, 0x67)],
    ["PUBCOMP", bytes(0x70, 2, 0x12, 0x67)],
    ["SUBACK", bytes(0x90, 3 + short.length, 0x12, 0x67, ...short, 0)],
    ["UNSUBACK", bytes(0xb0, 2 + short.length, 0x12, 0x67, ...short)],
    ["PINGRESP", bytes(0xd0, 0)],
  ])("%s ends no connection", async (_, packet) => {
    const world = await connected(version);
    await world.broker.send(packet, packet);
    expect(world.ends).toEqual([]);
    const published = watch(world.client.publish("t", "x", { qos: 1 }));
    await world.time.pass(0);
    await world.broker.send({ cmd: "puback", messageId: 1, reasonCode: 0 });
    expect(published.state).toBe("resolved");
  });

  test("twice the same settles its message once", async () => {
    const world = await connected(version);
    const [one, two] = [watch(world.client.publish("a", "1", { qos: 1 })), watch(world.client.publish("b", "2", { qos: 2 }))];
    await world.time.pass(0);
    const puback = { cmd: "puback", messageId: 1, reasonCode: 0 };
    const pubrec = { cmd: "pubrec", messageId: 2, reasonCode: 0 };
    const pubcomp = { cmd: "pubcomp", messageId: 2, reasonCode: 0 };
    await world.broker.send(puback, puback, pubrec, pubrec, pubcomp, pubcomp);
    expect([one.state, two.state, world.ends, world.client.pending.messages]).toEqual(["resolved", "resolved", [], 0]);
  });
});

test("it is written down once a connection, however many come", async () => {
  const time = new ManualTime();
  const broker = new ScriptedBroker(library, time, 5);
  const lines: string[] = [];
  const platform = { ...testPlatform(time), log: (_level: string, message: string) => void lines.push(message) };
  const client = new MqttClient(
    { clientId: "c", protocolVersion: 5, cleanStart: true, keepAliveSeconds: 0, connackTimeoutMs: 1_000 },
    platform,
  );
  void client.connect(broker.dial);
  await broker.connack();
  for (let count = 0; count < 10; count++) await broker.send(bytes(0x40, 2, 0, 9), bytes(0x70, 2, 0, 9));
  expect(lines).toEqual(["the broker acknowledged what was not asked"]);
});

test("a PUBREC that refuses what is not known here is not answered by PUBREL", async () => {
  const world = await connected(5);
  await world.broker.send({ cmd: "pubrec", messageId: 9, reasonCode: 0x80 });
  expect([world.broker.of("pubrel"), world.ends]).toEqual([[], []]);
});

describe("a reason code that answers nothing", () => {
  test.each([
    ["PUBACK", 1, bytes(0x40, 3, 0, 1, 0xff)],
    ["PUBACK", 1, bytes(0x40, 3, 0, 1, 0x01)],
    ["PUBREC", 2, bytes(0x50, 3, 0, 1, 0x11)],
    ["PUBREC", 2, bytes(0x50, 3, 0, 1, 0xff)],
  ] as const)("in %s of QoS %i is a protocol error, and the message is not called delivered", async (_, qos, packet) => {
    const world = await connected(5);
    const published = watch(world.client.publish("t", "x", { qos }));
    await world.time.pass(0);
    await world.broker.send(packet);
    expect(world.ends).toMatchObject([{ code: "PROTOCOL_ERROR", reasonCode: 0x82 }]);
    expect([published.state, world.client.pending.messages]).toEqual(["pending", 1]);
  });

  test.each([bytes(0x90, 4, 0, 1, 0, 3), bytes(0x90, 4, 0, 1, 0, 0xff)])("in SUBACK is a protocol error", async (packet) => {
    const world = await connected(5);
    world.client.subscribe("a");
    await world.time.pass(0);
    await world.broker.send(packet);
    expect(world.ends).toMatchObject([{ code: "PROTOCOL_ERROR" }]);
  });

  test("of 3.1.1 is a refusal from 128 on, whatever it is", async () => {
    for (const code of [0x80, 0x87, 0xff]) {
      const world = await connected(4);
      const subscription = world.client.subscribe("a");
      await world.time.pass(0);
      await world.broker.send(bytes(0x90, 3, 0, 1, code));
      await expect(subscription.granted).rejects.toMatchObject({ name: "RefusedError", reasonCode: code });
      expect(world.ends).toEqual([]);
    }
  });
});

test("a refusal carries the broker's words and properties", async () => {
  const world = await connected(5);
  const published = world.client.publish("t", "x", { qos: 1 });
  const subscription = world.client.subscribe("a");
  await world.time.pass(0);
  const properties = { reasonString: "over\nquota", userProperties: { left: "0" } };
  await world.broker.send(
    { cmd: "puback", messageId: 1, reasonCode: 0x97, properties },
    { cmd: "suback", messageId: 2, granted: [0x87], properties: { reasonString: "no" } },
  );
  const refused = await published.catch((error: unknown) => error as RefusedError);
  expect(refused).toMatchObject({ code: "QUOTA_EXCEEDED", reasonString: "over\nquota", properties: { userProperties: [["left", "0"]] } });
  expect((refused as RefusedError).message).toBe("the broker refused the message to t: quota exceeded (over quota)");
  await expect(subscription.granted).rejects.toMatchObject({ reasonCode: 0x87, reasonString: "no" });
});

test("a message sent again with DUP introduces no alias", async () => {
  const properties = { topicAliasMaximum: 5 };
  const world = await connected(5, { properties });
  void world.client.publish("long/topic", "x", { qos: 1 }).catch(() => undefined);
  await world.time.pass(0);
  expect(world.broker.of("publish")).toMatchObject([{ topic: "long/topic", properties: { topicAlias: 1 } }]);
  await world.cut();
  await world.connect({ sessionPresent: true, properties });
  void world.client.publish("long/topic", "y", { qos: 1 });
  await world.time.pass(0);
  const [again, next] = world.broker.of("publish");
  expect([again?.dup, again?.topic, (again?.properties as { topicAlias?: number } | undefined)?.topicAlias]).toEqual([
    true,
    "long/topic",
    undefined,
  ]);
  expect(next).toMatchObject({ topic: "long/topic", properties: { topicAlias: 1 } });
});

test("a response topic that nobody can answer to is refused, from the application and from the broker", async () => {
  const world = await connected(5);
  for (const responseTopic of ["", "a/+", "#"]) {
    await expect(world.client.publish("t", "x", { properties: { responseTopic } })).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    expect(() => world.client.requester(responseTopic)).toThrow(expect.objectContaining({ code: "INVALID_TOPIC" }) as Error);
  }
  await world.broker.send(bytes(0x30, 9, 0, 1, 0x61, 4, 8, 0, 1, 0x2b, 0x78));
  expect(world.ends).toMatchObject([{ code: "PROTOCOL_ERROR" }]);
});

test("an UNSUBACK without reason codes is taken for success", async () => {
  const world = await connected(5);
  const left = watch(world.client.unsubscribe("a"));
  await world.time.pass(0);
  await world.broker.send(bytes(0xb0, 3, 0, 1, 0));
  expect([left.state, world.ends]).toEqual(["resolved", []]);
});
