/**
 * The subscriptions of a client: which the broker knows, which requests are under way, and whom a message is for. Plain state: no link, no
 * clock.
 */
import { HawserError } from "../../errors.js";
import { checkUserProperties } from "../contract/check-properties.js";
import { resolveSubscribeOptions, subscribePacket, type ResolvedSubscribeOptions } from "./subscribe-request.js";
import { hangsUpError, RefusedError } from "../contract/connect-error.js";
import type { FilterRecord } from "./filter-record.js";
import { LazyMap } from "./lazy-map.js";
import type { SubscribeOptions, UnsubscribeOptions, UnsubscribeResult } from "../contract/options.js";
import { isAnswer } from "../contract/reason-codes.js";
import { protocolError } from "../codec/packet-error.js";
import type { PacketIds } from "./packet-ids.js";
import type {
  OutboundPacket,
  Properties,
  ProtocolVersion,
  PublishProperties,
  SubackPacket,
  UserProperties,
} from "../codec/packet-types.js";
import { MessageStream, type InboundMessage, type SubscriptionOwner } from "./message-stream.js";
import { APART_STRIKES, fewestStrikes, type Retried, type Suspects } from "./suspects.js";
import { checkFilter, hasWildcard, isShared, TopicMatcher } from "../contract/topics.js";

/** What the subscriptions ask of their session. */
export interface SubscriptionTableOwner {
  /** Not called between connections. @throws HawserError `PACKET_TOO_LARGE` */
  send(packet: OutboundPacket): void;
  dropped(message: InboundMessage, code: string): void;
  /** Messages that a closed subscription leaves; others may want them. */
  leftBehind(message: InboundMessage): void;
  refused(filter: string, error: HawserError): void;
  /** The broker answered what was not asked, or twice. */
  unasked(cmd: SubackPacket["cmd"], messageId: number): void;
}

interface Entry extends Retried {
  readonly subscription: MessageStream;
  readonly matcher: TopicMatcher;
  /** Of the filter that it had before. */
  readonly former: TopicMatcher | undefined;
  /** Comes back with each message that the broker sends for it (5.0). */
  readonly identifier: number;
  /** The broker was told the identifier, if it has the subscription. */
  isNamed: boolean;
  /** The broker's session has it. */
  isEstablished: boolean;
  /** It was granted once. */
  wasGranted: boolean;
  /** SUBSCRIBE packets of this connection without an answer. */
  asked: number;
}

interface Leaving extends Retried {
  readonly filters: readonly string[];
  userProperties: UserProperties | undefined;
  /** UNSUBSCRIBE packets of this connection without an answer: one for each time it was made and closed again meanwhile. */
  asked: number;
  readonly done: Promise<UnsubscribeResult>;
  readonly resolve: (result: UnsubscribeResult) => void;
}

/** A SUBSCRIBE or UNSUBSCRIBE without an answer. */
type Request =
  | { readonly item: Entry; readonly resolve?: (code: number) => void; readonly reject?: (error: HawserError) => void }
  | { readonly item: Leaving };

const NO_SUBSCRIPTION_EXISTED = 0x11;
const UNSPECIFIED_ERROR = 0x80;
const PACKET_TOO_LARGE = 0x95;
/** Automatic identifiers end here: two bytes in each message. */
const AUTOMATIC_IDENTIFIERS = 16_383;

export class SubscriptionTable implements SubscriptionOwner {
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
  #lastIdentifier: number | undefined;
  #lastTargets: readonly MessageStream[] = NOBODY;

  constructor(
    private readonly ids: PacketIds,
    private readonly suspects: Suspects,
    /** What the broker's session has, earlier firmware's subscriptions included. */
    readonly record: FilterRecord,
    private readonly owner: SubscriptionTableOwner,
    /** Each subscription gets an identifier, asked for or not. */
    private readonly namesAll = true,
  ) {}

