/**
 * The SDK's codec against mqtt-packet, an independent implementation: every packet a client sends has the very bytes that mqtt-packet
 * writes, and every packet a broker sends, written by mqtt-packet, is read as what it says.
 */
import mqttPacket from "mqtt-packet";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import type { InboundPacket, OutboundPacket, Properties, ProtocolVersion, QoS } from "../../../sdk/mqtt/codec/packet-types.js";
import { SeededRandom } from "../../../sim/virtual/random.js";
import { byteBend } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";

const library = mqttPacket as unknown as { generate(packet: object, options: { protocolVersion: number }): Uint8Array };
const LETTERS = ["a", "Z", "7", "/", " ", "ü", "€", "🚢", "/up", "x".repeat(130)];

/** An input seeds one packet. */
export const codecOracle: Target = {
  name: "codec-oracle",
  inputs: 1_000_000,
  maximumBytes: 64,
  bend: byteBend([]),
  async open() {
    return (input) => {
      const random = new SeededRandom(Buffer.from(input).toString("latin1"));
      const version: ProtocolVersion = random.chance(0.5) ? 4 : 5;
      return random.chance(0.5) ? checkWriting(random, version) : checkReading(random, version);
    };
  },
};

function checkWriting(random: SeededRandom, version: ProtocolVersion): string {
  const packet = outbound(random, version);
  const own = hex(encode(packet, version));
  const theirs = hex(library.generate(forLibrary(packet), { protocolVersion: version }));
  promise(own === theirs, `${packet.cmd} of ${version}: ${own} instead of ${theirs}`);
  return `wrote ${packet.cmd}`;
}

function checkReading(random: SeededRandom, version: ProtocolVersion): string {
  const packet = inbound(random, version);
  const wire = library.generate(forLibrary(packet), { protocolVersion: version });
  const read: InboundPacket[] = [];
  new FrameReader(version, 1_000_000, { packet: (one) => read.push(one) }).feed(Uint8Array.from(wire));
  const [own, expected] = [canonical(read), canonical([packet])];
  promise(own === expected, `${packet.cmd} of ${version}: ${own} instead of ${expected}`);
  return `read ${packet.cmd}`;
}

function outbound(random: SeededRandom, version: ProtocolVersion): OutboundPacket {
  const messageId = random.between(1, 65_535);
  switch (random.between(0, 6)) {
    case 0:
      return connect(random, version);
    case 1:
      return publish(random, version);
    case 2:
      return { cmd: random.pick(["puback", "pubrec", "pubrel", "pubcomp"]), messageId, reasonCode: 0 };
    case 3: {
      const subscriptions = some(random, () => ({
        topic: filter(random),
        qos: qos(random),
        ...(version === 5 && { nl: random.chance(0.5), rap: random.chance(0.5), rh: random.pick([0, 1, 2] as const) }),
      }));
      const properties = { ...(random.chance(0.5) && { subscriptionIdentifier: random.between(1, 268_435_455) }), ...pairs(random) };
      return { cmd: "subscribe", messageId, subscriptions, ...(version === 5 && { properties }) };
    }
    case 4:
      return {
        cmd: "unsubscribe",
        messageId,
        unsubscriptions: some(random, () => filter(random)),
        ...(version === 5 && { properties: pairs(random) }),
      };
    case 5:
      return { cmd: "pingreq" };
    default:
      // Short forms are ours alone: with a property mqtt-packet writes the same bytes.
      if (version === 4) return { cmd: "disconnect", reasonCode: 0 };
      return {
        cmd: "disconnect",
        reasonCode: random.pick([0, 4, 0x82]),
        properties: { sessionExpiryInterval: random.next(), ...pairs(random) },
      };
  }
}

function connect(random: SeededRandom, version: ProtocolVersion): OutboundPacket {
  const willProperties: Properties = { willDelayInterval: random.next(), contentType: text(random), ...pairs(random) };
  const will = { topic: topic(random), payload: random.bytes(random.between(0, 200)), qos: qos(random), retain: random.chance(0.5) };
  const properties: Properties = {
    sessionExpiryInterval: random.next(),
    receiveMaximum: random.between(1, 65_535),
    maximumPacketSize: random.between(1, 0xffff_ffff),
    ...(random.chance(0.5) && { topicAliasMaximum: random.between(0, 65_535), requestProblemInformation: random.chance(0.5) }),
    ...(random.chance(0.5) && { authenticationMethod: text(random), authenticationData: random.bytes(random.between(0, 40)) }),
    ...pairs(random),
  };
  return {
    cmd: "connect",
    protocolVersion: version,
    clientId: `c${text(random)}`,
    clean: random.chance(0.5),
    keepalive: random.between(0, 65_535),
    ...(random.chance(0.7) && {
      username: `u${text(random)}`,
      ...(random.chance(0.7) && { password: random.bytes(random.between(0, 300)) }),
    }),
    ...(random.chance(0.5) && { will: { ...will, ...(version === 5 && { properties: willProperties }) } }),
    ...(version === 5 && { properties }),
  };
}

