/**
 * What a broker keeps of its clients between connections: sessions, unacknowledged messages, retained messages. In memory, bounded.
 *
 * It outlives a broker that was killed: hand it to the next one and nothing is lost that a broker with a disk would keep. Its methods are
 * the persistence interface of aedes 1.2 (aedes-persistence 11); aedes' own default has no bounds, queues for filters that were denied,
 * and reports no session for a client without subscriptions.
 */
import { Readable } from "node:stream";
import { DEFAULT_LIMITS, type BrokerEvent, type BrokerLimits } from "./broker-events.js";
import { OutgoingQueue, type QueuedPacket } from "./outgoing-queue.js";
import { TopicTree, matchesFilter, type Match } from "./topic-tree.js";

/** What the store reads of aedes' clients. */
export interface StoreClient {
  id: string;
  clean?: boolean;
}

export interface StoredSubscription {
  topic: string;
  qos: number;
}

type IncomingPacket = QueuedPacket & { messageId: number };

/** The questions that the store asks the broker in charge. */
export interface StoreOwner {
  limits: BrokerLimits;
  maySubscribe(client: StoreClient, filter: string): boolean;
  /** Whose session a new one is. */
  nameOf(clientId: string): string;
  /** `keep`: not over this connection, but the session's owner may have it. */
  mayReplay(client: StoreClient, topic: string): "send" | "keep" | "drop";
  onDropped(event: Extract<BrokerEvent, { type: "dropped" }>): void;
}

/**
 * In a session's list of subscriptions this stands for the session itself: aedes reports "session present" only where there is a
 * subscription.
 */
export const SESSION_MARK = "$hawser/session";

/** Denied messages go to this topic, which nobody can read: aedes could otherwise only close the connection. */
export const SINK_TOPIC = "$hawser/denied";

interface Session {
  readonly name: string;
  /** When its client was last seen connected. */
  seenMs: number;
  /** Granted QoS by filter. */
  subscriptions: Map<string, number>;
  queue: OutgoingQueue;
}

/** The sessions and messages that a broker keeps, as its owner sees them. */
export interface BrokerSessions {
  readonly sessionCount: number;
  /** The number of messages that wait for a client. */
  queuedCount(clientId: string): number;
}

