import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../test/support/mqtt/session-world.js";
import type { MqttOptions } from "./contract/options.js";

const library = mqttPacket as unknown as PacketLibrary;
const refused = (code: string, words: string): Error =>
  expect.objectContaining({ code, message: expect.stringContaining(words) as string }) as Error;

describe("a slip is told at once, by its name:", () => {
  test.each<[Record<string, unknown>, string]>([
    [{ keepalive: 5 }, "keepalive is not an option here: did you mean keepAliveSeconds?"],
    [{ clientId: 5 }, "clientId must be text"],
    [{ clientId: undefined }, "clientId is missing"],
    [{ keepAliveSeconds: "60" }, 'keepAliveSeconds must be a whole number from 0 to 65535 (got "60")'],
    [{ username: "u", password: "x".repeat(65_536) }, "password must be text or a Uint8Array of at most 65535 bytes"],
    [{ username: "u", password: 5 }, "password must be text"],
    [{ will: { topic: "t" } }, "will.payload is missing"],
    [{ will: { topic: "t", payload: "", qos: 3 } }, "will.qos must be 0, 1 or 2 (got 3)"],
    [
      { outbox: { maxMessages: 1, maxBytes: 1, overflow: "newest" } },
      'outbox.overflow must be "reject", "drop-oldest" or "replace-by-topic" (got "newest")',
    ],
    [{ connectProperties: { requestProblemInformation: 1 } }, "connectProperties.requestProblemInformation must be true or false"],
    [{ authentication: { method: "m", start: 1 } }, "authentication must be an object with"],
  ])("%o of the client", (options, words) => {
    expect(() => new SessionWorld(library, options as Partial<MqttOptions>)).toThrow(refused("BAD_OPTION", words));
  });

  test.each<[unknown[], string, string]>([
    [[undefined, "x"], "INVALID_TOPIC", "undefined must be a string"],
    [[5, "x"], "INVALID_TOPIC", "5 must be a string"],
    [["t", "x", { qos: 3 }], "BAD_OPTION", "qos must be 0, 1 or 2 (got 3)"],
    [["t", "x", { QoS: 1 }], "BAD_OPTION", "QoS is not an option here: did you mean qos?"],
    [["t", "x", { retain: "yes" }], "BAD_OPTION", "retain must be true or false"],
    [["t", "x", null], "BAD_OPTION", "must be an object"],
    [["t", 5, { qos: 1 }], "BAD_OPTION", "payload"],
    [["t", "x", { qos: 1, properties: { correlationData: "text" } }], "BAD_PROPERTY", "correlationData"],
    [["t", "x", { qos: 1, properties: { payloadFormatIndicator: 1 } }], "BAD_PROPERTY", "payloadFormatIndicator"],
    [["t", "x", { qos: 1, properties: { topicAlias: 1 } }], "BAD_PROPERTY", "use payloadFormatIndicator"],
    [["t", "x", { qos: 1, properties: { userProperties: ["a", "b"] } }], "BAD_PROPERTY", "userProperties"],
    [["t", "x", { qos: 1, properties: { userProperties: { a: 5 } } }], "BAD_PROPERTY", "userProperties"],
  ])("publish(%o)", async (given, code, words) => {
    const { client } = new SessionWorld(library);
    await expect(client.publish(...(given as Parameters<typeof client.publish>))).rejects.toThrow(refused(code, words));
    expect(client.pending.messages).toBe(0);
  });

  test.each<[unknown[], string, string]>([
    [[undefined], "INVALID_FILTER", "must be a string"],
    [["t", { qos: 3 }], "BAD_OPTION", "qos must be 0, 1 or 2 (got 3)"],
    [["t", { QOS: 1 }], "BAD_OPTION", "did you mean qos?"],
    [["t", { retainHandling: 5 }], "BAD_OPTION", "retainHandling must be 0, 1 or 2"],
    [["t", { subscriptionIdentifier: 0 }], "BAD_OPTION", "subscriptionIdentifier must be a whole number from 1"],
    [["t", { bufferSize: "many" }], "BAD_OPTION", "bufferSize"],
    [["$share/g/t", { noLocal: true }], "BAD_OPTION", "noLocal must be false for a shared subscription"],
  ])("subscribe(%o)", (given, code, words) => {
    const { client } = new SessionWorld(library);
    expect(() => client.subscribe(...(given as Parameters<typeof client.subscribe>))).toThrow(refused(code, words));
  });

  test.each<[Record<string, unknown>, string, string]>([
    [{ reasonCode: 0x87 }, "BAD_OPTION", "reasonCode"],
    [{ sessionExpirySeconds: -1 }, "BAD_OPTION", "sessionExpirySeconds"],
    [{ sessionExpirySeconds: 5 }, "BAD_OPTION", "must be 0 if it was 0 in CONNECT"],
    [{ reasonString: "x".repeat(70_000) }, "BAD_OPTION", "reasonString must be text"],
    [{ userProperties: { a: "x".repeat(70_000) } }, "BAD_PROPERTY", "userProperties"],
  ])("disconnect(%o), and the connection stays", async (options, code, words) => {
    const world = new SessionWorld(library);
    await world.connect();
    await expect(world.client.disconnect(options)).rejects.toThrow(refused(code, words));
    expect([world.client.connected, world.ends]).toEqual([true, []]);
  });
});

