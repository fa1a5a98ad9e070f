/** Test material: every packet of both versions through the SDK's codec, as lines of text that must be equal on every engine. */
import { hexEncode } from "../../../sdk/encoding/text.js";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import type { OutboundPacket, ProtocolVersion } from "../../../sdk/mqtt/codec/packet-types.js";

const TEXT = "müß/🚢/x";
const PAYLOAD = Uint8Array.from({ length: 300 }, (_, i) => (i * 7) & 0xff);
const CONNECT = { cmd: "connect", clientId: "dev-1", clean: true, keepalive: 60 } as const;

const WRITTEN: readonly OutboundPacket[] = [
  { ...CONNECT, protocolVersion: 4 },
  {
    ...CONNECT,
    protocolVersion: 4,
    username: TEXT,
    password: Uint8Array.of(0, 255, 1),
    will: { topic: "w", payload: PAYLOAD, qos: 2, retain: true },
  },
  {
    ...CONNECT,
    protocolVersion: 5,
    password: PAYLOAD,
    will: {
      topic: "w",
      payload: Uint8Array.of(1),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: 30, payloadFormatIndicator: true },
    },
    properties: {
      sessionExpiryInterval: 86_400,
      receiveMaximum: 20,
      maximumPacketSize: 65_536,
      userProperties: [
        ["b", TEXT],
        ["a", "1"],
      ],
    },
  },
  { cmd: "publish", topic: TEXT, payload: PAYLOAD, qos: 0, dup: false, retain: true, messageId: 0 },
  {
    cmd: "publish",
    topic: "",
    payload: PAYLOAD,
    qos: 1,
    dup: true,
    retain: false,
    messageId: 65_535,
    properties: { topicAlias: 3, correlationData: Uint8Array.of(9, 8) },
  },
  { cmd: "puback", messageId: 2, reasonCode: 135 },
  { cmd: "pubrel", messageId: 258, reasonCode: 0 },
  {
    cmd: "subscribe",
    messageId: 7,
    subscriptions: [{ topic: "a/+", qos: 1, nl: true, rap: true, rh: 2 }],
    properties: { subscriptionIdentifier: 268_435_455 },
  },
  { cmd: "unsubscribe", messageId: 8, unsubscriptions: ["a/+", TEXT] },
  { cmd: "pingreq" },
  { cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0 } },
  { cmd: "auth", reasonCode: 24, properties: { authenticationMethod: "m", authenticationData: Uint8Array.of(1, 2, 3) } },
];

/** Version and bytes of what a broker sends, in hexadecimal. */
const READ: readonly (readonly [ProtocolVersion, string])[] = [
  [4, "20020100"],
  [5, "200e00000b210014240116000161170001"],
  [5, "2008000005210014" + "2401"],
  [4, "3209000374c3bc00055a5a"],
  [5, "301000017409" + "260001620003e282ac" + "5a"],
  [5, "400400018700"],
  [5, "9007000900000287" + "9d"],
  [4, "b0020009"],
  [4, "d000"],
  [5, "e0078b051f00026e6f"],
  [5, "300400ff7400"],
];

/** One line a packet: what was written, what was read, or how reading failed. */
export function codecLines(): string[] {
  const written = WRITTEN.flatMap((packet) =>
    ([4, 5] as const).map((version) => `${packet.cmd} ${version} ${hexEncode(encode(packet, version))}`),
  );
  return [...written, ...READ.map(([version, hex]) => `${hex} ${outcome(version, bytesOf(hex))}`)];
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function outcome(version: ProtocolVersion, bytes: Uint8Array): string {
  const packets: string[] = [];
  try {
    const show = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? hexEncode(value) : value);
    new FrameReader(version, 10_000, { packet: (packet) => packets.push(JSON.stringify(packet, show)) }).feed(bytes);
  } catch (error) {
    packets.push(String(error));
  }
  return packets.join(" ");
}