export class SessionStore implements BrokerSessions {
  readonly #sessions = new Map<string, Session>();
  readonly #subscriptions = new TopicTree();
  readonly #retained = new Map<string, QueuedPacket>();
  #retainedBytes = 0;
  readonly #countByName = new Map<string, number>();
  readonly #incoming = new Map<string, Map<number, IncomingPacket>>();
  #owner: StoreOwner = {
    limits: DEFAULT_LIMITS,
    maySubscribe: () => false,
    nameOf: () => "",
    mayReplay: () => "keep",
    onDropped: () => undefined,
  };

  /** The broker that uses the store from now on. */
  attach(owner: StoreOwner): void {
    this.#owner = owner;
  }

  /** Clients that have a session (clean session 0), connected or not. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Sessions of one name. */
  sessionCountOf(name: string): number {
    return this.#countByName.get(name) ?? 0;
  }

  hasSession(clientId: string): boolean {
    return this.#sessions.has(clientId);
  }

  /** Unacknowledged messages of a client's session. */
  queuedCount(clientId: string): number {
    return this.#sessions.get(clientId)?.queue.size ?? 0;
  }

  /** Forgets the sessions whose clients have been away for longer than `maxAwaySeconds`. */
  async endOldSessions(isHere: (clientId: string) => boolean, nowMs: number): Promise<void> {
    const oldestMs = nowMs - this.#owner.limits.maxAwaySeconds * 1_000;
    for (const [id, session] of this.#sessions) {
      if (isHere(id)) session.seenMs = nowMs;
      else if (session.seenMs < oldestMs) await Promise.all([this.cleanSubscriptions({ id }), this.cleanIncoming({ id })]);
    }
  }

  /** True while messages wait to be replayed and this one among them: it must not overtake them. */
  waitsInReplay(clientId: string, packet: { brokerId: string; brokerCounter: number }): boolean {
    return this.#sessions.get(clientId)?.queue.waitsInReplay(packet) ?? false;
  }

  /** The client's connection is gone. */
  endReplay(clientId: string): void {
    this.#sessions.get(clientId)?.queue.endReplay();
  }

  /** Aedes insists on an asynchronous function. */
  async setup(): Promise<void> {
    // Nothing to open: the owner was attached.
  }

  async storeRetained(packet: QueuedPacket): Promise<void> {
    const { maxRetainedMessages, maxRetainedBytes } = this.#owner.limits;
    const before = this.#retained.get(packet.topic);
    const bytes = this.#retainedBytes - (before === undefined ? 0 : retainedSize(before));
    if (packet.payload.length === 0) {
      this.#retained.delete(packet.topic);
      this.#retainedBytes = bytes;
    } else if ((before !== undefined || this.#retained.size < maxRetainedMessages) && bytes + retainedSize(packet) <= maxRetainedBytes) {
      this.#retained.set(packet.topic, { ...packet });
      this.#retainedBytes = bytes + retainedSize(packet);
    } else {
      this.#owner.onDropped({ type: "dropped", clientId: packet.clientId ?? "", topic: packet.topic, reason: "RETAINED_FULL" });
    }
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retainedFor(filters));
  }

  *#retainedFor(filters: readonly string[]): Generator<QueuedPacket> {
    for (const [topic, packet] of this.#retained) {
      if (filters.some((filter) => matchesFilter(filter, topic))) yield packet;
    }
  }

  async addSubscriptions(client: StoreClient, subscriptions: readonly StoredSubscription[]): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return;
    for (const { topic, qos } of subscriptions) {
      // Aedes hands over all filters of a SUBSCRIBE, the denied ones too.
      if (!this.#owner.maySubscribe(client, topic)) continue;
      session.subscriptions.set(topic, qos);
      if (qos > 0) this.#subscriptions.set(topic, client.id, qos);
      else this.#subscriptions.delete(topic, client.id);
    }
  }

  async removeSubscriptions(client: StoreClient, filters: readonly string[]): Promise<void> {
    for (const filter of filters) {
      this.#sessions.get(client.id)?.subscriptions.delete(filter);
      this.#subscriptions.delete(filter, client.id);
    }
  }

  /** Called for every client that asks for its session: makes one where there is none. */
  async subscriptionsByClient(client: StoreClient): Promise<StoredSubscription[]> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) {
      const name = this.#owner.nameOf(client.id);
      this.#sessions.set(client.id, { name, seenMs: Date.now(), subscriptions: new Map(), queue: new OutgoingQueue() });
      this.#countByName.set(name, this.sessionCountOf(name) + 1);
      return [];
    }
    session.queue.beginReplay();
    return [{ topic: SESSION_MARK, qos: 0 }, ...[...session.subscriptions].map(([topic, qos]) => ({ topic, qos }))];
  }

  async subscriptionsByTopic(topic: string): Promise<Match[]> {
    return topic === SINK_TOPIC ? [] : this.#subscriptions.match(topic).map((match) => ({ ...match, topic }));
  }

  /** Called for every client with clean session 1: forgets what was kept for it. */
  async cleanSubscriptions(client: StoreClient): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return;
    for (const filter of session.subscriptions.keys()) this.#subscriptions.delete(filter, client.id);
    this.#sessions.delete(client.id);
    const others = this.sessionCountOf(session.name) - 1;
    if (others > 0) this.#countByName.set(session.name, others);
    else this.#countByName.delete(session.name);
  }

  async outgoingEnqueueCombi(matches: readonly Match[], packet: QueuedPacket): Promise<void> {
    for (const { clientId, qos } of matches) {
      const session = this.#sessions.get(clientId);
      if (session === undefined || session.queue.add(packet, Math.min(qos, packet.qos), this.#owner.limits)) continue;
      this.#owner.onDropped({ type: "dropped", clientId, topic: packet.topic, reason: "QUEUE_FULL" });
    }
  }

  async outgoingEnqueue(match: Match, packet: QueuedPacket): Promise<void> {
    await this.outgoingEnqueueCombi([{ clientId: match.clientId, qos: packet.qos }], packet);
  }

  /** A packet is about to be sent; may change its packet identifier to one that is free. */
  async outgoingUpdate(client: StoreClient, packet: QueuedPacket): Promise<void> {
    this.#sessions.get(client.id)?.queue.sending(packet);
  }

  async outgoingClearMessageId(client: StoreClient, packet: { messageId?: number | undefined }): Promise<QueuedPacket | undefined> {
    return packet.messageId === undefined ? undefined : this.#sessions.get(client.id)?.queue.acknowledged(packet.messageId);
  }

  outgoingStream(client: StoreClient): Readable {
    const session = client.clean === true ? undefined : this.#sessions.get(client.id);
    if (session === undefined) return Readable.from([]);
    return Readable.from(session.queue.replay((topic) => this.#owner.mayReplay(client, topic)));
  }

  async incomingStorePacket(client: StoreClient, packet: IncomingPacket): Promise<void> {
    let packets = this.#incoming.get(client.id);
    if (packets === undefined) {
      packets = new Map();
      this.#incoming.set(client.id, packets);
    }
    // Only the identifier matters: the message itself goes out at once.
    packets.set(packet.messageId, { ...packet, payload: Buffer.alloc(0) });
  }

  async incomingGetPacket(client: StoreClient, packet: IncomingPacket): Promise<IncomingPacket> {
    const found = this.#incoming.get(client.id)?.get(packet.messageId);
    if (found === undefined) throw new Error("no such packet");
    return found;
  }

  async incomingDelPacket(client: StoreClient, packet: IncomingPacket): Promise<void> {
    this.#incoming.get(client.id)?.delete(packet.messageId);
  }

  async cleanIncoming(client: StoreClient): Promise<void> {
    this.#incoming.delete(client.id);
  }

  // Wills live in the connection: like mosquitto, a broker that dies takes them with it.
  async putWill(): Promise<void> {
    // See above.
  }

  async delWill(): Promise<void> {
    // See above.
  }

  streamWill(): Readable {
    return Readable.from([]);
  }
}

function retainedSize(packet: QueuedPacket): number {
  return packet.topic.length + packet.payload.length;
}