test("user properties in the form of an object are taken everywhere, with several values of a name", async () => {
  const userProperties = { a: "1", b: ["2", "3"] };
  const world = new SessionWorld(library, {
    connectProperties: { userProperties },
    will: { topic: "w", payload: "", properties: { userProperties } },
  });
  await world.connect();
  void world.client.publish("t", "x", { qos: 1, properties: { userProperties } });
  world.client.subscribe("f", { userProperties });
  await world.time.pass(0);
  const seen = { a: "1", b: ["2", "3"] };
  const [connect, publish, subscribe] = world.broker.received as { properties?: object; will?: { properties?: object } }[];
  expect([connect?.properties, connect?.will?.properties]).toMatchObject([{ userProperties: seen }, { userProperties: seen }]);
  expect([publish?.properties, subscribe?.properties]).toMatchObject([{ userProperties: seen }, { userProperties: seen }]);
  void world.client.disconnect({ userProperties });
  await world.time.pass(0);
  expect(world.broker.of("disconnect")).toMatchObject([{ properties: { userProperties: seen } }]);
});

describe("CONNECT", () => {
  test("names no limit that the application wants left out", async () => {
    const world = new SessionWorld(library, { announceMaximumPacketSize: false, receiveMaximum: 65_535 });
    await world.connect();
    expect(world.broker.received[0]?.properties ?? {}).toEqual({});
  });
});

describe("the broker's Maximum Packet Size", () => {
  const LONG = "a/very/long/topic/filter/that/is/longer/than/thirty/bytes";

  test("binds SUBSCRIBE, UNSUBSCRIBE and DISCONNECT too", async () => {
    const world = new SessionWorld(library, { sessionExpirySeconds: 60 });
    const before = world.client.subscribe(LONG);
    await world.connect({ properties: { maximumPacketSize: 300 } });
    await world.broker.send({ cmd: "suback", messageId: 1, granted: [0] });
    await world.cut();
    await world.connect({ sessionPresent: true, properties: { maximumPacketSize: 30 } });
    await expect(world.client.subscribe(`${LONG}/x`).granted).rejects.toMatchObject({ code: "PACKET_TOO_LARGE" });
    const closed = watch(before.close());
    await world.time.pass(0);
    expect(closed.state).toBe("resolved");
    void world.client.disconnect({ sessionExpirySeconds: 5, reasonString: "x".repeat(100) });
    await world.time.pass(0);
    expect(world.broker.received.map(({ cmd }) => cmd)).toEqual(["connect", "disconnect"]);
    expect(world.broker.of("disconnect")).toMatchObject([{ properties: { sessionExpiryInterval: 5 } }]);
    expect(world.broker.of("disconnect")[0]).not.toHaveProperty("properties.reasonString");
  });

  test("of a byte or four allows no connection, and what waits waits on", async () => {
    for (const maximumPacketSize of [1, 4]) {
      const world = new SessionWorld(library);
      const published = watch(world.client.publish("t", "x", { qos: 1 }));
      const connected = world.client.connect(world.broker.dial);
      await world.broker.connack({ properties: { maximumPacketSize } });
      await expect(connected).rejects.toMatchObject({ code: "CAPABILITY_NOT_SUPPORTED" });
      expect([published.state, world.client.pending.messages, world.broker.received.length]).toEqual(["pending", 1, 1]);
    }
  });
});

test("the will is published on request, in 3.1.1 by leaving without DISCONNECT", async () => {
  for (const protocolVersion of [4, 5] as const) {
    const world = new SessionWorld(library, { protocolVersion, will: { topic: "w", payload: "" } });
    await world.connect();
    void world.client.disconnect({ reasonCode: 4 });
    await world.time.pass(0);
    expect(world.broker.of("disconnect")).toMatchObject(protocolVersion === 5 ? [{ reasonCode: 4 }] : []);
    expect(world.broker.wire?.isClosed).toBe(true);
  }
});