  /** The request that has been unanswered for longest. */
  get oldestRequest(): { readonly item: Retried } | undefined {
    for (const request of this.#requests.values()) return request;
    return undefined;
  }

  /** The filters subscribed to at the moment. */
  get filters(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** Filters of the broker's session that nobody here has subscribed to since this program began. */
  get leftovers(): readonly string[] {
    return this.record.filters.filter((filter) => !this.#entries.has(filter));
  }

  /** @throws HawserError `INVALID_FILTER`, `ALREADY_SUBSCRIBED`, `BAD_OPTION` */
  add(filter: string, options: SubscribeOptions): MessageStream {
    checkFilter(filter);
    if (this.#entries.has(filter)) {
      throw new HawserError("ALREADY_SUBSCRIBED", `a subscription to ${filter} already exists`, "Use that one, or close it first.");
    }
    const subscription = new MessageStream(filter, resolveSubscribeOptions(options, filter), this);
    this.#enter(subscription);
    return subscription;
  }

  #enter(subscription: MessageStream, before?: Entry): void {
    const { filter, options } = subscription;
    const entry: Entry = {
      subscription,
      matcher: new TopicMatcher(filter),
      former: before?.matcher,
      identifier: options.subscriptionIdentifier ?? this.#freeIdentifier(filter),
      isNamed: true,
      isEstablished: false,
      wasGranted: before?.wasGranted === true,
      asked: 0,
      strikes: 0,
    };
    this.suspects.begin(entry, filter);
    this.#entries.set(filter, entry);
    this.#lastTopic = undefined;
    if (this.#isOnline && entry.strikes < APART_STRIKES) this.#subscribe(entry);
  }

  /**
   * Gives subscriptions other filters, and unsubscribes from the ones before. What the broker still sends for those is delivered,
   * until they are moved again.
   * @param renamed the filter for each one that there is
   */
  move(renamed: (filter: string) => string): void {
    for (const entry of [...this.#entries.values()]) {
      const { subscription } = entry;
      const filter = renamed(subscription.filter);
      if (this.#entries.has(filter)) continue;
      void this.closed(subscription);
      subscription.filter = filter;
      this.#enter(subscription, entry);
    }
  }

  /** Follows from the filter alone, as far as possible: what the broker has queued under it finds its way after a reboot too. */
  #freeIdentifier(filter: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < filter.length; i++) hash = Math.imul(hash ^ filter.charCodeAt(i), 0x01000193);
    const taken = new Set([...this.#entries.values()].map(({ identifier }) => identifier));
    let identifier = (hash >>> 0) % AUTOMATIC_IDENTIFIERS;
    while (taken.has(identifier + 1)) identifier = (identifier + 1) % AUTOMATIC_IDENTIFIERS;
    return identifier + 1;
  }

  get(filter: string): MessageStream | undefined {
    return this.#entries.get(filter)?.subscription;
  }

  /** Sends SUBSCRIBE once more and resolves with the broker's code; rejects when the connection ends before. */
  confirm(filter: string): Promise<number> {
    const entry = this.#entries.get(filter);
    if (entry === undefined) return Promise.reject(new HawserError("NOT_SUBSCRIBED", `not subscribed to ${filter}`, "Subscribe first."));
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
    if (!sessionPresent) this.#sessionLost();
    for (const leaving of this.#leaving.values()) {
      for (const filter of leaving.filters) this.#notEstablished(filter);
      if (leaving.strikes < APART_STRIKES) this.#unsubscribe(leaving);
    }
    for (const entry of this.#entries.values()) {
      if (!isKnown) entry.isEstablished = false;
      if (!entry.isEstablished && entry.strikes < APART_STRIKES) this.#subscribe(entry, {}, sessionPresent && entry.wasGranted);
    }
  }

  #sessionLost(): void {
    this.record.sessionLost();
    for (const leaving of this.#leaving.values()) leaving.resolve({ reasonCodes: leaving.filters.map(() => NO_SUBSCRIPTION_EXISTED) });
    this.#leaving.clear();
  }

  /** The UNSUBSCRIBE that goes out first would take it away. */
  #notEstablished(filter: string): void {
    const entry = this.#entries.get(filter);
    if (entry !== undefined) entry.isEstablished = false;
  }

  /** The session that the next connection resumes may be one that the broker began when nobody heard of it: it has none of these. */
  doubt(): void {
    for (const entry of this.#entries.values()) entry.isEstablished = false;
  }

  end(): void {
    this.#isOnline = false;
    for (const [id, request] of this.#requests.entries()) {
      this.ids.release(id);
      request.item.asked = 0;
      if ("reject" in request) request.reject?.(notConnected(request.item.subscription.filter));
    }
    this.#requests.clear();
  }

  /** What was asked on this connection and is not answered. */
  unanswered(): Retried[] {
    return [...this.#requests.values()].map(({ item }) => item);
  }

  get isQuiet(): boolean {
    return this.#requests.size === 0;
  }

  /** The one to be tried next of those that are sent only alone. */
  suspect(): Retried | undefined {
    return fewestStrikes<Retried>([...this.#leaving.values(), ...[...this.#entries.values()].filter((entry) => !entry.isEstablished)]);
  }

  /** Sends a suspect alone. */
  try(item: Retried): void {
    const entry = this.#entryOf(item);
    if (entry !== undefined) this.#subscribe(entry, {}, entry.wasGranted);
    for (const leaving of this.#leaving.values()) if (leaving === item) this.#unsubscribe(leaving);
  }

  /** The broker ends the connection for this request, even alone. */
  convict(item: Retried): void {
    const entry = this.#entryOf(item);
    if (entry !== undefined) {
      const { subscription } = entry;
      this.suspects.convict(subscription.filter, 0);
      this.#giveUp(entry, hangsUpError(`the subscription to ${subscription.filter}`));
    }
    for (const [key, leaving] of this.#leaving.entries()) {
      if (leaving !== item) continue;
      this.#leaving.delete(key);
      leaving.resolve({ reasonCodes: leaving.filters.map(() => UNSPECIFIED_ERROR) });
    }
  }

  #entryOf(item: Retried): Entry | undefined {
    for (const entry of this.#entries.values()) if (entry === item) return entry;
    return undefined;
  }

  /** Asks once more for what the broker refused, when it is still wanted. */
  askAgain(filter: string): void {
    const entry = this.#entries.get(filter);
    if (entry !== undefined && !entry.isEstablished && this.#isOnline && entry.asked === 0) this.#subscribe(entry);
  }

  /** SUBACK or UNSUBACK. @throws PacketError where it cannot be the answer to what was sent */
  answered(packet: SubackPacket): void {
    const { cmd, messageId, granted } = packet;
    const request = this.#requests.get(messageId);
    if (request === undefined) return this.owner.unasked(cmd, messageId);
    const { item } = request;
    if (isLeaving(item) !== (cmd === "unsuback"))
      throw protocolError(`${cmd.toUpperCase()} for packet identifier ${messageId}, which asked something else`);
    const wanted = isLeaving(item) ? item.filters.length : 1;
    // An UNSUBACK without any is short, and clear.
    const isShort = cmd === "unsuback" && granted.length === 0;
    if (granted.length !== wanted && !isShort && (cmd === "suback" || this.#version === 5))
      throw protocolError(`${cmd.toUpperCase()} with ${granted.length} reason codes for ${wanted} filters`);
    // 3.1.1 knows one code for a refusal, and its brokers send others.
    const stray = granted.find((one) => !isAnswer(cmd, one) && (this.#version === 5 || one < 0x80));
    if (stray !== undefined) throw protocolError(`${cmd.toUpperCase()} with reason code ${stray}`);
    const code = granted[0] ?? 0;
    this.#requests.delete(messageId);
    this.ids.release(messageId);
    item.asked--;
    this.suspects.answered(item);
    if (isLeaving(item)) return this.#left(item, packet);
    this.#granted(item, code, packet.properties);
    if ("resolve" in request) request.resolve?.(code);
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

  #targets(topic: string, { subscriptionIdentifiers: identifiers }: PublishProperties): readonly MessageStream[] {
    const isOne = identifiers === undefined || identifiers.length === 1;
    if (isOne && topic === this.#lastTopic && identifiers?.[0] === this.#lastIdentifier) return this.#lastTargets;
    const matching = [...this.#entries.values()].filter(({ matcher, former }) => matcher.matches(topic) || former?.matches(topic));
    // The broker may send one copy for all subscriptions that match, or one for each with its own identifier (section 3.3.4). Identifiers
    // that mean nothing here are of a session that an earlier program left.
    const named =
      identifiers === undefined ? [] : matching.filter(({ isNamed, identifier }) => !isNamed || identifiers.includes(identifier));
    const targets = (named.length > 0 ? named : matching).map(({ subscription }) => subscription);
    if (isOne) {
      this.#lastTopic = topic;
      this.#lastIdentifier = identifiers?.[0];
      this.#lastTargets = targets;
    }
    return targets;
  }

  #subscribe(
    entry: Entry,
    asking: { resolve?: (code: number) => void; reject?: (error: HawserError) => void } = {},
    isAgain = asking.resolve !== undefined,
  ): void {
    const { filter, options } = entry.subscription;
    const refusal = this.#refusal(filter, options);
    if (refusal !== 0) {
      this.#granted(entry, refusal);
      return asking.resolve?.(refusal);
    }
    const messageId = this.ids.take();
    this.#requests.set(messageId, { item: entry, ...asking });
    entry.asked++;
    // An identifier that nobody asked for is left out where the broker may be hanging up because of it.
    entry.isNamed =
      options.subscriptionIdentifier !== undefined || (this.namesAll && !this.#hasNoIdentifiers && entry.strikes <= APART_STRIKES);
    try {
      this.owner.send(subscribePacket(messageId, filter, options, entry.isNamed ? entry.identifier : undefined, this.#version, isAgain));
    } catch (error) {
      this.#requests.delete(messageId);
      this.ids.release(messageId);
      entry.asked--;
      this.#giveUp(entry, error as HawserError);
      asking.reject?.(error as HawserError);
    }
  }

  /**
   * The code for what the broker has said that it does not do: it may disconnect who asks (section 3.2.2.3.11 and on), and would be asked
   * on each connection.
   */
  #refusal(filter: string, { subscriptionIdentifier }: ResolvedSubscribeOptions): number {
    if (this.#hasNoShared && isShared(filter)) return 0x9e;
    if (this.#hasNoIdentifiers && subscriptionIdentifier !== undefined) return 0xa1;
    return this.#hasNoWildcards && hasWildcard(filter) ? 0xa2 : 0;
  }

  #unsubscribe(leaving: Leaving): void {
    leaving.asked++;
    const messageId = this.ids.take();
    this.#requests.set(messageId, { item: leaving });
    const { filters, userProperties } = leaving;
    const properties = this.#version === 5 && userProperties !== undefined ? { properties: { userProperties } } : {};
    try {
      this.owner.send({ cmd: "unsubscribe", messageId, unsubscriptions: [...filters], ...properties });
    } catch {
      // Too large for this broker: it cannot be said, and what still comes finds nobody.
      this.#requests.delete(messageId);
      this.ids.release(messageId);
      leaving.asked = 0;
      this.#left(leaving, { cmd: "unsuback", messageId, granted: filters.map(() => PACKET_TOO_LARGE) });
    }
  }

  #granted(entry: Entry, code: number, properties?: Properties): void {
    const { subscription } = entry;
    if (this.#entries.get(subscription.filter) !== entry) return;
    if (code < 0x80) {
      entry.isEstablished = true;
      entry.wasGranted = true;
      this.suspects.acquit(subscription.filter, entry);
      this.record.granted(subscription.filter);
      return subscription.answered(code);
    }
    entry.isEstablished = false;
    const error = new RefusedError(`the subscription to ${subscription.filter}`, code, properties);
    // Refused when it was made, it is over. Refused later, it may be granted again on the next connection.
    if (entry.wasGranted) this.owner.refused(subscription.filter, error);
    else this.#giveUp(entry, error);
  }

  #giveUp({ subscription }: Entry, error: HawserError): void {
    this.#remove(subscription.filter);
    subscription.fail(error);
    this.owner.refused(subscription.filter, error);
  }

  /** For a subscription: the application closed it. Settles when the broker knows. */
  async closed(subscription: MessageStream): Promise<void> {
    this.#remove(subscription.filter);
    await this.#leave([subscription.filter], undefined);
  }

  /**
   * Unsubscribes from filters, whoever subscribed to them.
   * @throws HawserError `INVALID_FILTER`, `BAD_PROPERTY`
   */
  unsubscribe(filters: readonly string[], { userProperties }: UnsubscribeOptions): Promise<UnsubscribeResult> {
    filters.forEach(checkFilter);
    const pairs = userProperties === undefined ? undefined : checkUserProperties(userProperties);
    if (filters.length === 0) return Promise.resolve({ reasonCodes: [] });
    for (const filter of filters) {
      const entry = this.#entries.get(filter);
      this.#remove(filter);
      entry?.subscription.end();
    }
    return this.#leave(filters, pairs);
  }

  #leave(filters: readonly string[], userProperties: UserProperties | undefined): Promise<UnsubscribeResult> {
    const key = filters.join("\n");
    const leaving = this.#leaving.get(key) ?? newLeaving(filters);
    leaving.userProperties = userProperties;
    this.#leaving.set(key, leaving);
    if (this.#isOnline && leaving.strikes < APART_STRIKES) this.#unsubscribe(leaving);
    return leaving.done;
  }

  /** For a subscription: its buffer is full. */
  dropped(message: InboundMessage, code: string): void {
    this.owner.dropped(message, code);
  }

  /** For a subscription: it was closed before the application took this message. */
  leftBehind(message: InboundMessage): void {
    this.owner.leftBehind(message);
  }

  #left(leaving: Leaving, { granted, properties }: SubackPacket): void {
    if (leaving.asked > 0) return;
    const { filters } = leaving;
    this.#leaving.delete(filters.join("\n"));
    const reasonCodes = filters.map((_, i) => granted[i] ?? 0);
    this.record.left(filters.filter((filter, i) => (reasonCodes[i] ?? 0) < 0x80 && !this.#entries.has(filter)));
    leaving.resolve({ reasonCodes, ...(properties === undefined ? {} : { properties }) });
  }

  #remove(filter: string): void {
    this.#entries.delete(filter);
    this.#lastTopic = undefined;
  }
}

function isLeaving(item: Entry | Leaving): item is Leaving {
  return "filters" in item;
}

function newLeaving(filters: readonly string[]): Leaving {
  let resolve: Leaving["resolve"] = () => undefined;
  const done = new Promise<UnsubscribeResult>((settle) => (resolve = settle));
  return { filters, userProperties: undefined, asked: 0, strikes: 0, done, resolve };
}

const NOBODY: readonly MessageStream[] = Object.freeze([]);

function notConnected(filter: string): HawserError {
  return new HawserError("NOT_CONNECTED", `not connected: cannot subscribe to ${filter}`, "Wait for the next connection.");
}
