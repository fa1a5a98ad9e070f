/**
 * For tests: AWS IoT Core as its documentation describes it, over a scripted link. No test reaches AWS; the sources are in
 * docs/any-broker.md.
 */
import { failure } from "../../../sdk/failure.js";
import type { LibraryPacket } from "../mqtt/scripted-broker.js";
import { accepting, type Answer, type Behaviour, type Peer } from "../device/scripted-dialer.js";

const MOST_SLASHES = 7;
const MOST_TOPIC_BYTES = 256;
const MOST_PAYLOAD_BYTES = 128 * 1_024;

/** Ends the connection without a word, as AWS does in 3.1.1. */
function hangUp(peer: Peer): undefined {
  peer.wire.cut(failure("CONNECTION_CLOSED", "closed by the double"));
  return undefined;
}

function isTooLong(topic: string): boolean {
  const counted = topic.replace(/^\$aws\/rules\/[^/]+\//, "");
  return counted.split("/").length - 1 > MOST_SLASHES || Buffer.byteLength(counted) > MOST_TOPIC_BYTES;
}

const publish: Answer = (packet, peer) => {
  if (packet.qos === 2) return undefined;
  const size = Buffer.byteLength(packet["payload"] as Buffer | string);
  if (isTooLong(String(packet["topic"])) || size > MOST_PAYLOAD_BYTES) return hangUp(peer);
  return packet.qos === 1 ? { cmd: "puback", messageId: packet.messageId ?? 0, reasonCode: 0 } : undefined;
};

const subscribe: Answer = (packet, peer) => {
  const wanted = packet["subscriptions"] as { topic: string; qos: number }[];
  if (wanted.some(({ qos }) => qos === 2)) return undefined;
  if (wanted.length > 8 || wanted.some(({ topic }) => isTooLong(topic))) return hangUp(peer);
  return { cmd: "suback", messageId: packet.messageId ?? 0, granted: wanted.map(({ qos }) => qos) } as LibraryPacket;
};

/** @param registered false: a certificate of a CA for just-in-time registration that AWS has not seen: its first CONNECT is closed */
export function awsIotDouble({ registered = true } = {}): Behaviour {
  let isKnown = registered;
  const connect: Answer = (packet, peer) => {
    const will = packet["will"] as { topic: string; qos: number } | undefined;
    const isOff = will !== undefined && (will.qos === 2 || isTooLong(will.topic));
    if (isOff || !isKnown) {
      isKnown = true;
      return hangUp(peer);
    }
    return { cmd: "connack", sessionPresent: false, reasonCode: 0, returnCode: 0 };
  };
  return accepting({ connect, publish, subscribe });
}
