import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { failure } from "../failure.js";
import { ConnectError, type MqttOptions } from "./index.js";
import { MemoryStorage } from "../../test/support/mqtt/memory-storage.js";
import { SessionWorld, watch } from "../../test/support/mqtt/session-world.js";
import type { LibraryPacket, PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;
const world = (options: Partial<MqttOptions> = {}): SessionWorld => new SessionWorld(library, options);

/** Command and packet identifier of all that came, without CONNECT. */
function came({ broker }: SessionWorld): string[] {
  return broker.received.slice(1).map((packet) => {
    const details = packet.cmd === "publish" ? `${packet.dup === true ? " dup" : ""} ${String(packet.payload)}` : "";
    return `${packet.cmd}${packet.messageId === undefined ? "" : ` ${packet.messageId}`}${details}`;
  });
}

function ack(cmd: string, messageId: number, reasonCode = 0): LibraryPacket {
  return { cmd, messageId, reasonCode };
}

describe.each([4, 5] as const)("publishing in protocol version %i", (protocolVersion) => {
  test("QoS 0 is sent without an identifier and settles when it is sent", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    await w.client.publish("t", "a");
    await w.time.pass(0);
    expect(came(w)).toEqual(["publish a"]);
    expect(w.client.pending).toEqual({ messages: 0, bytes: 0, inFlight: 0 });
  });

  test("QoS 1 settles with PUBACK, not before", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const published = watch(w.client.publish("t", "a", { qos: 1 }));
    await w.time.pass(10);
    expect([came(w), published.state]).toEqual([["publish 1 a"], "pending"]);
    await w.broker.send(ack("puback", 1));
    expect(published).toEqual({ state: "resolved", value: { reasonCode: 0 } });
    expect(w.client.pending.inFlight).toBe(0);
  });

  test("QoS 2 goes through PUBREC, PUBREL and PUBCOMP and settles at the end", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const published = watch(w.client.publish("t", "a", { qos: 2 }));
    await w.time.pass(0);
    await w.broker.send(ack("pubrec", 1));
    expect([came(w), published.state]).toEqual([["publish 1 a", "pubrel 1"], "pending"]);
    await w.broker.send(ack("pubcomp", 1));
    expect(published.state).toBe("resolved");
  });

  test("identifiers count up from 1, and what is in use is not used again after 65535", async () => {
    const w = world({ protocolVersion, inFlightWindow: 60_000 });
    await w.connect();
    const stuck = watch(w.client.publish("t", "stuck", { qos: 1 }));
    for (let id = 2; id <= 65_535; id++) {
      void w.client.publish("t", "x", { qos: 1 });
      if (id % 900 === 0 || id === 65_535) await acknowledgeAllBut(w, 1);
    }
    const last = watch(w.client.publish("t", "after the wrap", { qos: 1 }));
    await w.time.pass(0);
    expect(came(w)[0]).toBe("publish 2 after the wrap");
    expect([stuck.state, last.state]).toEqual(["pending", "pending"]);
    await w.broker.send(ack("puback", 1), ack("puback", 2));
    expect([stuck.state, last.state]).toEqual(["resolved", "resolved"]);
  });

  test("no more than the window is in flight, and the order is kept", async () => {
    const w = world({ protocolVersion, inFlightWindow: 2 });
    await w.connect();
    for (const payload of ["a", "b", "c", "d"]) void w.client.publish("t", payload, { qos: 1 });
    void w.client.publish("t", "e");
    await w.time.pass(0);
    expect(came(w)).toEqual(["publish 1 a", "publish 2 b"]);
    await w.broker.send(ack("puback", 1));
    expect(came(w).slice(2)).toEqual(["publish 3 c"]);
    await w.broker.send(ack("puback", 2), ack("puback", 3));
    expect(came(w).slice(3)).toEqual(["publish 4 d", "publish e"]);
  });

  test("the caller may use its array again at once", async () => {
    const w = world({ protocolVersion });
    for (const payload of [Uint8Array.of(65), Buffer.from("A")]) {
      void w.client.publish("t", payload, { qos: 1 });
      payload[0] = 66;
    }
    await w.connect();
    expect(came(w)).toEqual(["publish 1 A", "publish 2 A"]);
  });

  test("PUBREC for an identifier that is not known is answered, PUBCOMP is let pass", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    await w.broker.send(ack("pubrec", 9), ack("pubcomp", 9));
    expect(w.broker.received.slice(1)).toMatchObject([{ cmd: "pubrel", messageId: 9, ...(protocolVersion === 5 && { reasonCode: 0x92 }) }]);
    expect(w.client.connected).toBe(true);
  });

  test("a PUBREC for QoS 1 is a protocol error", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    void w.client.publish("t", "a", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send(ack("pubrec", 1));
    expect(w.ends).toMatchObject([{ code: "PROTOCOL_ERROR", class: "protocol" }]);
    await w.time.pass(1);
    expect(w.broker.of("disconnect")).toMatchObject(protocolVersion === 5 ? [{ reasonCode: 0x82 }] : []);
    expect(w.broker.wire?.isClosed).toBe(true);
  });
});

