/** Whatever a broker sends at whatever moment ends in a typed failure or in nothing, and leaves a client that can connect again. */
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import { SessionWorld } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;
const id = fc.integer({ min: 1, max: 6 });
const PROTOCOL_CODES = ["MALFORMED_PACKET", "PROTOCOL_ERROR", "PACKET_TOO_LARGE", "RECEIVE_MAXIMUM_EXCEEDED", "TOPIC_ALIAS_INVALID"];

/** Packets that are well formed and mostly come when nobody expects them. */
const packet = fc.oneof(
  fc.record({ cmd: fc.constantFrom("puback", "pubrec", "pubrel", "pubcomp"), messageId: id, reasonCode: fc.constant(0) }),
  fc.record({ cmd: fc.constant("suback"), messageId: id, granted: fc.constantFrom([0], [1], [2], [0x80]) }),
  fc.record({ cmd: fc.constant("unsuback"), messageId: id, granted: fc.constant([0]) }),
  fc.record({ cmd: fc.constant("pingresp") }),
  fc.record({
    cmd: fc.constant("publish"),
    topic: fc.constantFrom("t", "u"),
    payload: fc.string({ maxLength: 5 }),
    qos: fc.constantFrom(0, 1, 2),
    messageId: id,
    retain: fc.boolean(),
  }),
);

test("whatever comes, in whatever order, the client ends typed or not at all, and works on the next connection", async () => {
  const mutation = fc.array(fc.tuple(fc.nat(30), fc.nat(255)), { maxLength: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(packet, mutation), { minLength: 1, maxLength: 12 }),
      fc.constantFrom<4 | 5>(4, 5),
      async (packets, protocolVersion) => {
        const w = new SessionWorld(library, { protocolVersion, maximumPacketSizeBytes: 1_000, receiveMaximum: 3 });
        void (async () => {
          for await (const message of w.client.subscribe("t", { qos: 2 })) if (message.payload.length > 100) return;
        })().catch(() => undefined);
        for (const qos of [1, 2] as const) w.client.publish("t", "x", { qos }).catch(() => undefined);
        await w.connect();
        for (const [one, changes] of packets) {
          const bytes = Uint8Array.from(library.generate(one, { protocolVersion }));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          if (w.client.connected) await w.broker.send(bytes);
        }
        const [end, ...more] = w.ends;
        expect(more).toEqual([]);
        // A changed byte can make a packet a DISCONNECT of the broker's, too.
        if (
          end !== undefined &&
          end.class !== "broker" &&
          end.class !== "credential" &&
          end.code !== "KEEPALIVE_TIMEOUT" &&
          !end.message.startsWith("the broker disconnected")
        ) {
          expect(PROTOCOL_CODES).toContain(end.code);
        }
        expect(w.client.pending.messages).toBeLessThanOrEqual(2);
        if (w.client.connected) await w.cut();
        await w.connect();
        expect(w.client.connected).toBe(true);
      },
    ),
    { numRuns: 400 },
  );
});
