import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import { settle } from "../../../test/support/mqtt/manual-time.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;

async function connected(): Promise<SessionWorld> {
  const w = new SessionWorld(library, { inFlightWindow: 100 });
  await w.connect();
  return w;
}

const writes = (w: SessionWorld): number => w.broker.wire?.written.length ?? 0;

test("all that is published in one turn goes out in one write, without any time passing", async () => {
  const w = await connected();
  const before = writes(w);
  for (let n = 0; n < 60; n++) void w.client.publish("t", "x", { qos: 1 });
  w.client.subscribe("t");
  expect(writes(w)).toBe(before);
  await settle();
  expect([writes(w) - before, w.time.monotonicMs()]).toEqual([1, 0]);
});

test("a chain of awaited publishes is one write", async () => {
  const w = await connected();
  const before = writes(w);
  for (let n = 0; n < 20; n++) await w.client.publish("t", "x");
  await settle();
  expect(writes(w) - before).toBe(1);
});

test("a flood in one turn is written in pieces of some 16 KiB, and stops when the link has enough", async () => {
  const w = await connected();
  const { wire } = w.broker;
  if (wire) wire.isHeldUp = true;
  const states = Array.from({ length: 100 }, () => watch(w.client.publish("t", "x".repeat(1_000))));
  await settle();
  const settled = states.filter(({ state }) => state === "resolved").length;
  expect(writes(w) - 1).toBe(1);
  expect(settled).toBe(17);
  expect(w.client.pending.messages).toBe(83);
  wire?.drain();
  await w.time.pass(0);
  expect(states.every(({ state }) => state === "resolved")).toBe(true);
  expect(w.broker.of("publish")).toHaveLength(100);
});

test("while the link has enough, acknowledgements wait for it and messages stay in the outbox", async () => {
  const w = await connected();
  const { wire } = w.broker;
  const subscription = w.client.subscribe("t", { qos: 1 });
  void (async () => {
    for await (const message of subscription) message.text();
  })();
  await w.time.pass(0);
  if (wire) wire.isHeldUp = true;
  await w.client.publish("t", "fills the link");
  await w.time.pass(0);
  const before = writes(w);
  await w.broker.send({ cmd: "publish", topic: "t", payload: "in", qos: 1, messageId: 4 });
  void w.client.publish("t", "out", { qos: 1 });
  await w.time.pass(10);
  expect([writes(w) - before, w.client.pending.inFlight]).toEqual([0, 0]);
  wire?.drain();
  await w.time.pass(0);
  expect(w.broker.of("puback")).toHaveLength(1);
  expect(w.broker.of("publish").map(({ payload }) => String(payload))).toEqual(["fills the link", "out"]);
});

test("what the link keeps is never written to again", async () => {
  const w = await connected();
  const kept: Uint8Array[] = [];
  const copies: string[] = [];
  const { wire } = w.broker;
  if (wire) {
    wire.write = (bytes) => {
      kept.push(bytes);
      copies.push(bytes.join());
      return true;
    };
  }
  for (let n = 0; n < 200; n++) {
    await w.client.publish("t", `${n}`.repeat(n % 40));
    await settle();
  }
  expect(kept.map((bytes) => bytes.join())).toEqual(copies);
});
