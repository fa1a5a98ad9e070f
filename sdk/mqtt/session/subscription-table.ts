/**
 * The subscriptions of a client: which the broker knows, which requests are under way, and whom a message is for. Plain state: no link, no clock.
 */
import { HawserError } from "../../errors.js";
import { checkUserProperties } from "../check-properties.js";
import { RefusedError } from "../connect-error.js";
import { LazyMap } from "./lazy-map.js";
import type { SubscribeOptions } from "../options.js";
import { isAnswer } from "../link/reason-codes.js";
import { protocolError } from "../codec/packet-error.js";
import type { PacketIds } from "./packet-ids.js";
import type { OutboundPacket, Properties, ProtocolVersion, PublishProperties, SubackPacket, SubscribePacket, SubscriptionFields } from "../codec/packet-types.js";
import { Subscription, type InboundMessage, type SubscriptionOwner } from "./subscription.js";
import { checkFilter, hasWildcard, isShared, TopicMatcher } from "../topics.js";

export type ResolvedSubscribeOptions = SubscribeOptions & Required<Pick<SubscribeOptions, "qos" | "manualAck" | "bufferSize" | "bufferBytes">>;

/** What the subscriptions ask of their session. */
export interface SubscriptionsOwner {
  /** Not called between connections. @throws HawserError `PACKET_TOO_LARGE` */
  send(packet: OutboundPacket): void;
  dropped(message: InboundMessage, code: string): void;
  refused(filter: string, reasonCode: number): void;
  /** The broker answered what was not asked, or twice. */
  unasked(cmd: SubackPacket["cmd"], messageId: number): void;
}

interface Entry {
  readonly subscription: Subscription;
  readonly matcher: TopicMatcher;
  /** The broker's session has it. */
  isEstablished: boolean;
  /** It was granted once. */
  wasGranted: boolean;
}

/** A SUBSCRIBE or UNSUBSCRIBE without an answer. */
interface Request {
  readonly filter: string;
  /** Absent for UNSUBSCRIBE. */
  readonly entry?: Entry;
  readonly resolve?: (code: number) => void;
  readonly reject?: (error: HawserError) => void;
}

interface Leaving {
  /** UNSUBSCRIBE packets of this connection without an answer: one for each time it was made and closed again meanwhile. */
  asked: number;
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

export class Subscriptions implements SubscriptionOwner {
  readonly #entries = new LazyMap<string, Entry>();
  readonly #requests = new LazyMap<number, Request>();
  /** Filters closed here that the broker's session may still have. */
  readonly #leaving = new LazyMap<string, Leaving>();
  #isOnline = false;
  #version: ProtocolVersion = 4;
  #hasNoWildcards = false;
  #hasNoShared = false;
  #hasNoIdentifiers = false;
  /** Messages come on few topics: whom the last one was for. Emptied by every change. */
  #lastTopic: string | undefined;
  #lastTargets: readonly Subscription[] = NOBODY;

  constructor(
    private readonly ids: PacketIds,
    private readonly owner: SubscriptionsOwner,
  ) {}

