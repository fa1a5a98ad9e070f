/** A message over the limit is passed over, acknowledged and reported: it must not come again for ever. */
import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { LibraryPacket, PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";
import { SessionWorld } from "../../test/support/mqtt/session-world.js";

const library = mqttPacket as unknown as PacketLibrary;
const large = (qos: 0 | 1 | 2, messageId: number, bytes = 20_000, more: object = {}): LibraryPacket => ({
  cmd: "publish",
  topic: "down/large",
  payload: "x".repeat(bytes),
  qos,
  retain: false,
  dup: false,
  messageId,
  ...more,
});

async function connected(protocolVersion: 4 | 5, options = {}): Promise<SessionWorld> {
  const w = new SessionWorld(library, { protocolVersion, maximumPacketSizeBytes: 1_024, ...options });
  w.client.onMessage = () => undefined;
  await w.connect();
  return w;
}

/** What the client sent after CONNECT. */
const sent = (w: SessionWorld): string[] =>
  w.broker.received.slice(1).map(({ cmd, messageId, reasonCode }) => [cmd, messageId, reasonCode ?? 0].join(" "));

describe.each([4, 5] as const)("a message over the limit, in version %i,", (version) => {
  const code = version === 5 ? 0x97 : 0;

  test("is acknowledged in its turn and reported, and the connection goes on", async () => {
    const w = await connected(version);
    await w.broker.send({ ...large(1, 1, 1), topic: "small" }, large(1, 2), { ...large(1, 3, 1), topic: "small" });
    expect(sent(w)).toEqual(["puback 1 0", `puback 2 ${code}`, "puback 3 0"]);
    expect([w.dropped, w.ends]).toEqual([["down/large PACKET_TOO_LARGE"], []]);
  });

  test("is completed at QoS 2 as the version wants it, and reported once however often it comes", async () => {
    const w = await connected(version);
    await w.broker.send(large(2, 7));
    expect(sent(w)).toEqual([`pubrec 7 ${code}`]);
    if (version === 5) return;
    await w.broker.send(large(2, 7, 20_000, { dup: true }), { cmd: "pubrel", messageId: 7 });
    expect([sent(w), w.dropped.length]).toEqual([["pubrec 7 0", "pubrec 7 0", "pubcomp 7 0"], 1]);
  });

  test("may come in pieces of any size", async () => {
    for (const size of [1, 2, 3, 7, 100, 1_023, 1_024, 5_000]) {
      const w = await connected(version);
      const whole = library.generate(large(1, 9, 3_000), { protocolVersion: version });
      for (let at = 0; at < whole.length; at += size) await w.broker.send(Uint8Array.from(whole.subarray(at, at + size)));
      await w.broker.send(large(1, 10, 10));
      expect([size, sent(w), w.ends]).toEqual([size, [`puback 9 ${code}`, "puback 10 0"], []]);
    }
  }, 20_000);

  test("whose topic alone is over the limit, and comes in pieces, ends the connection, as any other packet of such a size does", async () => {
    const w = await connected(version);
    const whole = Uint8Array.from(library.generate({ ...large(1, 1), topic: "t".repeat(2_000) }, { protocolVersion: version }));
    await w.broker.send(whole.subarray(0, 1_500));
    expect(w.ends).toMatchObject([{ code: "PACKET_TOO_LARGE" }]);
  });
});

test("a message over the limit that introduces a topic alias still does", async () => {
  const w = await connected(5, { topicAliasMaximum: 3 });
  await w.broker.send(
    large(0, 0, 20_000, { properties: { topicAlias: 2 } }),
    large(0, 0, 20_000, { topic: "", properties: { topicAlias: 2 } }),
  );
  expect([w.dropped, w.ends]).toEqual([["down/large PACKET_TOO_LARGE", "down/large PACKET_TOO_LARGE"], []]);
});
