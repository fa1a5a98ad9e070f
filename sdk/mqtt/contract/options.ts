/** What users give to the MQTT client and get from it: options, their defaults and their checks. */
import { HawserError } from "../../errors.js";
import { anything, binary, checkOptions, flag, hook, oneOf, text, whole, type Rule, type Rules } from "../../checks/option-rules.js";
import { checkMessageProperties, checkUserProperties, type GivenMessageProperties, type GivenUserProperties } from "./check-properties.js";
import type { MessageProperties, Properties, ProtocolVersion, QoS } from "../codec/packet-types.js";
import { checkTopic } from "./topics.js";
import { encodeUtf8 } from "../../encoding/utf8.js";

/** A message that the broker publishes when this client vanishes (MQTT 5.0, section 3.1.2.5). */
export interface Will {
  topic: string;
  payload: Uint8Array | string;
  qos?: QoS;
  retain?: boolean;
  /** How long the broker waits for this client to come back before it publishes the will; 5.0 only. */
  delaySeconds?: number;
  /** 5.0 only. */
  properties?: GivenMessageProperties;
}

/**
 * What happens to a message for which the outbox has no room.
 * - `reject`: `publish` rejects with `OUTBOX_FULL`.
 * - `drop-oldest`: the messages that wait longest make room; what is in flight stays.
 * - `replace-by-topic`: waiting messages of the same topic make room, oldest first; when there are none, `publish` rejects with
 *   `OUTBOX_FULL`.
 */
export type OverflowPolicy = "reject" | "drop-oldest" | "replace-by-topic";

export interface OutboxOptions {
  /** Messages not yet delivered, those in flight included: 1..60000. */
  maxMessages: number;
  /** Bytes of their topics, payloads and properties. */
  maxBytes: number;
  overflow: OverflowPolicy;
}

/** A message in the outbox, as it is at the moment. */
export interface OutboxMessage {
  readonly topic: string;
  /** Not a copy: do not write to it. */
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties?: MessageProperties;
  /** As counted for the outbox's bounds. */
  readonly sizeBytes: number;
  /**
   * - `waiting`: for a connection, or for its turn.
   * - `sent`: not completed.
   * - `apart`: connections ended after it was sent; it, or one before it on its topic, is tried alone.
   * - `uncertain`: nobody knows whether it was delivered; kept until it is discarded, or until 32 newer ones are there.
   */
  readonly state: "waiting" | "sent" | "apart" | "uncertain";
}

/**
 * How long messages of QoS 1 and 2 that nobody takes wait for somebody who subscribes late. They are not acknowledged meanwhile, and
 * neither is what comes after them.
 */
export interface UnclaimedOptions {
  /**
   * Milliseconds, 0..3600000; default 10000. Then a message is acknowledged, dropped and reported (`NO_SUBSCRIPTION`). 0 drops it at once.
   */
  graceMs: number;
  /** Messages that wait, 0..65535; default 64. More are dropped at once. */
  maxMessages: number;
  /** Bytes of their topics and payloads, where more than one waits; default 32768. */
  maxBytes: number;
}

/**
 * Enhanced authentication (MQTT 5.0, section 4.12), 5.0 only. An answer may take its time, within `connackTimeoutMs`.
 * A hook that throws or rejects ends the attempt with `BAD_AUTHENTICATION_METHOD`.
 */
export interface EnhancedAuthentication {
  /** The name both sides know the exchange by, for instance `SCRAM-SHA-256`. */
  readonly method: string;
  /** The data of the first step, when the exchange begins with some; also begins a re-authentication. */
  start(): Uint8Array | undefined;
  /** Answers one step of the broker. */
  respond(data: Uint8Array | undefined): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Judges the broker's last word, which may prove the broker; throwing refuses the connection. */
  finish?(data: Uint8Array | undefined): void;
}

/** CONNECT properties beyond those that follow from other options; 5.0 only. */
export interface ConnectProperties {
  requestResponseInformation?: boolean;
  requestProblemInformation?: boolean;
  userProperties?: GivenUserProperties;
}