async function acknowledgeAllBut(w: SessionWorld, spared: number): Promise<void> {
  while (w.client.pending.messages > 1) {
    await w.time.pass(0);
    const ids = w.broker.of("publish").map((packet) => packet.messageId as number);
    w.broker.received.length = 1;
    await w.broker.send(...ids.filter((id) => id !== spared).map((id) => ack("puback", id)));
  }
}

test("RabbitMQ's PUBACK for a QoS 2 message of 3.1.1 completes it", async () => {
  const w = world({ protocolVersion: 4 });
  await w.connect();
  const published = watch(w.client.publish("t", "a", { qos: 2 }));
  await w.time.pass(0);
  await w.broker.send(ack("puback", 1));
  expect([published.state, w.client.pending.inFlight]).toEqual(["resolved", 0]);
});

describe("what the broker refuses", () => {
  test.each([
    ["puback", 1, 0x87, "NOT_AUTHORIZED"],
    ["pubrec", 2, 0x97, "QUOTA_EXCEEDED"],
  ] as const)("a %s for QoS %i with reason code %i rejects, and the connection goes on", async (cmd, qos, reasonCode, code) => {
    const w = world();
    await w.connect();
    const published = w.client.publish("t", "a", { qos });
    await w.time.pass(0);
    const wire = cmd === "puback" ? 0x40 : 0x50;
    await w.broker.send(Uint8Array.of(wire, 3, 0, 1, reasonCode));
    await expect(published).rejects.toMatchObject({ name: "RefusedError", code, reasonCode });
    expect(w.dropped).toEqual([`t ${code}`]);
    expect([w.client.connected, w.client.pending.inFlight, w.broker.of("pubrel")]).toEqual([true, 0, []]);
  });

  test("'no matching subscribers' is a success that says so", async () => {
    const w = world();
    await w.connect();
    const published = w.client.publish("t", "a", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send(ack("puback", 1, 0x10));
    expect(await published).toEqual({ reasonCode: 0x10 });
  });

  test("what the broker's CONNACK rules out is never sent", async () => {
    const w = world({ heldForMs: 0 });
    const early = w.client.publish("t", "queued", { qos: 2 });
    await w.connect({ properties: { maximumQoS: 1, retainAvailable: false, maximumPacketSize: 60 } });
    await expect(early).rejects.toMatchObject({ code: "QOS_NOT_SUPPORTED" });
    await expect(w.client.publish("t", "x", { retain: true })).rejects.toMatchObject({ code: "RETAIN_NOT_SUPPORTED" });
    await expect(w.client.publish("t", "x".repeat(60), { qos: 1 })).rejects.toMatchObject({ code: "PACKET_TOO_LARGE" });
    await w.client.publish("t", "x".repeat(50));
    await w.time.pass(0);
    expect(came(w)).toEqual([`publish ${"x".repeat(50)}`]);
    expect(w.client.pending).toEqual({ messages: 0, bytes: 0, inFlight: 0 });
  });

  test("the broker's receive maximum bounds the window", async () => {
    const w = world();
    for (let n = 0; n < 4; n++) void w.client.publish("t", `${n}`, { qos: 1 });
    await w.connect({ properties: { receiveMaximum: 3 } });
    expect(came(w)).toHaveLength(3);
  });
});

describe("offline", () => {
  test("QoS 0 is refused, QoS 1 and 2 wait, and `queue` settles at once", async () => {
    const w = world();
    await expect(w.client.publish("t", "lost")).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    const first = watch(w.client.publish("t", "a", { qos: 1 }));
    await w.client.publish("t", "b", { qos: 2, queue: true });
    await w.client.publish("t", "c", { qos: 0, queue: true });
    expect([first.state, w.client.pending.messages]).toEqual(["pending", 3]);
    await w.connect();
    expect(came(w)).toEqual(["publish 1 a", "publish 2 b", "publish c"]);
  });

  test("bad topics are refused before anything is kept", async () => {
    const w = world();
    for (const topic of ["", "a/+", "a/#", "a\0b", "\ud800"]) {
      await expect(w.client.publish(topic, "x", { qos: 1 })).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    }
    expect(w.client.pending.messages).toBe(0);
  });

  test.each<[string, object]>([
    ["BAD_OPTION", { qos: 3 }],
    ["BAD_PROPERTY", { properties: { messageExpiryInterval: -1 } }],
    ["BAD_PROPERTY", { properties: { messageExpiryInterval: 1.5 } }],
    ["BAD_PROPERTY", { properties: { contentType: "a\0" } }],
    ["BAD_PROPERTY", { properties: { contentType: "x".repeat(65_536) } }],
    ["INVALID_TOPIC", { properties: { responseTopic: "a/#" } }],
    ["BAD_PROPERTY", { properties: { correlationData: new Uint8Array(65_536) } }],
    ["BAD_PROPERTY", { properties: { userProperties: [["a", "b\0"]] } }],
    ["BAD_PROPERTY", { properties: { userProperties: [["a", 1]] } }],
    ["BAD_PROPERTY", { properties: { topicAlias: 1 } }],
  ])("%s is what comes of publishing with %o, and nothing is kept", async (code, options) => {
    const w = world();
    await expect(w.client.publish("t", "x", { qos: 1, ...options })).rejects.toMatchObject({ code });
    expect(w.client.pending.messages).toBe(0);
  });

  test("a payload that is neither text nor bytes is refused", async () => {
    await expect(world().client.publish("t", { length: 5 } as unknown as string, { qos: 1 })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  test("a message that expired is not sent, one that waited is sent with what is left", async () => {
    const w = world();
    const short = w.client.publish("t", "short", { qos: 1, properties: { messageExpiryInterval: 5 } });
    void w.client.publish("t", "long", { qos: 1, properties: { messageExpiryInterval: 60, contentType: "x" } });
    short.catch(() => undefined);
    await w.time.pass(10_500);
    await w.connect();
    await expect(short).rejects.toMatchObject({ code: "MESSAGE_EXPIRED" });
    expect(w.dropped).toEqual(["t MESSAGE_EXPIRED"]);
    expect(w.broker.of("publish")).toMatchObject([{ messageId: 2, properties: { messageExpiryInterval: 50, contentType: "x" } }]);
  });
});

describe("the outbox when it is full", () => {
  const outbox = { maxMessages: 3, maxBytes: 10_000, overflow: "reject" as const };

  test("rejects by default", async () => {
    const w = world({ outbox });
    for (const payload of ["a", "b", "c"]) await w.client.publish("t", payload, { qos: 1, queue: true });
    await expect(w.client.publish("t", "d", { qos: 1, queue: true })).rejects.toMatchObject({ code: "OUTBOX_FULL" });
    await expect(w.client.publish("t", "x".repeat(10_000), { qos: 1 })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    expect(w.client.pending.messages).toBe(3);
  });

  test("drops the oldest that wait when told to, and tells who waits for them", async () => {
    const w = world({ outbox: { ...outbox, overflow: "drop-oldest" } });
    const first = watch(w.client.publish("t", "a", { qos: 1 }));
    for (const payload of ["b", "c", "d"]) await w.client.publish("t", payload, { qos: 1, queue: true });
    await w.time.pass(0);
    expect([first.state, w.dropped]).toEqual(["MESSAGE_DROPPED", ["t MESSAGE_DROPPED"]]);
    await w.connect();
    expect(came(w)).toEqual(["publish 2 b", "publish 3 c", "publish 4 d"]);
  });

  test("makes room in bytes by dropping as many as needed", async () => {
    const w = world({ outbox: { maxMessages: 100, maxBytes: 600, overflow: "drop-oldest" } });
    for (const payload of ["a", "b", "c"]) await w.client.publish("t", payload.repeat(100), { qos: 1, queue: true });
    await w.client.publish("t", "d".repeat(400), { qos: 1, queue: true });
    expect(w.client.pending).toMatchObject({ messages: 2, bytes: 33 + 100 + 33 + 400 });
  });

  test("replaces what waits on the same topic, and rejects where there is none", async () => {
    const w = world({ outbox: { ...outbox, overflow: "replace-by-topic" } });
    for (const topic of ["x", "y", "y"]) await w.client.publish(topic, `${topic}1`, { qos: 1, queue: true });
    await w.client.publish("x", "x2", { qos: 1, queue: true });
    await expect(w.client.publish("z", "z1", { qos: 1, queue: true })).rejects.toMatchObject({ code: "OUTBOX_FULL" });
    await w.connect();
    expect(came(w)).toEqual(["publish 2 y1", "publish 3 y1", "publish 4 x2"]);
  });

  test("what is in flight is never dropped", async () => {
    const w = world({ outbox: { ...outbox, overflow: "drop-oldest" }, inFlightWindow: 3 });
    await w.connect();
    for (const payload of ["a", "b", "c"]) void w.client.publish("t", payload, { qos: 1 });
    await expect(w.client.publish("t", "d", { qos: 1 })).rejects.toMatchObject({ code: "OUTBOX_FULL" });
    await w.cut();
    await expect(w.client.publish("t", "e", { qos: 1 })).rejects.toMatchObject({ code: "OUTBOX_FULL" });
  });
});

describe.each([4, 5] as const)("after a lost connection in protocol version %i", (protocolVersion) => {
  test("what was not acknowledged is sent again with DUP, in its order and before all else, when the session is there", async () => {
    const w = world({ protocolVersion, inFlightWindow: 4 });
    await w.connect();
    for (const [payload, qos] of [
      ["a", 1],
      ["b", 2],
      ["c", 2],
      ["d", 1],
      ["e", 1],
    ] as const)
      void w.client.publish("t", payload, { qos });
    await w.time.pass(0);
    await w.broker.send(ack("pubrec", 2), ack("puback", 4));
    await w.cut();
    void w.client.publish("t", "f", { qos: 1 });
    await w.connect({ sessionPresent: true });
    expect(came(w)).toEqual(["pubrel 2", "publish 1 dup a", "publish 3 dup c", "publish 5 dup e"]);
    await w.broker.send(ack("pubcomp", 2));
    expect(came(w).slice(4)).toEqual(["publish 6 f"]);
  });

  test("what never was sent stays behind it", async () => {
    const w = world({ protocolVersion, inFlightWindow: 2 });
    await w.connect();
    for (const payload of ["a", "b", "c", "d"]) void w.client.publish("t", payload, { qos: 1 });
    await w.cut();
    await w.connect({ sessionPresent: true });
    await w.broker.send(ack("puback", 1), ack("puback", 2));
    expect(came(w)).toEqual(["publish 1 dup a", "publish 2 dup b", "publish 3 c", "publish 4 d"]);
  });

  test("it is sent as new when the session is gone, but not what the broker had confirmed: nobody knows about that", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    const published = ["a", "b", "c"].map((payload) => watch(w.client.publish("t", payload, { qos: 2 })));
    await w.time.pass(0);
    await w.broker.send(ack("pubrec", 2));
    await w.cut();
    await w.connect({ sessionPresent: false });
    expect(came(w)).toEqual(["publish 1 a", "publish 3 c"]);
    expect(published.map(({ state }) => state)).toEqual(["pending", "SESSION_LOST", "pending"]);
  });

  test("nothing is sent again while the connection lasts", async () => {
    const w = world({ protocolVersion });
    await w.connect();
    void w.client.publish("t", "a", { qos: 1 });
    await w.time.pass(3_600_000);
    expect(came(w)).toEqual(["publish 1 a"]);
  });

  test("no more is sent again at once than the broker takes now", async () => {
    const w = world({ protocolVersion, inFlightWindow: 3 });
    await w.connect();
    for (const payload of ["a", "b", "c"]) void w.client.publish("t", payload, { qos: 1 });
    await w.cut();
    w.client.configure({ inFlightWindow: 1 });
    await w.connect({ sessionPresent: true });
    expect(came(w)).toEqual(["publish 1 dup a"]);
    await w.broker.send(ack("puback", 1));
    expect(came(w).slice(1)).toEqual(["publish 2 dup b"]);
  });
});

describe("connecting", () => {
  test("CONNECT says what the options say and nothing that is a default", async () => {
    const w = world({ receiveMaximum: 65_535, maximumPacketSizeBytes: 5_000, keepAliveSeconds: 30 });
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({ clientId: "c", clean: false, keepalive: 30, properties: { maximumPacketSize: 5_000 } });
    expect(Object.keys(w.broker.received[0]?.properties as object)).toEqual(["maximumPacketSize"]);
  });

  test("will, login and all properties are sent", async () => {
    const w = world({
      username: "u",
      password: "p",
      sessionExpirySeconds: 7,
      receiveMaximum: 5,
      topicAliasMaximum: 3,
      connectProperties: { requestResponseInformation: true, userProperties: [["a", "b"]] },
      will: { topic: "w", payload: "gone", qos: 1, retain: true, delaySeconds: 9, properties: { contentType: "text" } },
    });
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({
      username: "u",
      will: { topic: "w", qos: 1, retain: true, properties: { willDelayInterval: 9, contentType: "text" } },
      properties: {
        sessionExpiryInterval: 7,
        receiveMaximum: 5,
        topicAliasMaximum: 3,
        requestResponseInformation: true,
        userProperties: { a: "b" },
      },
    });
  });

  test("CONNACK's properties are handed on, and the broker's client id is used from then on", async () => {
    const w = world({ clientId: "", cleanStart: true });
    const connected = w.client.connect(w.broker.dial);
    await w.broker.connack({ properties: { assignedClientIdentifier: "given", responseInformation: "r" } });
    expect(await connected).toEqual({
      sessionPresent: false,
      clientId: "given",
      properties: { assignedClientIdentifier: "given", responseInformation: "r" },
    });
    await w.cut();
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({ clientId: "given" });
  });

  test("changes count from the next connection on", async () => {
    const w = world();
    await w.connect();
    w.client.configure({ username: "later", cleanStart: true });
    await w.cut();
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({ username: "later", clean: true });
  });

  test.each([
    [5, Uint8Array.of(0x20, 2, 0, 1), "UNSUPPORTED_PROTOCOL_VERSION", 1],
    [4, Uint8Array.of(0x20, 2, 0, 1), "UNSUPPORTED_PROTOCOL_VERSION", 1],
    [4, Uint8Array.of(0x20, 3, 0, 0x84, 0), "UNSUPPORTED_PROTOCOL_VERSION", 0x84],
    [5, Uint8Array.of(0x20, 3, 0, 0x84, 0), "UNSUPPORTED_PROTOCOL_VERSION", 0x84],
    [4, Uint8Array.of(0x20, 2, 0, 2), "CLIENT_ID_REJECTED", 2],
    [4, Uint8Array.of(0x20, 2, 0, 3), "SERVER_UNAVAILABLE", 3],
    [4, Uint8Array.of(0x20, 2, 0, 4), "BAD_USERNAME_OR_PASSWORD", 4],
    [4, Uint8Array.of(0x20, 2, 0, 5), "NOT_AUTHORIZED", 5],
    [5, Uint8Array.of(0x20, 3, 0, 0x87, 0), "NOT_AUTHORIZED", 0x87],
    [5, Uint8Array.of(0x20, 3, 0, 0x80, 0), "SERVER_UNAVAILABLE", 0x80],
    [5, Uint8Array.of(0x20, 3, 0, 0xee, 0), "SERVER_UNAVAILABLE", 0xee],
    [5, Uint8Array.of(0x20, 11, 0, 0x9c, 8, 0x1c, 0, 5, 98, 58, 49, 50, 51), "USE_ANOTHER_SERVER", 0x9c],
    [5, Uint8Array.of(0xd0, 0), "PROTOCOL_ERROR", 0x82],
    [5, Uint8Array.of(0xf0, 0), "PROTOCOL_ERROR", 0x82],
    [5, Uint8Array.of(0x48, 0x54, 0x54, 0x50), "MALFORMED_PACKET", 0x81],
  ] as const)("in version %i the answer %o rejects the attempt with %s", async (protocolVersion, answer, code, reasonCode) => {
    const w = world({ protocolVersion });
    const connected = w.client.connect(w.broker.dial);
    const outcome = connected.catch((error: unknown) => error);
    await w.time.pass(0);
    await w.broker.send(answer);
    const error = await outcome;
    expect(error).toBeInstanceOf(ConnectError);
    expect((error as ConnectError).failure).toMatchObject({
      code,
      reasonCode,
      ...(code === "USE_ANOTHER_SERVER" && { serverReference: "b:123" }),
    });
    expect([w.ends, w.client.connected]).toEqual([[], false]);
    await w.time.pass(1);
    expect(w.broker.wire?.isClosed).toBe(true);
    await w.connect();
    expect(w.client.connected).toBe(true);
  });

  test("an old session after a clean start is a protocol error", async () => {
    const w = world({ cleanStart: true });
    const outcome = watch(w.client.connect(w.broker.dial));
    await w.broker.connack({ sessionPresent: true });
    expect(outcome.state).toBe("PROTOCOL_ERROR");
  });

  test("no CONNACK within the bound ends the attempt", async () => {
    const w = world({ connackTimeoutMs: 700 });
    const outcome = watch(w.client.connect(w.broker.dial));
    await w.time.pass(699);
    expect(outcome.state).toBe("pending");
    await w.time.pass(1);
    expect(outcome.state).toBe("CONNECT_TIMEOUT");
    expect(w.time.timers).toBe(0);
  });

  test("the link's own failure is the attempt's", async () => {
    const w = world();
    const outcome = watch(w.client.connect(w.broker.dial));
    w.broker.wire?.cut(failure("CERTIFICATE_EXPIRED", "alert 45"));
    await w.time.pass(0);
    expect(outcome.state).toBe("CERTIFICATE_EXPIRED");
  });

  test("a second attempt beside the first is refused", async () => {
    const w = world();
    await w.connect();
    await expect(w.client.connect(w.broker.dial)).rejects.toMatchObject({ code: "ALREADY_CONNECTED" });
  });

  test("a link that throws on writing is a failed connection", async () => {
    const w = world();
    const outcome = watch(
      w.client.connect((handlers) =>
        Object.assign(w.broker.dial(handlers), {
          write: () => {
            throw new Error("broken");
          },
        }),
      ),
    );
    await w.time.pass(0);
    expect(outcome.state).toBe("CONNECTION_RESET");
  });

  test.each<[Partial<MqttOptions>, string]>([
    [{ clientId: "" }, "clientId"],
    [{ keepAliveSeconds: 65_536 }, "keepAliveSeconds"],
    [{ receiveMaximum: 0 }, "receiveMaximum"],
    [{ protocolVersion: 4, password: "p" }, "password"],
    [{ protocolVersion: 3 as 4 }, "protocolVersion"],
    [{ inFlightWindow: 1.5 }, "inFlightWindow"],
    [{ outbox: { maxMessages: 0, maxBytes: 1, overflow: "reject" } }, "maxMessages"],
    [{ username: "a\0" }, "username"],
    [{ will: { topic: "w", payload: "x".repeat(65_536) } }, "will"],
    [{ will: { topic: "w", payload: "", qos: 3 as 2 } }, "will.qos"],
    [{ persistent: true }, "persistent"],
    [{ persistent: true, receiveMaximum: 2_000 }, "receiveMaximum"],
  ])("the options %o are refused by name", (options, name) => {
    expect(() => world(options)).toThrowError(
      expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining(name) as string }),
    );
  });
});

test("a will or user properties that cannot be written are refused", () => {
  expect(() => world({ will: { topic: "a/+", payload: "" } })).toThrowError(expect.objectContaining({ code: "INVALID_TOPIC" }));
  expect(() => world({ will: { topic: "a", payload: "", delaySeconds: -1 } })).toThrowError(
    expect.objectContaining({ code: "BAD_OPTION" }),
  );
  expect(() => world({ will: { topic: "a", payload: "", properties: { contentType: "\0" } } })).toThrowError(
    expect.objectContaining({ code: "BAD_PROPERTY" }),
  );
  expect(() => world({ connectProperties: { userProperties: [["\0", ""]] } })).toThrowError(
    expect.objectContaining({ code: "BAD_PROPERTY" }),
  );
});

test("what listeners throw does not end the connection, and is logged", async () => {
  const w = world();
  w.client.onMessageDropped = () => {
    throw new Error("a listener's mistake");
  };
  w.client.onPublishSettled = () => {
    throw new Error("a listener's mistake");
  };
  await w.connect();
  const published = watch(w.client.publish("t", "x", { qos: 1 }));
  await w.time.pass(0);
  await w.broker.send(ack("puback", 1), { cmd: "publish", topic: "t", payload: "x", qos: 0 });
  expect([published.state, w.client.connected]).toEqual(["resolved", true]);
});

test("a dialer that throws is a failed attempt, and the next one can be made", async () => {
  const w = world();
  const outcome = watch(
    w.client.connect(() => {
      throw new Error("no route");
    }),
  );
  await w.time.pass(0);
  expect(outcome.state).toBe("CONNECTION_RESET");
  await w.connect();
  expect(w.client.connected).toBe(true);
});

describe("the end of a connection", () => {
  test("a link that throws when it is to take DISCONNECT has ended, and does not end the next connection", async () => {
    const w = world();
    await w.connect();
    Object.assign(w.broker.wire!, {
      write: () => {
        throw new Error("broken");
      },
    });
    await w.client.disconnect();
    await w.connect();
    await w.time.pass(60_000);
    expect([w.client.connected, w.ends.map(({ code }) => code)]).toEqual([true, ["CONNECTION_RESET"]]);
  });

  test("disconnecting sends DISCONNECT behind all that was published, and is told once", async () => {
    const w = world();
    await w.connect();
    void w.client.publish("t", "last");
    const done = w.client.disconnect();
    await w.time.pass(0);
    await done;
    expect(came(w)).toEqual(["publish last", "disconnect"]);
    expect(w.ends).toMatchObject([{ code: "CLOSED_LOCALLY", class: "local" }]);
    await w.client.disconnect();
    expect(w.ends).toHaveLength(1);
    expect(w.time.timers).toBe(0);
  });

  test("the reason and the session expiry go with DISCONNECT", async () => {
    const w = world({ sessionExpirySeconds: 60 });
    await w.connect();
    void w.client.disconnect({ reasonCode: 4, sessionExpirySeconds: 1, reasonString: "sleep", userProperties: [["a", "b"]] });
    await w.time.pass(0);
    expect(w.broker.of("disconnect")).toMatchObject([
      { reasonCode: 4, properties: { sessionExpiryInterval: 1, reasonString: "sleep", userProperties: { a: "b" } } },
    ]);
  });

  test("disconnecting during an attempt rejects the attempt", async () => {
    const w = world();
    const outcome = watch(w.client.connect(w.broker.dial));
    const done = watch(w.client.disconnect());
    await w.time.pass(0);
    expect([outcome.state, done.state, w.ends]).toEqual(["CLOSED_LOCALLY", "resolved", []]);
  });

  test("a link that never tells its end does not hold up disconnecting", async () => {
    const w = world();
    await w.connect();
    if (w.broker.wire) w.broker.wire.close = () => undefined;
    const done = watch(w.client.disconnect());
    await w.time.pass(4_999);
    expect(done.state).toBe("pending");
    await w.time.pass(1);
    expect([done.state, w.ends.length]).toEqual(["resolved", 1]);
  });

  test("aborting closes without DISCONNECT and reports the reason given", async () => {
    const w = world();
    await w.connect();
    w.client.abort(failure("CONNECT_TIMEOUT", "no proof"));
    expect(w.ends).toMatchObject([{ code: "CONNECT_TIMEOUT" }]);
    await w.time.pass(1);
    expect([came(w), w.broker.wire?.isClosed]).toEqual([[], true]);
    expect(w.ends).toHaveLength(1);
  });

  test("the broker's DISCONNECT is reported by its reason, with where to go instead", async () => {
    const w = world();
    await w.connect();
    await w.broker.send({ cmd: "disconnect", reasonCode: 0x9d, properties: { serverReference: "b:8883", reasonString: "moved\nfar" } });
    expect(w.ends).toMatchObject([
      { code: "SERVER_MOVED", reasonCode: 0x9d, serverReference: "b:8883", message: "the broker disconnected: server moved (moved far)" },
    ]);
  });

  test("what comes in one piece behind the broker's DISCONNECT is not looked at", async () => {
    const w = world();
    await w.connect();
    await w.broker.send({ cmd: "disconnect", reasonCode: 0x8b }, { cmd: "publish", topic: "t", payload: "x", qos: 1, messageId: 1 });
    expect([w.ends.map(({ code }) => code), w.dropped]).toEqual([["SERVER_SHUTTING_DOWN"], []]);
  });

  test("a malformed packet is answered with its reason code, and nothing behind it is read", async () => {
    const w = world();
    await w.connect();
    void w.client.publish("t", "a", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send(Uint8Array.of(0x36, 0), ack("puback", 1));
    await w.time.pass(0);
    expect(w.broker.of("disconnect")).toMatchObject([{ reasonCode: 0x81 }]);
    expect([w.ends.map(({ code }) => code), w.client.pending.inFlight]).toEqual([["MALFORMED_PACKET"], 0]);
    expect(w.client.pending.messages).toBe(1);
  });

  test("a packet larger than allowed that is no message is answered with 0x95", async () => {
    const w = world({ maximumPacketSizeBytes: 100 });
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: 1, granted: Array.from({ length: 100 }, () => 0) });
    expect(w.broker.of("disconnect")).toMatchObject([{ reasonCode: 0x95 }]);
    expect(w.ends).toMatchObject([{ code: "PACKET_TOO_LARGE", class: "protocol" }]);
  });

  test("a second CONNACK is a protocol error", async () => {
    const w = world();
    await w.connect();
    await w.broker.connack();
    expect(w.ends).toMatchObject([{ code: "PROTOCOL_ERROR" }]);
  });
});

describe("what seldom happens", () => {
  test("a broker does not take the client's own name away, nor give it none", async () => {
    const w = world({ clientId: "own" });
    for (const assignedClientIdentifier of ["", "another"]) {
      const connected = w.client.connect(w.broker.dial);
      await w.time.pass(0);
      await w.broker.connack({ properties: { assignedClientIdentifier } });
      expect(await connected).toMatchObject({ clientId: "own" });
      await w.cut();
    }
  });

  test("nothing goes out behind DISCONNECT, not even an acknowledgement that waited for storage", async () => {
    const w = new SessionWorld(library, { persistent: true }, new MemoryStorage());
    await w.connect();
    w.client.publish("t", "x", { qos: 2 }).catch(() => undefined);
    await w.time.pass(0);
    // PUBREC, and what is no packet.
    await w.broker.send(Uint8Array.of(0x50, 2, 0, 1, 0xff, 0));
    await w.time.pass(0);
    expect(w.broker.received.map(({ cmd }) => cmd).slice(-2)).toEqual(["pubrel", "disconnect"]);
  });

  test("a client that is given a name of its own forgets the one the broker had chosen", async () => {
    const w = world({ clientId: "", cleanStart: true });
    await w.connect({ properties: { assignedClientIdentifier: "chosen" } });
    await w.cut();
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({ clientId: "chosen" });
    w.client.configure({ clientId: "own" });
    await w.cut();
    await w.connect();
    expect(w.broker.received[0]).toMatchObject({ clientId: "own" });
  });

  test("an abort while the client disconnects changes nothing", async () => {
    const w = world();
    await w.connect();
    const ended = w.client.disconnect();
    w.client.abort(failure("KEEPALIVE_TIMEOUT", "too late"));
    await w.time.pass(0);
    await ended;
    expect([w.ends.map(({ code }) => code), w.broker.of("disconnect").length]).toEqual([["CLOSED_LOCALLY"], 1]);
  });

  test("bytes that come while the client disconnects are not read", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t");
    void w.client.disconnect();
    await w.broker.send({ cmd: "publish", topic: "t", payload: "late", qos: 0, retain: false, dup: false });
    expect([subscription.buffered, w.ends.map(({ code }) => code)]).toEqual([0, ["CLOSED_LOCALLY"]]);
  });

  test("a will may be bytes", async () => {
    const w = world({ will: { topic: "gone", payload: Uint8Array.of(0, 255) } });
    await w.connect();
    expect([...(w.broker.received[0]?.will as { payload: Uint8Array }).payload]).toEqual([0, 255]);
  });

  test("what the broker says of a message comes with its acknowledgement", async () => {
    const w = world();
    await w.connect();
    const published = watch(w.client.publish("t", "a", { qos: 1 }));
    await w.time.pass(0);
    await w.broker.send({ ...ack("puback", 1, 0x10), properties: { reasonString: "nobody listens", userProperties: { a: "b" } } });
    expect(published.value).toMatchObject({
      reasonCode: 0x10,
      properties: { reasonString: "nobody listens", userProperties: [["a", "b"]] },
    });
  });

  test.each([4, 5] as const)(
    "a QoS 2 identifier that a forgotten life may have left with the broker is cleared first, once (version %i)",
    async (protocolVersion) => {
      const w = world({ protocolVersion });
      await w.connect({ sessionPresent: true });
      void w.client.publish("t", "a", { qos: 2 });
      await w.time.pass(0);
      expect(w.broker.received.slice(1)).toMatchObject([
        { cmd: "pubrel", messageId: 1, ...(protocolVersion === 5 && { reasonCode: 0x92 }) },
        { cmd: "publish", messageId: 1 },
      ]);
      await w.broker.send(ack("pubcomp", 1, 0x92), ack("pubrec", 1), ack("pubcomp", 1));
      expect(w.client.pending.messages).toBe(0);
      await w.cut();
      await w.connect({ sessionPresent: true });
      void w.client.publish("t", "b", { qos: 2 });
      await w.time.pass(0);
      expect(came(w)).toEqual(["pubrel 2", "publish 2 b"]);
    },
  );

  test("a QoS 2 message whose release the broker no longer knows is delivered", async () => {
    const w = world();
    await w.connect();
    const published = watch(w.client.publish("t", "a", { qos: 2 }));
    await w.time.pass(0);
    await w.broker.send(ack("pubrec", 1));
    await w.broker.send(ack("pubcomp", 1, 0x92));
    expect(published).toEqual({ state: "resolved", value: { reasonCode: 0 } });
  });

  test("a broker that repeats a message twice on a new connection has it delivered once", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t", { qos: 1, manualAck: true });
    await w.time.pass(0);
    const message = { cmd: "publish", topic: "t", payload: "a", qos: 1, messageId: 9, retain: false, dup: false };
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] }, message);
    await w.cut();
    await w.connect({ sessionPresent: true });
    await w.broker.send({ ...message, dup: true }, { ...message, dup: true });
    const taken: number[] = [];
    while (subscription.buffered > 0) {
      const { value } = await subscription.next();
      taken.push(value?.payload.length ?? -1);
      value?.ack();
    }
    await w.time.pass(0);
    expect([w.ends.length, w.broker.of("puback").length > 0]).toEqual([1, true]);
    expect(taken.length).toBeLessThanOrEqual(3);
  });
});

