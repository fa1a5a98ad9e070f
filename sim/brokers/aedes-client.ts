/** What we must know and mend of the clients of aedes 1.2 beyond its public types; the version is pinned for that reason. */
import type { AedesPublishPacket, Client } from "aedes";
import { matchesFilter } from "./topic-tree.js";

type Qos = AedesPublishPacket["qos"];
type Deliver = (packet: AedesPublishPacket, done: () => void) => void;

interface Internals {
  /** Live subscriptions by filter. */
  subscriptions: Record<string, { qos: Qos }>;
  /** The highest message counter seen, by broker. */
  duplicates: object;
  /** Delivers to a subscription of QoS 0. */
  deliver0: Deliver;
}

function internalsOf(client: Client): Internals {
  return client as unknown as Internals;
}

/** Whether the client has this subscription, and how many there are in all. */
export function subscriptionState(client: Client, filter: string): { isHeld: boolean; count: number } {
  const { subscriptions } = internalsOf(client);
  return { isHeld: subscriptions[filter] !== undefined, count: Object.keys(subscriptions).length };
}

/**
 * The lower of the message's QoS and the highest among the subscriptions that match (MQTT 3.1.1 sections 3.3.5 and 3.8.4); the message's
 * own when none matches any more. Aedes itself sees to it for filters without wildcards only.
 */
export function effectiveQos(client: Client, packet: AedesPublishPacket): Qos {
  if (packet.qos === 0) return 0;
  let granted: Qos | undefined;
  for (const [filter, { qos }] of Object.entries(internalsOf(client).subscriptions)) {
    if (matchesFilter(filter, packet.topic) && (granted === undefined || qos > granted)) granted = qos;
  }
  return granted === undefined || granted > packet.qos ? packet.qos : granted;
}

/**
 * Mends two things in a client that aedes has just made.
 * - Aedes takes a message for a duplicate when one that was published later has been delivered already, and that happens: storing a
 *   retained message takes a turn longer than passing on the next one. Our rules recognise copies by themselves.
 * - Where subscriptions of QoS 0 and of a higher one match, the copy of the higher one must be the one that is delivered.
 */
export function mendClient(client: Client): void {
  const internals = internalsOf(client);
  internals.duplicates = new Proxy({}, { get: () => undefined, set: () => true, deleteProperty: () => true });
  const deliver0 = internals.deliver0;
  internals.deliver0 = (packet, done) => {
    if (effectiveQos(client, packet) > 0) setImmediate(done);
    else deliver0(packet, done);
  };
}