export interface MqttOptions {
  /** May be empty only with `cleanStart`: the broker then chooses one, kept for later connections (5.0 tells it). */
  clientId: string;
  /** Default 5 (MQTT 5.0); 4 is 3.1.1. */
  protocolVersion?: ProtocolVersion;
  /** True (the default): the broker forgets an earlier session. In 3.1.1 that session also ends with the connection. */
  cleanStart?: boolean;
  /**
   * 0..65535 seconds; 0 switches the keep-alive off. Default 60. The broker may ask for more frequent signs of life (5.0); a longer
   * interval of its own changes nothing.
   */
  keepAliveSeconds?: number;
  /** How long the broker keeps the session after a connection, 0..4294967295 (never ends); 5.0 only. Default 0. */
  sessionExpirySeconds?: number;
  username?: string | undefined;
  password?: Uint8Array | string | undefined;
  will?: Will;
  /**
   * Messages of QoS 1 and 2 that the broker may send before the application took the earlier ones, 1..65535: one that sends more is
   * disconnected (0x93). Left out, it is asked for 64 at a time and more are taken: mosquitto up to 2.0.22 forgets the number with the
   * first acknowledgement.
   */
  receiveMaximum?: number;
  /** The largest packet taken from the broker, 64..268435460 bytes. Default 1 MiB; told to a broker of 5.0. */
  maximumPacketSizeBytes?: number;
  /** False leaves the Maximum Packet Size out of CONNECT: it is kept to on this side only. Default true. */
  announceMaximumPacketSize?: boolean;
  /** Topic aliases the broker may use, 0..65535. Default 0. */
  topicAliasMaximum?: number;
  /** Topic aliases this client uses where the broker takes some, 0..65535, for the first topics of a connection. Default 8. */
  outgoingTopicAliases?: number;
  /**
   * False leaves subscription identifiers to the application: overlapping subscriptions then each get every copy that the broker sends
   * (5.0, section 3.3.4). Default true:
   * each subscription gets each message once.
   */
  subscriptionIdentifiers?: boolean;
  /** From the open link to the CONNACK, milliseconds, 1..3600000. Default 20000. */
  connackTimeoutMs?: number;
  /**
   * A broker that leaves a PUBLISH, SUBSCRIBE or UNSUBSCRIBE unanswered for this long (or up to twice as long) is taken for dead. Default
   * 60000; 0 waits for ever. What is written before gets its time on a slow uplink first, down to 500 bytes a second and up to ten minutes;
   * while the broker sends other packets, five times as long is waited.
   */
  ackTimeoutMs?: number;
  /**
   * Messages of QoS 1 and 2 sent but not acknowledged, 1..60000; a broker of 5.0 may want fewer. Default 20: mosquitto 2.0 acknowledges,
   * but never forwards, some of what a client of 3.1.1 sends beyond that at QoS 2.
   */
  inFlightWindow?: number;
  /**
   * So many messages go out together with CONNECT where the link has resumed a TLS session with this broker, 0..20; default 0 (MQTT 5.0,
   * section 3.1.4). Only small ones (1 KiB) of QoS 1 that are not retained and were never sent; the others wait for CONNACK, and so do all
   * after an attempt that ended before it. What the broker takes is not known yet: give no more than its Receive Maximum, and 0 where it
   * takes no QoS 1.
   */
  messagesWithConnect?: number;
  /**
   * How long an accepted message waits for another broker where the one at hand does not take its QoS, retain or size (5.0), milliseconds,
   * 0..86400000; default an hour. Then it is dropped and reported.
   */
  heldForMs?: number;
  /**
   * A QoS 1 or 2 message that the broker answers with "not authorized" is given up when the connection has lived on for so long,
   * milliseconds 0..3,600,000. When it ends before, the message is sent again on the next one: brokers deny what a revoked name publishes a
   * moment before they end its connection. Default 0: at once.
   */
  denialGraceMs?: number;
  /**
   * Bytes of messages of QoS 1 and 2 that the application has not taken, roughly, 1024..1073741824; default 1 MiB. Beyond, no more is read
   * from the link; where the broker's answers are needed meanwhile, or after half a minute, what comes is left with the broker, which
   * repeats it on the next connection.
   */
  inboundBytes?: number;
  /** True keeps one of the messages that the broker lets be in flight for `beyondBounds`: they never wait for others. Default false. */
  reserveInFlight?: boolean;
  /** Default: 1000 messages, 256 KiB, reject. */
  outbox?: OutboxOptions;
  unclaimed?: Partial<UnclaimedOptions>;
  /**
   * What becomes of QoS 2 messages that the broker had confirmed to have (PUBREC), and not completed, when it has lost the session: nobody
   * knows whether they were delivered. `report` (the default): `publish` rejects with `SESSION_LOST`; a message that nobody awaits is told
   * by `onMessageUncertain` and stays readable in the outbox. `resend`: they are published again, as new, and may arrive twice.
   */
  onSessionLost?: "report" | "resend";
  /** Keeps the outbox and the state of QoS 1 and 2 in storage, so that they outlive a reboot. Default false. */
  persistent?: boolean;
  /**
   * Messages a persistent client puts in storage within an hour at most, against flash wear; `publish` then rejects with
   * `STORAGE_WEAR_LIMIT`. No bound by default.
   */
  maxStoredPerHour?: number;
  connectProperties?: ConnectProperties;
  authentication?: EnhancedAuthentication;
}

