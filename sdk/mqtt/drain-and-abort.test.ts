/** What an application waits for and counts: drain, signals, statistics, and events that carry what was negotiated. */
import * as mqttPacket from "mqtt-packet";
import { describe, expect, it } from "vitest";
import { SessionWorld, watch } from "../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";
import type { MqttEvent } from "./contract/mqtt-events.js";

const world = (): SessionWorld => new SessionWorld(mqttPacket as unknown as PacketLibrary);
const puback = (messageId: number): { cmd: string; messageId: number; reasonCode: number } => ({ cmd: "puback", messageId, reasonCode: 0 });

describe("drain", () => {
  it("resolves at once where nothing waits", async () => {
    await expect(world().client.drain()).resolves.toBeUndefined();
  });

  it("resolves when the last message is acknowledged, over a lost connection too", async () => {
    const w = world();
    void w.client.publish("t", "1", { qos: 1 });
    const drained = watch(w.client.drain());
    await w.connect();
    await w.cut();
    expect(drained.state).toBe("pending");
    await w.connect({ sessionPresent: true });
    await w.broker.send(puback(1));
    expect(drained.state).toBe("resolved");
  });

  it("resolves when what waited is discarded", async () => {
    const w = world();
    const published = watch(w.client.publish("t", "1", { qos: 1 }));
    const drained = watch(w.client.drain());
    w.client.discard();
    await w.time.pass(0);
    expect([published.state, drained.state]).toEqual(["MESSAGE_DISCARDED", "resolved"]);
  });

  it("rejects with DRAIN_TIMEOUT in time, and keeps the message", async () => {
    const w = world();
    void w.client.publish("t", "1", { qos: 1 });
    const drained = watch(w.client.drain({ timeoutMs: 500 }));
    await w.time.pass(500);
    expect([drained.state, w.client.pending.messages]).toEqual(["DRAIN_TIMEOUT", 1]);
  });
});

describe("A signal", () => {
  it("gives up a message that was not sent, and only that", async () => {
    const w = world();
    const abort = new AbortController();
    const aborted = watch(w.client.publish("t", "", { qos: 1, signal: abort.signal }));
    void w.client.publish("t", "", { qos: 1 });
    abort.abort();
    await w.time.pass(0);
    expect([aborted.state, w.client.pending.messages]).toEqual(["ABORTED", 1]);
  });

  it("stops waiting for a message that was sent, which still completes", async () => {
    const w = world();
    await w.connect();
    const abort = new AbortController();
    const aborted = watch(w.client.publish("t", "1", { qos: 1, signal: abort.signal }));
    await w.time.pass(0);
    abort.abort();
    await w.time.pass(0);
    expect([aborted.state, w.client.pending.messages]).toEqual(["ABORTED", 1]);
    await w.broker.send(puback(1));
    expect(w.client.pending.messages).toBe(0);
  });

  it("that is already aborted lets nothing be sent and nothing be subscribed to", async () => {
    const w = world();
    const signal = AbortSignal.abort();
    const published = watch(w.client.publish("t", "1", { qos: 1, signal }));
    expect(() => w.client.subscribe("t", { signal })).toThrow(expect.objectContaining({ code: "ABORTED" }));
    await w.time.pass(0);
    expect([published.state, w.client.pending.messages, w.client.filters]).toEqual(["ABORTED", 0, []]);
  });

  it("closes a subscription", async () => {
    const w = world();
    await w.connect();
    const abort = new AbortController();
    const ended = w.client.subscribe("t", { signal: abort.signal }).next();
    abort.abort();
    expect(await ended).toEqual({ value: undefined, done: true });
    expect(w.client.filters).toEqual([]);
  });

  it("is heard no longer once the message is delivered", async () => {
    const w = world();
    await w.connect();
    const heard = new Set<unknown>();
    const signal = {
      aborted: false,
      addEventListener: (_: string, one: unknown) => heard.add(one),
      removeEventListener: (_: string, one: unknown) => heard.delete(one),
    };
    const published = w.client.publish("t", "1", { qos: 1, signal });
    expect(heard.size).toBe(1);
    await w.broker.send(puback(1));
    await published;
    await w.time.pass(0);
    expect(heard.size).toBe(0);
  });

  it("that is none is refused by name", async () => {
    const w = world();
    await expect(w.client.publish("t", "1", { signal: {} as never })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("signal") as string,
    });
  });
});

