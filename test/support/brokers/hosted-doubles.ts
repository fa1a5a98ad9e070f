/**
 * For tests: hosted brokers as their documentation describes them, over a scripted link. No test reaches one; the sources are in
 * docs/any-broker.md.
 */
import { failure } from "../../../sdk/failure.js";
import { accepting, type Answer, type Behaviour, type Peer } from "../device/scripted-dialer.js";
import type { LibraryPacket } from "../mqtt/scripted-broker.js";

interface Will {
  topic: string;
  qos: number;
  retain: boolean;
  properties?: { willDelayInterval?: number };
}

interface Publish {
  topic: string;
  qos: number;
  retain: boolean;
  payload: Buffer;
  /** Of the packet as it came. */
  bytes: number;
}

interface Subscribe {
  topic: string;
  qos: number;
  properties: Record<string, unknown>;
  /** Subscriptions of this client, this one among them. */
  count: number;
}

/** Whether the broker takes it; one that does not ends the connection without a word. */
interface Rules {
  connects?: (packet: LibraryPacket, peer: Peer) => boolean;
  will?: (will: Will) => boolean;
  publish?: (publish: Publish) => boolean;
  subscribe?: (subscribe: Subscribe) => boolean;
  /** Refused in the SUBACK instead. */
  grants?: (subscribe: Subscribe) => boolean;
  /** What follows an accepted publish. */
  follows?: (publish: Publish, peer: Peer) => void;
}

function double({ connects, will, publish, subscribe, grants, follows }: Rules): Behaviour {
  const hangUp = (peer: Peer): undefined => {
    peer.wire.cut(failure("CONNECTION_CLOSED", "closed by the double"));
    return undefined;
  };
  const filters = new Set<string>();
  const onConnect: Answer = (packet, peer) => {
    const asked = packet["will"] as Will | undefined;
    if (asked && will && !will(asked)) return hangUp(peer);
    if (connects && !connects(packet, peer)) {
      const code = peer.version === 5 ? 135 : 5;
      return { cmd: "connack", sessionPresent: false, reasonCode: code, returnCode: code };
    }
    return { cmd: "connack", sessionPresent: false, reasonCode: 0, returnCode: 0 };
  };
  const onPublish: Answer = (packet, peer) => {
    const payload = Buffer.from(packet["payload"] as Buffer);
    const came = { ...(packet as unknown as Publish), payload, bytes: Number(packet["length"]) + 4 };
    if (publish && !publish(came)) return hangUp(peer);
    follows?.(came, peer);
    return packet["qos"] === 1 ? { cmd: "puback", messageId: packet.messageId ?? 0, reasonCode: 0 } : undefined;
  };
  const onSubscribe: Answer = (packet, peer) => {
    const wanted = packet["subscriptions"] as { topic: string; qos: number }[];
    const properties = (packet["properties"] ?? {}) as Record<string, unknown>;
    const asked = wanted.map(({ topic, qos }) => ({ topic, qos, properties, count: filters.add(topic).size }));
    if (subscribe && !asked.every((one) => subscribe(one))) return hangUp(peer);
    const granted = asked.map((one) => (grants && !grants(one) ? 0x80 : Math.min(one.qos, 1)));
    return { cmd: "suback", messageId: packet.messageId ?? 0, granted } as LibraryPacket;
  };
  return accepting({ connect: onConnect, publish: onPublish, subscribe: onSubscribe });
}

const isAddress = (peer: Peer): boolean => /^[\d.]+$/.test(peer.endpoint.host);

export function eventGridDouble(): Behaviour {
  return double({
    will: ({ qos, retain, properties }) => qos < 2 && !retain && (properties?.willDelayInterval ?? 0) <= 300,
    publish: ({ qos, retain, bytes }) => qos < 2 && !retain && bytes <= 524_288,
    subscribe: ({ topic, properties }) =>
      !topic.startsWith("$share/") && !("subscriptionIdentifier" in properties) && !("userProperties" in properties),
  });
}

export function iotHubDouble(id: string): Behaviour {
  const own = `devices/${id}/messages`;
  return double({
    connects: ({ username, clientId }, { version }) =>
      version === 4 && clientId === id && new RegExp(`^hub\\.azure-devices\\.net/${id}/\\?api-version=`).test(String(username)),
    will: ({ topic }) => topic.startsWith(`${own}/events/`),
    publish: ({ topic, qos, payload }) =>
      qos < 2 && payload.length <= 262_144 && (topic.startsWith(`${own}/events/`) || /^\$iothub\/(twin|methods)\//.test(topic)),
    subscribe: ({ topic, count }) => count <= 5 && (topic === `${own}/devicebound/#` || /^\$iothub\/(twin|methods)\/.*#$/.test(topic)),
  });
}

export function dpsDouble(id: string): Behaviour {
  const answer = (peer: Peer, status: number, body: object): void =>
    peer.send({ cmd: "publish", topic: `$dps/registrations/res/${status}/?$rid=1&retry-after=3`, payload: JSON.stringify(body), qos: 0 });
  return double({
    connects: ({ username, clientId }, { version }) =>
      version === 4 && clientId === id && username === `0ne00000001/registrations/${id}/api-version=2019-03-31`,
    publish: ({ topic, qos }) => qos < 2 && topic.startsWith("$dps/registrations/"),
    subscribe: ({ topic }) => topic === "$dps/registrations/res/#",
    follows({ topic }, peer) {
      const isFirst = topic.startsWith("$dps/registrations/PUT/iotdps-register/");
      if (isFirst) answer(peer, 202, { operationId: "op-1", status: "assigning" });
      else if (topic.endsWith("&operationId=op-1"))
        answer(peer, 200, { status: "assigned", registrationState: { assignedHub: "hub.azure-devices.net" } });
    },
  });
}

export function hiveMqDouble(): Behaviour {
  return double({ connects: ({ username, password }, peer) => !isAddress(peer) && username !== undefined && password !== undefined });
}

export function emqxDouble(): Behaviour {
  return double({
    connects: ({ username, password }, peer) => !isAddress(peer) && username !== undefined && password !== undefined,
    publish: ({ bytes }) => bytes <= 1_048_576,
    grants: ({ topic, count }) => count <= 10 && topic.split("/").length <= 10,
  });
}

export function thingsBoardDouble(token: string): Behaviour {
  const isKnown = ({ topic }: { topic: string }): boolean => /^v1\/(devices\/me|gateway)\/|^v2\//.test(topic);
  return double({
    connects: ({ username }) => username === token,
    publish: (publish) => isKnown(publish) && publish.qos < 2 && publish.payload.length <= 65_536,
    subscribe: isKnown,
  });
}

/** Takes everything; what becomes an entity is in `entities`. */
export function homeAssistantDouble(entities: string[]): Behaviour {
  return double({
    connects: ({ username, password }) => username !== undefined && password !== undefined,
    follows({ topic, payload, retain }) {
      const [, component = ""] = /^homeassistant\/(\w+)\/(?:[a-zA-Z0-9_-]+\/)?[a-zA-Z0-9_-]+\/config$/.exec(topic) ?? [];
      if (component === "" || !retain) return;
      try {
        const found = JSON.parse(payload.toString()) as Record<string, unknown>;
        const wanted = component === "device" ? ["device", "origin", "components"] : ["unique_id"];
        if (wanted.every((key) => key in found)) entities.push(topic);
      } catch {
        // Home Assistant logs it, and nothing appears.
      }
    },
  });
}