  /** The request that has been unanswered for longest. */
  get oldestRequest(): object | undefined {
    for (const request of this.#requests.values()) return request;
    return undefined;
  }

  /** @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION` */
  add(filter: string, options: SubscribeOptions): Subscription {
    checkFilter(filter);
    if (this.#entries.has(filter)) {
      throw new HawserError("ALREADY_SUBSCRIBED", `there is already a subscription to ${filter}`, "Use that one, or close it first.");
    }
    const subscription = new Subscription(filter, resolveOptions(options, filter), this);
    const entry: Entry = { subscription, matcher: new TopicMatcher(filter), isEstablished: false, wasGranted: false };
    this.#entries.set(filter, entry);
    this.#lastTopic = undefined;
    if (this.#isOnline) this.#subscribe(entry);
    return subscription;
  }

  get(filter: string): Subscription | undefined {
    return this.#entries.get(filter)?.subscription;
  }

  /** Sends SUBSCRIBE once more and resolves with the broker's code; rejects when the connection ends before. */
  confirm(filter: string): Promise<number> {
    const entry = this.#entries.get(filter);
    if (entry === undefined) return Promise.reject(new HawserError("NOT_SUBSCRIBED", `there is no subscription to ${filter}`, "Subscribe first."));
    if (!this.#isOnline) return Promise.reject(notConnected(filter));
    return new Promise((resolve, reject) => this.#subscribe(entry, { resolve, reject }));
  }

  /** A connection begins: the broker is told what it does not know. @param server what its CONNACK says */
  begin(version: ProtocolVersion, sessionPresent: boolean, server: Properties): void {
    this.#isOnline = true;
    this.#hasNoWildcards = server.wildcardSubscriptionAvailable === false;
    this.#hasNoShared = server.sharedSubscriptionAvailable === false;
    this.#hasNoIdentifiers = server.subscriptionIdentifiersAvailable === false;
    // A session that 3.1.1 has gone on with lacks what only 5.0 can ask for.
    const isKnown = sessionPresent && version <= this.#version;
    this.#version = version;
    for (const [filter, leaving] of this.#leaving.entries()) {
      leaving.asked = 0;
      if (sessionPresent) this.#unsubscribe(filter, leaving);
      else leaving.resolve();
    }
    if (!sessionPresent) this.#leaving.clear();
    for (const entry of this.#entries.values()) {
      if (!isKnown) entry.isEstablished = false;
      if (!entry.isEstablished) this.#subscribe(entry, {}, sessionPresent && entry.wasGranted);
    }
  }

  /** The session that the next connection resumes may be one that the broker began when nobody heard of it: it has none of these. */
  doubt(): void {
    for (const entry of this.#entries.values()) entry.isEstablished = false;
  }

  end(): void {
    this.#isOnline = false;
    for (const [id, request] of this.#requests.entries()) {
      this.ids.release(id);
      request.reject?.(notConnected(request.filter));
    }
    this.#requests.clear();
  }

  /** Asks once more for what the broker refused, when it is still wanted. */
  askAgain(filter: string): void {
    const entry = this.#entries.get(filter);
    if (entry !== undefined && !entry.isEstablished && this.#isOnline) this.#subscribe(entry);
  }

  /** SUBACK or UNSUBACK. @throws PacketError where it cannot be the answer to what was sent */
  answered(packet: SubackPacket): void {
    const request = this.#requests.get(packet.messageId);
    if (request === undefined) return this.owner.unasked(packet.cmd, packet.messageId);
    if ((request.entry === undefined) !== (packet.cmd === "unsuback")) {
      throw protocolError(`${packet.cmd.toUpperCase()} for packet identifier ${packet.messageId}, which asked something else`);
    }
    const code = packet.granted[0] ?? 0;
    if (packet.granted.length > 1) throw protocolError(`${packet.cmd.toUpperCase()} with ${packet.granted.length} reason codes for one filter`);
    // 3.1.1 knows one code for a refusal, and its brokers send others.
    if (!isAnswer(packet.cmd, code) && (this.#version === 5 || code < 0x80)) throw protocolError(`${packet.cmd.toUpperCase()} with reason code ${code}`);
    this.#requests.delete(packet.messageId);
    this.ids.release(packet.messageId);
    if (request.entry === undefined) this.#left(request.filter);
    else this.#granted(request.entry, code, packet.properties);
    request.resolve?.(code);
  }

  /** Hands a message to all it is for; false when there is nobody. */
  deliver(message: InboundMessage): boolean {
    const targets = this.#targets(message.topic, message.properties);
    const only = targets[0];
    if (only === undefined) return false;
    if (targets.length === 1) only.push(message);
    else message.copies(targets.length).forEach((copy, i) => targets[i]?.push(copy));
    return true;
  }

  #targets(topic: string, properties: PublishProperties): readonly Subscription[] {
    const identifiers = properties.subscriptionIdentifiers;
    if (identifiers === undefined && topic === this.#lastTopic) return this.#lastTargets;
    const targets: Subscription[] = [];
    for (const { subscription, matcher } of this.#entries.values()) {
      const own = subscription.options.subscriptionIdentifier;
      // The broker may send one copy for all subscriptions that match, or one for each with its own identifier.
      if (own !== undefined && identifiers !== undefined && !identifiers.includes(own)) continue;
      if (matcher.matches(topic)) targets.push(subscription);
    }
    if (identifiers === undefined) {
      this.#lastTopic = topic;
      this.#lastTargets = targets;
    }
    return targets;
  }

  #subscribe(entry: Entry, asking: Pick<Request, "resolve" | "reject"> = {}, isAgain = asking.resolve !== undefined): void {
    const { filter, options } = entry.subscription;
    const refusal = this.#refusal(filter, options);
    if (refusal !== 0) {
      this.#granted(entry, refusal);
      return asking.resolve?.(refusal);
    }
    const messageId = this.ids.take();
    this.#requests.set(messageId, { filter, entry, ...asking });
    try {
      this.owner.send(subscribePacket(messageId, filter, options, this.#version, isAgain));
    } catch (error) {
      this.#requests.delete(messageId);
      this.ids.release(messageId);
      this.#remove(filter);
      entry.subscription.fail(error as HawserError);
      asking.reject?.(error as HawserError);
    }
  }

  /** The code for what the broker has said that it does not do: it may disconnect who asks (section 3.2.2.3.11 and on), and would be asked on each connection. */
  #refusal(filter: string, { subscriptionIdentifier }: ResolvedSubscribeOptions): number {
    if (this.#hasNoShared && isShared(filter)) return 0x9e;
    if (this.#hasNoIdentifiers && subscriptionIdentifier !== undefined) return 0xa1;
    return this.#hasNoWildcards && hasWildcard(filter) ? 0xa2 : 0;
  }

  #unsubscribe(filter: string, leaving: Leaving): void {
    leaving.asked++;
    const messageId = this.ids.take();
    this.#requests.set(messageId, { filter });
    this.owner.send({ cmd: "unsubscribe", messageId, unsubscriptions: [filter] });
  }

  #granted(entry: Entry, code: number, properties?: Properties): void {
    const { subscription } = entry;
    if (this.#entries.get(subscription.filter) !== entry) return;
    if (code < 0x80) {
      entry.isEstablished = true;
      entry.wasGranted = true;
      return subscription.answered(code);
    }
    entry.isEstablished = false;
    this.owner.refused(subscription.filter, code);
    // Refused when it was made, it is over. Refused later, it may be granted again on the next connection.
    if (entry.wasGranted) return;
    this.#remove(subscription.filter);
    subscription.fail(new RefusedError(`the subscription to ${subscription.filter}`, code, properties));
  }

  /** For a subscription: the application closed it. Settles when the broker knows. */
  closed(subscription: Subscription): Promise<void> {
    const { filter } = subscription;
    this.#remove(filter);
    const leaving = this.#leaving.get(filter) ?? newLeaving();
    this.#leaving.set(filter, leaving);
    if (this.#isOnline) this.#unsubscribe(filter, leaving);
    return leaving.done;
  }

  /** For a subscription: its buffer is full. */
  dropped(message: InboundMessage, code: string): void {
    this.owner.dropped(message, code);
  }

  #left(filter: string): void {
    const leaving = this.#leaving.get(filter);
    if (leaving === undefined || --leaving.asked > 0) return;
    leaving.resolve();
    this.#leaving.delete(filter);
  }

  #remove(filter: string): void {
    this.#entries.delete(filter);
    this.#lastTopic = undefined;
  }
}

function newLeaving(): Leaving {
  let resolve = (): void => undefined;
  const done = new Promise<void>((settle) => (resolve = settle));
  return { asked: 0, done, resolve };
}

const NOBODY: readonly Subscription[] = Object.freeze([]);

function subscribePacket(messageId: number, filter: string, options: ResolvedSubscribeOptions, version: ProtocolVersion, again: boolean): SubscribePacket {
  const fields: SubscriptionFields = { topic: filter, qos: options.qos };
  const packet: SubscribePacket = { cmd: "subscribe", messageId, subscriptions: [fields] };
  if (version !== 5) return packet;
  if (options.noLocal === true) fields.nl = true;
  if (options.retainAsPublished === true) fields.rap = true;
  // Asking again is no reason to send retained messages again.
  const retainHandling = again && options.retainHandling !== 2 ? 1 : options.retainHandling;
  if (retainHandling !== undefined) fields.rh = retainHandling;
  const { subscriptionIdentifier, userProperties } = options;
  if (subscriptionIdentifier !== undefined || userProperties !== undefined) {
    packet.properties = { ...(subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier }), ...(userProperties && { userProperties }) };
  }
  return packet;
}

function resolveOptions(options: SubscribeOptions, filter: string): ResolvedSubscribeOptions {
  const { qos = 0, manualAck = false, bufferSize = 4_096, bufferBytes = 262_144, subscriptionIdentifier: identifier } = options;
  if (options.userProperties !== undefined) checkUserProperties(options.userProperties);
  const isValid =
    (identifier === undefined || (Number.isInteger(identifier) && identifier >= 1 && identifier <= 268_435_455)) &&
    (qos === 0 || qos === 1 || qos === 2) &&
    // Brokers disconnect for it (MQTT 5.0, section 3.8.3.1), and it would be asked for again on each connection.
    (options.noLocal !== true || !isShared(filter)) &&
    bufferSize >= 1 &&
    bufferBytes >= 1;
  if (isValid) return { ...options, qos, manualAck, bufferSize, bufferBytes };
  throw new HawserError("BAD_OPTION", "an option of subscribe is out of its range", "See SubscribeOptions for what is possible.");
}

function notConnected(filter: string): HawserError {
  return new HawserError("NOT_CONNECTED", `there is no connection to subscribe to ${filter} on`, "Wait for the next connection.");
}