/** The part of an `AbortSignal` that the SDK asks for; on engines without one, an application may bring its own. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

export interface PublishOptions {
  qos?: QoS;
  retain?: boolean;
  /** Settle as soon as the outbox holds the message (in storage, when persistent) instead of when it is delivered. */
  queue?: boolean;
  /** False keeps a QoS 1 message out of storage although the client is persistent: for telemetry that is not worth the flash wear. */
  persist?: boolean;
  /**
   * True: goes before all others, is taken although the outbox is full, and is not given up to make room. For the few messages of a
   * device's own upkeep.
   */
  beyondBounds?: boolean;
  /**
   * Stops waiting: `publish` rejects with `ABORTED`. A message that was not sent yet is given up; one that was sent may still be delivered.
   */
  signal?: AbortSignalLike;
  /** Left out on a connection of 3.1.1, which has none; the expiry interval is kept to in the outbox all the same. */
  properties?: GivenMessageProperties;
}

export interface PublishResult {
  /** The broker's reason code: 0, or 0x10 when nobody subscribes to the topic. Always 0 in 3.1.1, at QoS 0 and with `queue`. */
  readonly reasonCode: number;
  readonly properties?: Properties;
}

export interface SubscribeOptions {
  /** The highest level at which messages shall come. Default 0. */
  qos?: QoS;
  /** Not the messages this client publishes itself; 5.0 only, and not for a shared subscription. */
  noLocal?: boolean;
  /** Keep the retain flag as it was published; 5.0 only. */
  retainAsPublished?: boolean;
  /** Retained messages: 0 on each subscribe, 1 only when the subscription is new, 2 never; 5.0 only. Default 0. */
  retainHandling?: 0 | 1 | 2;
  /** 1..268435455; comes back with each message of this subscription; 5.0 only. */
  subscriptionIdentifier?: number;
  /** 5.0 only. */
  userProperties?: GivenUserProperties;
  /** Closes the subscription. One that is already aborted makes `subscribe` throw `ABORTED`. */
  signal?: AbortSignalLike;
  /** Messages are acknowledged by `message.ack()` only. Default: when the next one is asked for. */
  manualAck?: boolean;
  /**
   * QoS 0 messages kept for a slow consumer; more are dropped and reported (`BUFFER_FULL`). Default 4096. QoS 1 and 2 are held back at the
   * broker instead.
   */
  bufferSize?: number;
  /** Bytes of their topics and payloads kept. Default 256 KiB. A single read of the link may bring 64 KiB at once. */
  bufferBytes?: number;
}

export interface UnsubscribeOptions {
  /** 5.0 only. */
  userProperties?: GivenUserProperties;
}

export interface UnsubscribeResult {
  /**
   * One for each filter, in order: 0, or 0x11 where there was no such subscription; 0x80 and more is a refusal. A broker of 3.1.1 tells
   * nothing: 0.
   */
  readonly reasonCodes: readonly number[];
  readonly properties?: Properties;
}

export interface DisconnectOptions {
  /** 0 (the default) discards the will, 4 has it published; 5.0 only. */
  reasonCode?: number;
  /** Another session expiry than at CONNECT, seconds; 5.0 only. */
  sessionExpirySeconds?: number;
  reasonString?: string;
  userProperties?: GivenUserProperties;
}

