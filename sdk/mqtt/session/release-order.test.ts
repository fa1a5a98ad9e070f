import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import { SessionWorld } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;

/** What the client sent on this connection after CONNECT. */
const sent = (world: SessionWorld): string[] =>
  world.broker.received.filter(({ cmd }) => cmd === "publish" || cmd === "pubrel").map(({ cmd, messageId }) => `${cmd} ${messageId}`);

test("a PUBREL that connections end for holds back those behind it on its topic, and new messages: a broker may deliver at PUBREL", async () => {
  const world = new SessionWorld(library, { keepAliveSeconds: 60, ackTimeoutMs: 60_000 });
  await world.connect();
  void world.client.publish("a", "1", { qos: 2 });
  await world.time.pass(0);
  await world.broker.send({ cmd: "pubrec", messageId: 1 });
  await world.cut();
  await world.connect({ sessionPresent: true });
  expect(sent(world)).toEqual(["pubrel 1"]);
  void world.client.publish("a", "2", { qos: 2 });
  await world.time.pass(0);
  await world.broker.send({ cmd: "pubrec", messageId: 2 });
  await world.cut();

  await world.connect({ sessionPresent: true });
  void world.client.publish("a", "3", { qos: 2 });
  void world.client.publish("b", "4", { qos: 2 });
  await world.time.pass(0);
  expect(sent(world)).toEqual(["publish 4"]);
  await world.broker.send({ cmd: "pubrec", messageId: 4 }, { cmd: "pubcomp", messageId: 4 });
  const order: number[] = [];
  for (const messageId of [1, 2, 3]) {
    // Each is tried alone, on a connection that has just answered a PINGREQ.
    await world.broker.send({ cmd: "pingresp" });
    await world.time.pass(0);
    const next = world.broker.received.filter(({ cmd }) => cmd === "publish" || cmd === "pubrel").at(-1);
    order.push(Number(next?.messageId));
    if (next?.cmd === "publish") await world.broker.send({ cmd: "pubrec", messageId });
    await world.broker.send({ cmd: "pubcomp", messageId });
    await world.time.pass(0);
  }
  expect(order).toEqual([1, 2, 3]);
  expect(world.client.pending.messages).toBe(0);
});
