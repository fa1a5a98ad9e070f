/** What the broker lost is not reported as delivered; and what waits in the outbox can be seen and given up. */
import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../test/support/mqtt/memory-storage.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { MqttOptions } from "../contract/options.js";

const library = mqttPacket as unknown as PacketLibrary;

/** A client whose messages to `t` the broker has confirmed with PUBREC, and whose connection is cut then. */
async function halfway(
  options: Partial<MqttOptions>,
  publish: (w: SessionWorld) => void,
  storage?: MemoryStorage,
): Promise<{ w: SessionWorld; uncertain: string[] }> {
  const w = new SessionWorld(library, options, storage);
  const uncertain: string[] = [];
  w.client.onMessageUncertain = (topic, code) => uncertain.push(`${topic} ${code}`);
  await w.connect();
  publish(w);
  await w.time.pass(0);
  for (const { messageId } of w.broker.of("publish")) await w.broker.send({ cmd: "pubrec", messageId: messageId as number, reasonCode: 0 });
  await w.cut();
  return { w, uncertain };
}

const queued = (w: SessionWorld): void => void w.client.publish("t", "command", { qos: 2, queue: true });
const states = (w: SessionWorld): string[] =>
  w.client.outbox().map(({ topic, payload, state }) => `${topic} ${String.fromCharCode(...payload)} ${state}`);

describe.each([4, 5] as const)("a QoS 2 message between PUBREC and PUBCOMP when the session is gone, in version %i,", (protocolVersion) => {
  test("rejects with SESSION_LOST where it is awaited", async () => {
    let sent: ReturnType<typeof watch> | undefined;
    const { w, uncertain } = await halfway({ protocolVersion }, ({ client }) => (sent = watch(client.publish("t", "command", { qos: 2 }))));
    await w.connect();
    expect([sent?.state, uncertain, w.client.outbox(), w.client.pending.messages]).toEqual(["SESSION_LOST", [], [], 0]);
  });

  test("is told and stays readable where it is not, also over reboots, until it is discarded", async () => {
    const storage = new MemoryStorage();
    const { w, uncertain } = await halfway({ protocolVersion, persistent: true }, queued, storage);
    await w.connect();
    expect([uncertain, states(w), w.client.pending.messages]).toEqual([["t SESSION_LOST"], ["t command uncertain"], 0]);
    await w.time.pass(0);
    const later = new SessionWorld(library, { protocolVersion, persistent: true }, storage.afterReboot());
    expect(states(later)).toEqual(["t command uncertain"]);
    await later.connect({ sessionPresent: true });
    expect(later.broker.received.map(({ cmd }) => cmd)).toEqual(["connect"]);
    expect(later.client.discard(({ state }) => state === "uncertain")).toBe(1);
    await later.time.pass(0);
    expect(later.client.outbox()).toEqual([]);
  });

  test("is found out after a reboot of this side too", async () => {
    const storage = new MemoryStorage();
    await halfway({ protocolVersion, persistent: true }, queued, storage);
    const later = new SessionWorld(library, { protocolVersion, persistent: true }, storage.afterReboot());
    const uncertain: string[] = [];
    later.client.onMessageUncertain = (topic) => uncertain.push(topic);
    await later.connect();
    expect([uncertain, states(later)]).toEqual([["t"], ["t command uncertain"]]);
  });

  test("is published again as new where the application wants that, with its content, also after a reboot", async () => {
    const storage = new MemoryStorage();
    const options = { protocolVersion, persistent: true, onSessionLost: "resend" } as const;
    await halfway(options, queued, storage);
    const { w, uncertain } = { w: new SessionWorld(library, options, storage.afterReboot()), uncertain: [] };
    await w.connect();
    expect(w.broker.of("publish")).toMatchObject([{ topic: "t", dup: false, qos: 2 }]);
    expect(String(w.broker.of("publish")[0]?.payload)).toBe("command");
    expect(uncertain).toEqual([]);
  });

  test("goes on with PUBREL when the session is there", async () => {
    const { w } = await halfway({ protocolVersion }, queued);
    await w.connect({ sessionPresent: true });
    expect(w.broker.received.map(({ cmd }) => cmd)).toEqual(["connect", "pubrel"]);
  });
});

test("of uncertain messages the latest 32 are kept", async () => {
  const { w } = await halfway({ inFlightWindow: 100 }, ({ client }) => {
    for (let n = 0; n < 40; n++) void client.publish("t", `${n}`, { qos: 2, queue: true });
  });
  await w.connect();
  expect(states(w)).toHaveLength(32);
  expect(states(w)[0]).toBe("t 8 uncertain");
});

describe("the outbox", () => {
  test("tells what it holds, and gives up what the application does not want any more", async () => {
    const w = new SessionWorld(library, { inFlightWindow: 1 });
    const all = ["a", "b", "c"].map((topic) => watch(w.client.publish(topic, "x", { qos: 1 })));
    await w.connect();
    expect(states(w)).toEqual(["a x sent", "b x waiting", "c x waiting"]);
    expect(w.client.discard(({ topic }) => topic === "b")).toBe(1);
    expect(w.client.discard()).toBe(1);
    await w.time.pass(0);
    expect([all.map(({ state }) => state), w.dropped]).toEqual([
      ["pending", "MESSAGE_DISCARDED", "MESSAGE_DISCARDED"],
      ["b MESSAGE_DISCARDED", "c MESSAGE_DISCARDED"],
    ]);
    await w.cut();
    expect(w.client.discard()).toBe(1);
    expect(w.client.pending).toEqual({ messages: 0, bytes: 0, inFlight: 0 });
  });

  test("keeps what the broker may be about to deliver: QoS 2 that was sent", async () => {
    const w = new SessionWorld(library, {});
    void w.client.publish("a", "x", { qos: 2 });
    await w.connect();
    await w.cut();
    expect([w.client.discard(), states(w)]).toEqual([0, ["a x waiting"]]);
  });
});
