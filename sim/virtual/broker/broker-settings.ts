/** What a broker offers and allows, and how it behaves at the moment. */
import type { Qos, Version } from "../wire/wire-packets.js";

export interface BrokerLimits {
  versions: readonly Version[];
  /** Unfinished QoS 1 and 2 messages a client may have on the way; announced to 5.0 clients. */
  receiveMaximum: number;
  /** Bytes. */
  maximumPacketBytes: number;
  topicAliasMaximum: number;
  maximumQos: Qos;
  /** Overrides what clients ask for; 0 leaves it to them. */
  serverKeepAliveSeconds: number;
  /** The longest a session is kept, milliseconds. */
  sessionExpiryCapMs: number;
  /** Messages kept for one client that is away. */
  queueLimit: number;
  /** When a QoS 2 message is passed on (MQTT 5.0, section 4.3.3): at PUBREL is its method A, at PUBLISH its method B. */
  qos2PassedOn: "at-publish" | "at-pubrel";
}

export const DEFAULT_LIMITS: BrokerLimits = {
  versions: [4, 5],
  receiveMaximum: 20,
  maximumPacketBytes: 65_536,
  topicAliasMaximum: 8,
  maximumQos: 2,
  serverKeepAliveSeconds: 0,
  sessionExpiryCapMs: 30 * 86_400_000,
  queueLimit: 10_000,
  qos2PassedOn: "at-publish",
};

export interface BrokerMood {
  /** CONNACK with this reason (5.0 code) instead of success. */
  refusal: number | undefined;
  /** The same, for those alone who show a certificate. */
  refusalOverMtls: number | undefined;
  /** Sent with a refusal of 0x9C or 0x9D. */
  serverReference: string | undefined;
  /** Every packet waits so long before it is looked at, milliseconds. */
  processingMs: number;
  /** PUBLISH of clients is answered with this reason (5.0) though it is allowed otherwise. */
  publishRefusal: number | undefined;
  /** Closes each new connection right after CONNACK. */
  dropsAfterConnack: boolean;
  /** Never answers CONNECT. */
  silent: boolean;
}

export const CALM: BrokerMood = {
  refusal: undefined,
  refusalOverMtls: undefined,
  serverReference: undefined,
  processingMs: 0,
  publishRefusal: undefined,
  dropsAfterConnack: false,
  silent: false,
};

/** Reason codes this broker uses (MQTT 5.0 section 2.4). */
export const Reason = {
  success: 0x00,
  noSubscriptionExisted: 0x11,
  malformedPacket: 0x81,
  protocolError: 0x82,
  unsupportedVersion: 0x84,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  connectionRateExceeded: 0x9f,
} as const;

/** The return codes of 3.1.1 (section 3.2.2.3) nearest to a reason code of 5.0. */
export function returnCode(reasonCode: number): number {
  if (reasonCode === Reason.success) return 0;
  if (reasonCode === Reason.unsupportedVersion) return 1;
  if (reasonCode === Reason.badUserNameOrPassword) return 4;
  if (reasonCode === Reason.notAuthorized) return 5;
  return 3;
}
