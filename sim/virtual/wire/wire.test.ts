import { describe, expect, it } from "vitest";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import type { InboundPacket, OutboundPacket } from "../../../sdk/mqtt/codec/packet-types.js";
import { encode as encodeInSdk } from "../../../sdk/mqtt/codec/packet-encoder.js";
import { Decoder } from "./decode.js";
import { encode, framed } from "./encode.js";
import type { FromClient, ToClient, Version } from "./wire-packets.js";
import { WireError } from "./wire-error.js";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

function decodeAll(packets: readonly Uint8Array[]): FromClient[] {
  const decoder = new Decoder();
  return packets.flatMap((packet) => [...decoder.take(packet)].map((taken) => taken.packet));
}

function connect(version: Version): Uint8Array {
  return encodeInSdk({ cmd: "connect", protocolVersion: version, clientId: "c", clean: true, keepalive: 60 }, version);
}

const FROM_CLIENT: readonly [OutboundPacket, object][] = [
  [
    {
      cmd: "publish",
      topic: "a/b",
      payload: bytes(1, 2),
      qos: 2,
      retain: true,
      dup: true,
      messageId: 7,
      properties: {
        contentType: "x",
        topicAlias: 3,
        userProperties: [
          ["a", "1"],
          ["a", "2"],
        ],
      },
    },
    {
      type: "publish",
      topic: "a/b",
      payload: bytes(1, 2),
      qos: 2,
      retain: true,
      dup: true,
      id: 7,
      properties: {
        contentType: "x",
        topicAlias: 3,
        userProperties: [
          ["a", "1"],
          ["a", "2"],
        ],
      },
    },
  ],
  [
    { cmd: "puback", messageId: 65_535, reasonCode: 0 },
    { type: "puback", id: 65_535, reasonCode: 0, properties: {} },
  ],
  [
    { cmd: "pubrec", messageId: 1, reasonCode: 0x87 },
    { type: "pubrec", id: 1, reasonCode: 0x87, properties: {} },
  ],
  [
    { cmd: "pubrel", messageId: 2, reasonCode: 0 },
    { type: "pubrel", id: 2, reasonCode: 0, properties: {} },
  ],
  [
    {
      cmd: "subscribe",
      messageId: 3,
      subscriptions: [{ topic: "a/#", qos: 1, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 300 },
    },
    {
      type: "subscribe",
      id: 3,
      subscriptions: [{ filter: "a/#", qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
      properties: { subscriptionIdentifiers: [300] },
    },
  ],
  [
    { cmd: "unsubscribe", messageId: 4, unsubscriptions: ["a/#"] },
    { type: "unsubscribe", id: 4, filters: ["a/#"], properties: {} },
  ],
  [{ cmd: "pingreq" }, { type: "pingreq" }],
  [
    { cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 9 } },
    { type: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 9 } },
  ],
];

const TO_CLIENT: readonly [ToClient, object][] = [
  [
    { type: "connack", sessionPresent: true, reasonCode: 0, properties: { receiveMaximum: 20, maximumPacketSize: 70_000 } },
    { cmd: "connack", sessionPresent: true, reasonCode: 0, properties: { receiveMaximum: 20, maximumPacketSize: 70_000 } },
  ],
  [
    {
      type: "publish",
      topic: "t",
      payload: bytes(9),
      qos: 1,
      retain: false,
      dup: false,
      id: 5,
      properties: { subscriptionIdentifiers: [1, 200] },
    },
    { cmd: "publish", topic: "t", payload: bytes(9), qos: 1, messageId: 5, properties: { subscriptionIdentifiers: [1, 200] } },
  ],
  [
    { type: "pubrec", id: 6, reasonCode: 0x97, properties: {} },
    { cmd: "pubrec", messageId: 6, reasonCode: 0x97 },
  ],
  [
    { type: "suback", id: 7, reasonCodes: [1, 0x87], properties: {} },
    { cmd: "suback", messageId: 7, granted: [1, 0x87] },
  ],
  [{ type: "pingresp" }, { cmd: "pingresp" }],
  [
    { type: "disconnect", reasonCode: 0x9d, properties: { serverReference: "h:1" } },
    { cmd: "disconnect", reasonCode: 0x9d, properties: { serverReference: "h:1" } },
  ],
];

describe("the broker's own codec", () => {
  it("reads what the SDK writes, in any pieces", () => {
    const stream = [connect(5), ...FROM_CLIENT.map(([packet]) => encodeInSdk(packet, 5))];
    const wanted = FROM_CLIENT.map(([, packet]) => expect.objectContaining(packet) as unknown);
    expect(decodeAll(stream).slice(1)).toEqual(wanted);
    const whole = stream.flatMap((packet) => [...packet]);
    expect(decodeAll(whole.map((byte) => bytes(byte))).slice(1)).toEqual(wanted);
  });

  it("writes what the SDK reads", () => {
    const read: InboundPacket[] = [];
    const reader = new FrameReader(5, 100_000, { packet: (packet) => void read.push(packet) });
    for (const [packet] of TO_CLIENT) reader.feed(encode(packet, 5));
    expect(read).toEqual(TO_CLIENT.map(([, packet]) => expect.objectContaining(packet) as unknown));
  });

  it("writes 3.1.1 without properties and reasons", () => {
    expect(encode({ type: "puback", id: 258, reasonCode: 0x87, properties: {} }, 4)).toEqual(bytes(0x40, 2, 1, 2));
    expect(encode({ type: "connack", sessionPresent: false, reasonCode: 5, properties: {} }, 4)).toEqual(bytes(0x20, 2, 0, 5));
    expect(encode({ type: "unsuback", id: 1, reasonCodes: [0], properties: {} }, 4)).toEqual(bytes(0xb0, 2, 0, 1));
  });

  const WRONG: readonly [string, Uint8Array][] = [
    ["a reserved type", framed(0xf1, bytes())],
    ["wrong flags", framed(0x60, bytes(0, 1))],
    ["QoS 3", framed(0x36, bytes(0, 1, 65, 0, 1, 0))],
    ["DUP at QoS 0", framed(0x38, bytes(0, 1, 65, 0))],
    ["a topic with wildcards", framed(0x30, bytes(0, 1, 43, 0))],
    ["packet identifier 0", framed(0x40, bytes(0, 0))],
    ["a reason code 0 that says nothing", framed(0x40, bytes(0, 1, 0))],
    ["an empty property list that says nothing", framed(0x40, bytes(0, 1, 0x10, 0))],
    ["an unknown property", framed(0x40, bytes(0, 1, 0x10, 2, 0x7f, 0))],
    ["a property twice", framed(0x30, bytes(0, 1, 65, 4, 1, 0, 1, 0))],
    ["SUBSCRIBE to nothing", framed(0x82, bytes(0, 1, 0))],
    ["bytes after the end", framed(0xc0, bytes(0))],
    ["a length of five bytes", bytes(0x30, 0xff, 0xff, 0xff, 0xff, 1)],
    ["malformed UTF-8", framed(0x30, bytes(0, 1, 0xff, 0))],
  ];

  for (const [name, packet] of WRONG) {
    it(`objects to ${name}`, () => {
      expect(() => decodeAll([connect(5), packet])).toThrow(WireError);
    });
  }
});