describe("Statistics", () => {
  it("count connections, messages, bytes and acknowledgements that are missing", async () => {
    const w = world();
    expect(w.client.statistics).toEqual({
      connections: 0,
      messagesSent: 0,
      messagesReceived: 0,
      bytesSent: 0,
      bytesReceived: 0,
      acksOutstanding: 0,
    });
    await w.connect();
    const { bytesSent, bytesReceived } = w.client.statistics;
    void w.client.publish("t", "1", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send({ cmd: "publish", topic: "t", payload: "hello", qos: 0 });
    // A PUBLISH of 5.0: header 2, topic 3, identifier 2 at QoS 1, properties 1, payload.
    expect(w.client.statistics).toEqual({
      connections: 1,
      messagesSent: 1,
      messagesReceived: 1,
      bytesSent: bytesSent + 9,
      bytesReceived: bytesReceived + 11,
      acksOutstanding: 1,
    });
    await w.cut();
    await w.connect({ sessionPresent: true });
    await w.broker.send(puback(1));
    expect(w.client.statistics).toMatchObject({ connections: 2, messagesSent: 2, acksOutstanding: 0 });
  });
});

describe("Events", () => {
  it("come to a listener and to a stream, with what was negotiated", async () => {
    const w = world();
    const heard: MqttEvent[] = [];
    const end = w.client.listen((event) => heard.push(event));
    const stream = w.client.events();
    await w.connect({ properties: { serverKeepAlive: 30, receiveMaximum: 5 } });
    await w.cut();
    expect(heard.map(({ type }) => type)).toEqual(["connected", "disconnected"]);
    expect(heard[0]).toMatchObject({
      clientId: "c",
      sessionPresent: false,
      protocolVersion: 5,
      properties: { serverKeepAlive: 30, receiveMaximum: 5 },
    });
    end();
    expect([(await stream.next()).value, (await stream.next()).value]).toEqual(heard);
    const last = stream.next();
    await stream.return?.();
    expect(await last).toEqual({ value: undefined, done: true });
    await w.connect();
    expect(heard).toHaveLength(2);
  });

  it("go on when a listener throws", async () => {
    const w = world();
    const heard: string[] = [];
    w.client.listen(() => {
      throw new Error("in a test");
    });
    w.client.listen(({ type }) => heard.push(type));
    await w.connect();
    expect(heard).toEqual(["connected"]);
    expect(w.client.connected).toBe(true);
  });
});

it("`await using` disconnects", async () => {
  const w = world();
  await w.connect();
  const disposed = w.client[Symbol.asyncDispose]();
  await w.time.pass(0);
  expect(w.broker.of("disconnect")).toHaveLength(1);
  await w.cut();
  await disposed;
});

describe("A link is closed as one worth returning to", () => {
  it("when the client leaves a broker that accepted it", async () => {
    const w = world();
    await w.connect();
    void w.client.disconnect();
    await w.time.pass(0);
    expect(w.broker.wire?.mayReturn).toBe(true);
  });

  it.each([
    ["refuses it", (w: SessionWorld) => w.connect({ reasonCode: 0x87 }).catch(() => undefined)],
    ["sends it away", (w: SessionWorld) => w.connect().then(() => w.broker.send({ cmd: "disconnect", reasonCode: 0x98 }))],
    ["breaks the protocol", (w: SessionWorld) => w.connect().then(() => w.broker.send({ cmd: "connack", reasonCode: 0 }))],
  ])("and not when the broker %s", async (_what, happens) => {
    const w = world();
    await happens(w);
    await w.time.pass(0);
    expect([w.broker.wire?.mayReturn, w.client.connected]).toEqual([false, false]);
  });
});