function publish(random: SeededRandom, version: ProtocolVersion): Extract<InboundPacket, { cmd: "publish" }> {
  const level = qos(random);
  const properties: Properties = {
    ...(random.chance(0.5) && { payloadFormatIndicator: random.chance(0.5), messageExpiryInterval: random.next() }),
    ...(random.chance(0.3) && { topicAlias: random.between(1, 65_535), responseTopic: topic(random) }),
    ...(random.chance(0.3) && { contentType: text(random), correlationData: random.bytes(random.between(0, 40)) }),
    ...pairs(random),
  };
  return {
    cmd: "publish",
    topic: topic(random),
    payload: random.bytes(random.chance(0.005) ? 17_000 : random.pick([0, 1, 30, 120, 127, 128, 300])),
    qos: level,
    retain: random.chance(0.5),
    dup: level > 0 && random.chance(0.5),
    messageId: level > 0 ? random.between(1, 65_535) : 0,
    ...(version === 5 && Object.keys(properties).length > 0 && { properties }),
  };
}

function inbound(random: SeededRandom, version: ProtocolVersion): InboundPacket {
  const messageId = random.between(1, 65_535);
  const explained: Properties = { reasonString: text(random), ...pairs(random) };
  const properties = version === 5 && random.chance(0.5) ? { properties: explained } : {};
  switch (random.between(0, version === 5 ? 6 : 5)) {
    case 0:
      return publish(random, version);
    case 1: {
      const negotiated: Properties = {
        receiveMaximum: random.between(1, 65_535),
        maximumQoS: random.between(0, 1),
        retainAvailable: random.chance(0.5),
        assignedClientIdentifier: text(random),
        serverKeepAlive: random.between(0, 65_535),
        ...explained,
      };
      const reasonCode = random.pick(version === 5 ? [0, 0x87, 0x9d] : [0, 1, 5]);
      return {
        cmd: "connack",
        sessionPresent: random.chance(0.5),
        reasonCode,
        legacyForm: version === 4,
        ...(version === 5 && { properties: negotiated }),
      };
    }
    case 2: {
      const reasonCode = version === 5 ? random.pick([0, 0x10, 0x87, 0x97]) : 0;
      return { cmd: random.pick(["puback", "pubrec"]), messageId, reasonCode, ...properties };
    }
    case 3:
      return {
        cmd: "suback",
        messageId,
        granted: some(random, () => random.pick(version === 5 ? [0, 1, 2, 0x80, 0x87] : [0, 1, 2, 0x80])),
        ...properties,
      };
    case 4:
      return { cmd: "unsuback", messageId, granted: version === 5 ? some(random, () => random.pick([0, 0x11, 0x87])) : [], ...properties };
    case 5:
      return { cmd: "pingresp" };
    default:
      return { cmd: "disconnect", reasonCode: random.pick([0, 0x8b, 0x9d]), ...properties };
  }
}

const qos = (random: SeededRandom): QoS => random.pick([0, 1, 2] as const);
const text = (random: SeededRandom): string => Array.from({ length: random.between(0, 5) }, () => random.pick(LETTERS)).join("");
const topic = (random: SeededRandom): string => `t${text(random)}`;
const filter = (random: SeededRandom): string => random.pick([topic(random), "+/a/#", "#", `$share/g/${topic(random)}`]);
const some = <T>(random: SeededRandom, one: () => T): T[] => Array.from({ length: random.between(1, 4) }, one);

function pairs(random: SeededRandom): Pick<Properties, "userProperties"> {
  return random.chance(0.5) ? { userProperties: some(random, () => [text(random), text(random)] as [string, string]) } : {};
}

/** mqtt-packet wants Buffers, and user properties as a list of single pairs to keep their order. */
function forLibrary(packet: OutboundPacket | InboundPacket): object {
  const bare: Record<string, unknown> = { ...packet };
  if (packet.cmd === "connack" && packet.legacyForm) bare["returnCode"] = packet.reasonCode;
  return converted(bare) as object;
}

function converted(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(converted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      name === "userProperties" ? (one as [string, string][]).map(singlePair) : converted(one),
    ]),
  );
}

function singlePair([name, value]: [string, string]): object {
  return Object.defineProperty(Object.create(null) as object, name, { value, enumerable: true });
}

/** Text in which equal packets are equal, whatever the order of their fields. */
function canonical(packets: readonly InboundPacket[]): string {
  return JSON.stringify(packets, (_, value: unknown) => {
    if (value instanceof Uint8Array) return hex(value);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