export type ResolvedOptions = MqttOptions &
  Required<
    Pick<
      MqttOptions,
      | "protocolVersion"
      | "cleanStart"
      | "keepAliveSeconds"
      | "connackTimeoutMs"
      | "sessionExpirySeconds"
      | "maximumPacketSizeBytes"
      | "topicAliasMaximum"
      | "outgoingTopicAliases"
      | "ackTimeoutMs"
      | "inFlightWindow"
      | "heldForMs"
      | "denialGraceMs"
      | "inboundBytes"
      | "reserveInFlight"
      | "outbox"
      | "persistent"
    >
  > & { unclaimed: UnclaimedOptions };

const DEFAULTS = {
  protocolVersion: 5,
  cleanStart: true,
  keepAliveSeconds: 60,
  connackTimeoutMs: 20_000,
  sessionExpirySeconds: 0,
  maximumPacketSizeBytes: 1_048_576,
  topicAliasMaximum: 0,
  outgoingTopicAliases: 8,
  ackTimeoutMs: 60_000,
  inFlightWindow: 20,
  heldForMs: 3_600_000,
  denialGraceMs: 0,
  inboundBytes: 1_048_576,
  reserveInFlight: false,
  outbox: { maxMessages: 1_000, maxBytes: 262_144, overflow: "reject" } as OutboxOptions,
  persistent: false,
} as const;

const UNCLAIMED: UnclaimedOptions = { graceMs: 10_000, maxMessages: 64, maxBytes: 32_768 };

/** Received ids of QoS 2 are one storage record of 4 KiB. */
export const MAX_PERSISTENT_RECEIVE_MAXIMUM = 1_900;

export const WILL_RULES: Rules<Will> = {
  topic: anything,
  payload: binary,
  qos: oneOf(0, 1, 2),
  retain: flag,
  delaySeconds: whole(0, 0xffff_ffff),
  properties: anything,
};

export const OUTBOX_RULES: Rules<OutboxOptions> = {
  maxMessages: whole(1, 60_000),
  maxBytes: whole(1, Number.MAX_SAFE_INTEGER),
  overflow: oneOf("reject", "drop-oldest", "replace-by-topic"),
};

/** An object of the application's own, with whatever else it holds. */
function isAuthentication(value: unknown): string | undefined {
  const { method, start, respond, finish } = (value ?? {}) as Partial<EnhancedAuthentication>;
  const isWhole = typeof method === "string" && text(method) === undefined && hook(start) === undefined && hook(respond) === undefined;
  return isWhole && (finish === undefined || hook(finish) === undefined)
    ? undefined
    : "an object with method, start, respond and perhaps finish";
}

export const UNCLAIMED_RULES: Rules<UnclaimedOptions> = {
  graceMs: whole(0, 3_600_000),
  maxMessages: whole(0, 65_535),
  maxBytes: whole(0, Number.MAX_SAFE_INTEGER),
};

const MQTT: Rules<MqttOptions> = {
  clientId: text,
  protocolVersion: oneOf(4, 5),
  cleanStart: flag,
  keepAliveSeconds: whole(0, 65_535),
  sessionExpirySeconds: whole(0, 0xffff_ffff),
  username: text,
  password: binary,
  will: WILL_RULES,
  receiveMaximum: whole(1, 65_535),
  maximumPacketSizeBytes: whole(64, 268_435_460),
  announceMaximumPacketSize: flag,
  topicAliasMaximum: whole(0, 65_535),
  outgoingTopicAliases: whole(0, 65_535),
  subscriptionIdentifiers: flag,
  connackTimeoutMs: whole(1, 3_600_000),
  ackTimeoutMs: whole(0, 3_600_000),
  inFlightWindow: whole(1, 60_000),
  messagesWithConnect: whole(0, 20),
  heldForMs: whole(0, 86_400_000),
  denialGraceMs: whole(0, 3_600_000),
  inboundBytes: whole(1_024, 0x4000_0000),
  reserveInFlight: flag,
  outbox: OUTBOX_RULES,
  unclaimed: UNCLAIMED_RULES,
  onSessionLost: oneOf("report", "resend"),
  persistent: flag,
  maxStoredPerHour: (value) => (typeof value === "number" && value >= 0 ? undefined : "a number, 0 or more"),
  connectProperties: { requestResponseInformation: flag, requestProblemInformation: flag, userProperties: anything },
  authentication: isAuthentication,
};