describe("a subscription that the broker refuses after it had granted it", () => {
  test("is asked for again a minute later, on the same connection, and not after that one ended", async () => {
    const w = world();
    const refused: string[] = [];
    w.client.onSubscriptionRefused = (filter, reasonCode) => refused.push(`${filter} ${reasonCode}`);
    await w.connect();
    const subscription = w.client.subscribe("t");
    await w.time.pass(0);
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [0] });
    await w.cut();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]!.messageId!, granted: [0x87] });
    await w.time.pass(59_000);
    expect([refused, w.broker.of("subscribe").length]).toEqual([["t 135"], 1]);
    await w.time.pass(2_000);
    const again = w.broker.of("subscribe");
    expect(again).toHaveLength(2);
    await w.broker.send({ cmd: "suback", messageId: again[1]!.messageId!, granted: [0x87] });
    await w.cut();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]!.messageId!, granted: [0] });
    await w.time.pass(120_000);
    expect([w.broker.of("subscribe").length, await subscription.granted]).toEqual([1, 0]);
  });

  test("is not asked for again when the application has closed it", async () => {
    const w = world();
    await w.connect();
    const subscription = w.client.subscribe("t");
    await w.time.pass(0);
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [0] });
    await w.cut();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: w.broker.of("subscribe")[0]!.messageId!, granted: [0x87] });
    void subscription.close();
    await w.time.pass(120_000);
    expect(w.broker.of("subscribe")).toHaveLength(1);
  });
});

