/** Packets of the bytes a client sends: strict, because a broker in a test is there to find fault. */
import { readProperties, type Properties } from "./wire-properties.js";
import type {
  Ack,
  Connect,
  Farewell,
  FromClient,
  Publish,
  Qos,
  Subscribe,
  SubscriptionOptions,
  Unsubscribe,
  Version,
  Will,
} from "./wire-packets.js";
import { WireError } from "./wire-error.js";
import { WireReader } from "./wire-reader.js";

const TYPES = [
  undefined,
  "connect",
  undefined,
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "subscribe",
  undefined,
  "unsubscribe",
  undefined,
  "pingreq",
  undefined,
  "disconnect",
  "auth",
] as const;

export class Decoder {
  #pending = new Uint8Array(0);
  #version: Version = 4;

  /** The next whole packet and its size, as far as bytes have come. */
  *take(bytes: Uint8Array): Generator<{ packet: FromClient; sizeBytes: number }> {
    const all = new Uint8Array(this.#pending.length + bytes.length);
    all.set(this.#pending);
    all.set(bytes, this.#pending.length);
    let at = 0;
    for (let head = headOf(all, at); head && at + head.headBytes + head.bodyBytes <= all.length; head = headOf(all, at)) {
      const end = at + head.headBytes + head.bodyBytes;
      const packet = this.#packet(all[at] ?? 0, new WireReader(all.subarray(at + head.headBytes, end)));
      const sizeBytes = end - at;
      at = end;
      yield { packet, sizeBytes };
    }
    this.#pending = all.slice(at);
  }

  #packet(first: number, body: WireReader): FromClient {
    const type = TYPES[first >> 4];
    if (type === undefined) throw new WireError(`a packet of type ${first >> 4}`);
    const wantedFlags = type === "pubrel" || type === "subscribe" || type === "unsubscribe" ? 2 : 0;
    if (type !== "publish" && (first & 15) !== wantedFlags) throw new WireError(`${type} with flags ${first & 15}`);
    const packet = this.#body(type, first, body);
    if (body.left > 0) throw new WireError(`${type} with ${body.left} bytes after its end`);
    return packet;
  }

  #body(type: Exclude<(typeof TYPES)[number], undefined>, first: number, body: WireReader): FromClient {
    switch (type) {
      case "connect": {
        const connect = readConnect(body);
        this.#version = connect.version;
        return connect;
      }
      case "publish":
        return readPublish(first, body, this.#version);
      case "subscribe":
        return readSubscribe(body, this.#version);
      case "unsubscribe":
        return readUnsubscribe(body, this.#version);
      case "pingreq":
        return { type };
      case "disconnect":
      case "auth":
        return { type, ...readReason(body, this.#version, type) } satisfies Farewell;
      default:
        return { type, id: packetId(body), ...readReason(body, this.#version, type) } satisfies Ack;
    }
  }
}

function headOf(bytes: Uint8Array, at: number): { headBytes: number; bodyBytes: number } | undefined {
  let bodyBytes = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return undefined;
    bodyBytes += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { headBytes: 2 + i, bodyBytes };
  }
  throw new WireError("a length of more than four bytes");
}

function readConnect(body: WireReader): Connect {
  if (body.text() !== "MQTT") throw new WireError("an unknown protocol name");
  const version = body.u8();
  if (version !== 4 && version !== 5) throw new WireError(`protocol version ${version}`);
  const flags = body.u8();
  if (flags & 1) throw new WireError("CONNECT with its reserved flag");
  const keepAliveSeconds = body.u16();
  const properties = version === 5 ? readProperties(body) : {};
  const clientId = body.text();
  const will = flags & 4 ? readWill(body, flags, version) : undefined;
  if (!will && flags & 0x38) throw new WireError("CONNECT with will flags and no will");
  return {
    type: "connect",
    version,
    clean: (flags & 2) !== 0,
    keepAliveSeconds,
    clientId,
    properties,
    ...(will ? { will } : {}),
    ...(flags & 0x80 ? { username: body.text() } : {}),
    ...(flags & 0x40 ? { password: body.binary() } : {}),
  };
}

function readWill(body: WireReader, flags: number, version: Version): Will {
  const properties = version === 5 ? readProperties(body) : {};
  return { topic: topicName(body.text()), payload: body.binary(), qos: qosOf((flags >> 3) & 3), retain: (flags & 0x20) !== 0, properties };
}

function readPublish(first: number, body: WireReader, version: Version): Publish {
  const qos = qosOf((first >> 1) & 3);
  const dup = (first & 8) !== 0;
  if (dup && qos === 0) throw new WireError("PUBLISH at QoS 0 with DUP");
  const topic = topicName(body.text());
  const id = qos > 0 ? packetId(body) : 0;
  const properties = version === 5 ? readProperties(body) : {};
  if (topic === "" && properties.topicAlias === undefined) throw new WireError("PUBLISH without a topic");
  return { type: "publish", topic, qos, dup, id, retain: (first & 1) !== 0, properties, payload: body.bytes(body.left) };
}

const RETAIN_HANDLING = [0, 1, 2] as const;

function readSubscribe(body: WireReader, version: Version): Subscribe {
  const id = packetId(body);
  const properties = version === 5 ? readProperties(body) : {};
  const subscriptions: SubscriptionOptions[] = [];
  while (body.left > 0) {
    const filter = body.text();
    const options = body.u8();
    const retainHandling = RETAIN_HANDLING[(options >> 4) & 3];
    if (options & (version === 5 ? 0xc0 : 0xfc) || retainHandling === undefined) throw new WireError("SUBSCRIBE with reserved options");
    subscriptions.push({
      filter,
      qos: qosOf(options & 3),
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      retainHandling,
    });
  }
  if (subscriptions.length === 0) throw new WireError("SUBSCRIBE to nothing");
  return { type: "subscribe", id, subscriptions, properties };
}

function readUnsubscribe(body: WireReader, version: Version): Unsubscribe {
  const id = packetId(body);
  const properties = version === 5 ? readProperties(body) : {};
  const filters: string[] = [];
  while (body.left > 0) filters.push(body.text());
  if (filters.length === 0) throw new WireError("UNSUBSCRIBE from nothing");
  return { type: "unsubscribe", id, filters, properties };
}

/** Reason code and properties that may be left out; leaving in what says nothing is a fault too. */
function readReason(body: WireReader, version: Version, type: string): { reasonCode: number; properties: Properties } {
  if (body.left === 0) return { reasonCode: 0, properties: {} };
  if (version === 4) throw new WireError(`${type} longer than 3.1.1 allows`);
  const reasonCode = body.u8();
  if (body.left === 0) {
    if (reasonCode === 0) throw new WireError(`${type} with a reason code 0 that could be left out`);
    return { reasonCode, properties: {} };
  }
  const properties = readProperties(body);
  if (Object.keys(properties).length === 0) throw new WireError(`${type} with an empty property list that could be left out`);
  return { reasonCode, properties };
}

function packetId(body: WireReader): number {
  const id = body.u16();
  if (id === 0) throw new WireError("packet identifier 0");
  return id;
}

function topicName(text: string): string {
  if (/[+#]/.test(text)) throw new WireError("a topic name with wildcards");
  return text;
}

function qosOf(value: number): Qos {
  if (value === 0 || value === 1 || value === 2) return value;
  throw new WireError("QoS 3");
}