/** An `AbortSignal` or the like. */
export const signal: Rule = (value) => {
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignalLike>;
  const fits = typeof aborted === "boolean" && typeof addEventListener === "function" && typeof removeEventListener === "function";
  return fits ? undefined : "an AbortSignal, or an object like one";
};

export function abortedError(what: string): HawserError {
  return new HawserError("ABORTED", `${what} was aborted by its signal`, "None, unless the signal was a mistake.");
}

const PUBLISH: Rules<PublishOptions> = {
  qos: oneOf(0, 1, 2),
  retain: flag,
  queue: flag,
  persist: flag,
  beyondBounds: flag,
  signal,
  properties: anything,
};

/** 0, 4 and what a client may give as its reason (MQTT 5.0, table 3-10). */
const DISCONNECT_CODES = [0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] as const;

const DISCONNECT: Rules<DisconnectOptions> = {
  reasonCode: oneOf(...DISCONNECT_CODES),
  sessionExpirySeconds: whole(0, 0xffff_ffff),
  reasonString: text,
  userProperties: anything,
};

/** @throws HawserError `BAD_OPTION` */
export function checkPublishOptions(options: PublishOptions): void {
  checkOptions(options, PUBLISH, badOption);
}

/**
 * @param expirySeconds what CONNECT said; a session that was not to outlive its connection cannot be kept afterwards (MQTT 5.0, section
 *   3.14.2.2.2)
 * @throws HawserError `BAD_OPTION`, `BAD_PROPERTY`
 */
export function checkDisconnectOptions(options: DisconnectOptions, expirySeconds: number): void {
  checkOptions(options, DISCONNECT, badOption);
  if (options.userProperties !== undefined) checkUserProperties(options.userProperties);
  if (expirySeconds === 0 && (options.sessionExpirySeconds ?? 0) > 0)
    throw badOption("sessionExpirySeconds", "must be 0 if it was 0 in CONNECT");
}

/**
 * Fills in the defaults.
 * @throws HawserError `BAD_OPTION`; of the will also `INVALID_TOPIC`, `BAD_PROPERTY`
 */
export function resolveOptions(options: MqttOptions): ResolvedOptions {
  checkOptions(options, MQTT, badOption);
  const resolved = withDefaults(options);
  resolved.unclaimed = { ...UNCLAIMED, ...resolved.unclaimed };
  if ((resolved as Partial<MqttOptions>).clientId === undefined) throw badOption("clientId", "is missing");
  if (resolved.clientId === "" && !resolved.cleanStart) throw badOption("clientId", "may be empty only with cleanStart");
  if (resolved.password !== undefined && resolved.username === undefined && resolved.protocolVersion === 4)
    throw badOption("password", "needs a username in 3.1.1");
  if (resolved.persistent && (resolved.receiveMaximum ?? 0) > MAX_PERSISTENT_RECEIVE_MAXIMUM) {
    throw badOption("receiveMaximum", `must be at most ${MAX_PERSISTENT_RECEIVE_MAXIMUM} for a persistent client`);
  }
  if (resolved.will !== undefined) checkWill(resolved.will);
  if (resolved.connectProperties?.userProperties !== undefined) checkUserProperties(resolved.connectProperties.userProperties);
  return resolved;
}

function checkWill(will: Will): void {
  checkTopic(will.topic);
  if ((will as Partial<Will>).payload === undefined) throw badOption("will.payload", "is missing");
  if (will.properties !== undefined) checkMessageProperties(will.properties);
}

/** Fills in the defaults; an option given as undefined is one not given. */
function withDefaults(options: MqttOptions): ResolvedOptions {
  // Not by spreading: V8 then makes a shape of its own for each object, three times the object's size.
  const resolved: Record<string, unknown> = {};
  for (const given of [DEFAULTS, options] as readonly Readonly<Record<string, unknown>>[]) {
    for (const name in given) if (given[name] !== undefined) resolved[name] = given[name];
  }
  return resolved as unknown as ResolvedOptions;
}

export function badOption(name: string, what: string): HawserError {
  return new HawserError("BAD_OPTION", `the MQTT option ${name} ${what}`, "See the documentation of the options.");
}

export function toBytes(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? encodeUtf8(data) : data;
}