describe("subscribing anew", () => {
  const twice = async (): Promise<{ w: SessionWorld; states: { state: string }[] }> => {
    const w = world();
    await w.connect();
    const states = [watch(w.client.subscribe("t").close()), watch(w.client.subscribe("t").close())];
    await w.time.pass(0);
    return { w, states };
  };

  test("closed, made again and closed again before the broker knew of the first close, both closes settle", async () => {
    const { w, states } = await twice();
    expect(states.map(({ state }) => state)).toEqual(["pending", "pending"]);
    for (const { messageId } of w.broker.of("unsubscribe")) await w.broker.send({ cmd: "unsuback", messageId: messageId!, granted: [0] });
    expect(states.map(({ state }) => state)).toEqual(["resolved", "resolved"]);
  });

  test("closed, made again and closed again before the broker knew of the first close, nothing is left with the broker", async () => {
    const { w } = await twice();
    const asked = w.broker.received.slice(1).map(({ cmd }) => cmd);
    expect(asked.at(-1)).toBe("unsubscribe");
  });

  test("user properties go along with the identifier that every subscription has", async () => {
    const w = world();
    await w.connect();
    w.client.subscribe("t", { userProperties: [["a", "b"]] });
    await w.time.pass(0);
    expect(w.broker.of("subscribe")[0]?.properties).toEqual({
      subscriptionIdentifier: 484,
      userProperties: expect.objectContaining({ a: "b" }) as unknown,
    });
  });
});
