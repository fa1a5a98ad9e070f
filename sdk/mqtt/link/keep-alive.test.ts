import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { MqttOptions } from "../index.js";
import { SessionWorld } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;

async function connected(options: Partial<MqttOptions>, connack = {}): Promise<SessionWorld> {
  const w = new SessionWorld(library, options);
  await w.connect(connack);
  return w;
}

/** Lets time pass in steps of 100 ms, with a broker that answers pings; returns when the pings came, in milliseconds. */
async function pings(w: SessionWorld, durationMs: number, everyStep?: (ms: number) => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  const beginMs = w.time.monotonicMs();
  for (let ms = 0; ms < durationMs && w.client.connected; ms += 100) {
    const before = w.broker.of("pingreq").length;
    await everyStep?.(ms);
    await w.time.pass(100);
    if (w.broker.of("pingreq").length === before) continue;
    times.push(w.time.monotonicMs() - beginMs);
    await w.broker.send({ cmd: "pingresp" });
  }
  return times;
}

describe("keep-alive", () => {
  test("something goes out at least once in each interval", async () => {
    const w = await connected({ keepAliveSeconds: 10 });
    const times = await pings(w, 60_000);
    const gaps = times.map((time, n) => time - (times[n - 1] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10_000);
    expect(times.length).toBeGreaterThan(5);
    expect(w.client.connected).toBe(true);
  });

  test("a client that sends, and hears the broker, does not ping", async () => {
    const w = await connected({ keepAliveSeconds: 10 });
    const times = await pings(w, 60_000, async (ms) => {
      if (ms % 2_000 !== 0) return;
      const published = w.client.publish("t", "x", { qos: 1 });
      await w.time.pass(0);
      await w.broker.send({ cmd: "puback", messageId: w.broker.of("publish").at(-1)?.messageId as number, reasonCode: 0 });
      await published;
    });
    expect(times).toEqual([]);
  });

  test("a client that only sends still asks whether anybody listens, and finds out that nobody does", async () => {
    const w = await connected({ keepAliveSeconds: 10 });
    if (w.broker.wire) w.broker.wire.isDead = true;
    for (let ms = 0; ms < 30_000 && w.client.connected; ms += 1_000) {
      await w.client.publish("t", "x");
      await w.time.pass(1_000);
    }
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT", class: "network" }]);
    expect(w.time.timers).toBeLessThanOrEqual(1);
  });

  test("a silent link ends within two intervals", async () => {
    const w = await connected({ keepAliveSeconds: 10 });
    if (w.broker.wire) w.broker.wire.isDead = true;
    await w.time.pass(20_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("the broker's interval is an upper bound: the shorter of the two counts, and 0 is none", async () => {
    const often = (list: number[]): number => list.length;
    expect(
      often(await pings(await connected({ keepAliveSeconds: 1_000 }, { properties: { serverKeepAlive: 5 } }), 20_000)),
    ).toBeGreaterThanOrEqual(3);
    for (const serverKeepAlive of [0, 1_200]) {
      expect(
        often(await pings(await connected({ keepAliveSeconds: 5 }, { properties: { serverKeepAlive } }), 20_000)),
      ).toBeGreaterThanOrEqual(3);
    }
    expect(
      often(await pings(await connected({ keepAliveSeconds: 0 }, { properties: { serverKeepAlive: 5 } }), 20_000)),
    ).toBeGreaterThanOrEqual(3);
    expect(await pings(await connected({ keepAliveSeconds: 0 }), 20_000)).toEqual([]);
  });

  test.each([0, 1_200])("a dead link is found although the broker's interval is %i", async (serverKeepAlive) => {
    const w = await connected({ keepAliveSeconds: 5 }, { properties: { serverKeepAlive } });
    if (w.broker.wire) w.broker.wire.isDead = true;
    await w.time.pass(12_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("a PINGRESP behind data is no dead link, and data that stops is", async () => {
    const w = await connected({ keepAliveSeconds: 30 });
    for (let ms = 0; ms < 200_000; ms += 250) {
      w.broker.wire?.toClient(Uint8Array.of(0x30, 4, 0, 1, 0x61, 0));
      await w.time.pass(250);
    }
    expect([w.client.connected, w.ends]).toEqual([true, []]);
    await w.time.pass(90_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("the wait for PINGRESP is bounded with a long interval too", async () => {
    const w = await connected({ keepAliveSeconds: 1_000 });
    if (w.broker.wire) w.broker.wire.isDead = true;
    await w.time.pass(800_000);
    expect(w.broker.wire?.isClosed).toBe(false);
    await w.time.pass(20_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("no timer is left when the connection has ended", async () => {
    const w = await connected({ keepAliveSeconds: 10, ackTimeoutMs: 5_000 });
    expect(w.time.timers).toBe(1);
    await w.time.pass(9_000);
    expect([w.broker.of("pingreq").length, w.time.timers]).toEqual([1, 2]);
    await w.cut();
    expect(w.time.timers).toBe(0);
  });

  test("acknowledgements watched more often than the traffic do not make the pings late", async () => {
    for (const ackTimeoutMs of [700, 3_900, 4_100, 100_000]) {
      const w = await connected({ keepAliveSeconds: 10, ackTimeoutMs });
      const times = await pings(w, 60_000);
      const gaps = times.map((time, n) => time - (times[n - 1] ?? 0));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(10_000);
      expect(times.length).toBeGreaterThan(5);
    }
  });
});

describe("the watch over acknowledgements", () => {
  test("a broker that leaves a message unanswered is taken for dead", async () => {
    const w = await connected({ ackTimeoutMs: 5_000 });
    await w.time.pass(4_000);
    void w.client.publish("t", "x", { qos: 1 });
    await w.time.pass(5_999);
    expect(w.client.connected).toBe(true);
    await w.time.pass(1);
    await w.time.pass(5_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("a broker that leaves a SUBSCRIBE unanswered is taken for dead, one that answers everything is not", async () => {
    const w = await connected({ ackTimeoutMs: 5_000 });
    for (let n = 1; n <= 10; n++) {
      const published = w.client.publish("t", "x", { qos: 1 });
      await w.time.pass(3_000);
      await w.broker.send({ cmd: "puback", messageId: n, reasonCode: 0 });
      await published;
    }
    expect(w.client.connected).toBe(true);
    w.client.subscribe("t");
    await w.time.pass(10_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });
});

describe("a slow uplink", () => {
  const PICTURE = new Uint8Array(200_000);

  test("gets the time that the bytes need before anybody can answer them", async () => {
    const w = await connected({ keepAliveSeconds: 60, ackTimeoutMs: 60_000 });
    const published = w.client.publish("picture", PICTURE, { qos: 1 });
    await w.time.pass(390_000);
    expect([w.client.connected, w.ends]).toEqual([true, []]);
    await w.broker.send({ cmd: "puback", messageId: 1, reasonCode: 0 }, { cmd: "pingresp" });
    await expect(published).resolves.toMatchObject({ reasonCode: 0 });
  });

  test("is not waited for without end", async () => {
    const w = await connected({ keepAliveSeconds: 60, ackTimeoutMs: 60_000 });
    void w.client.publish("picture", PICTURE, { qos: 1 });
    await w.time.pass(600_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("is not assumed where answers have shown a fast one", async () => {
    const w = await connected({ keepAliveSeconds: 60, ackTimeoutMs: 60_000 });
    for (let id = 1; id <= 240; id++) {
      void w.client.publish("t", new Uint8Array(20_000), { qos: 1 });
      await w.time.pass(1_000);
      await w.broker.send({ cmd: "puback", messageId: id, reasonCode: 0 });
    }
    void w.client.publish("t", new Uint8Array(20_000), { qos: 1 });
    await w.time.pass(0);
    if (w.broker.wire) w.broker.wire.isDead = true;
    await w.time.pass(180_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("an acknowledgement behind data of the broker is waited for five times as long, not for ever", async () => {
    const w = await connected({ keepAliveSeconds: 60, ackTimeoutMs: 60_000 });
    void w.client.publish("t", "x", { qos: 1 });
    const talk = async (durationMs: number): Promise<void> => {
      for (let ms = 0; ms < durationMs && w.client.connected; ms += 1_000) {
        w.broker.wire?.toClient(Uint8Array.of(0x30, 4, 0, 1, 0x61, 0));
        await w.time.pass(1_000);
      }
    };
    await talk(250_000);
    expect(w.ends).toEqual([]);
    await talk(100_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  test("a broker that answers PINGREQ and nothing else is dead all the same", async () => {
    const w = await connected({ keepAliveSeconds: 10, ackTimeoutMs: 20_000 });
    void w.client.publish("t", "x", { qos: 1 });
    await pings(w, 45_000);
    expect(w.ends).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });
});
