/**
 * The control packets of MQTT 3.1.1 (section 3) and 5.0 (section 3) as plain data. Names follow the specification, spelled as mqtt-packet
 * spells them, so that a packet goes there without a copy.
 */

/** 0 at most once, 1 at least once, 2 exactly once. */
export type QoS = 0 | 1 | 2;

/** 4 is MQTT 3.1.1, 5 is MQTT 5.0: the value of the CONNECT packet's protocol level. */
export type ProtocolVersion = 4 | 5;

/** Name and value pairs in the order they are sent; a name may come more than once (MQTT 5.0, section 4.13 and others). */
export type UserProperties = readonly (readonly [name: string, value: string])[];

/** Properties of a message (MQTT 5.0, section 3.3.2.3), without those the protocol itself uses. */
export interface MessageProperties {
  /** True when the payload is UTF-8 text. */
  readonly payloadFormatIndicator?: boolean;
  /** Seconds, 0..4294967295: after that nobody needs the message. */
  readonly messageExpiryInterval?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  readonly userProperties?: UserProperties;
}

/** All properties of a PUBLISH packet. */
export interface PublishProperties extends MessageProperties {
  /** 1..65535 */
  readonly topicAlias?: number;
  /** Those of the subscriptions the broker matched, 1..268435455 each. */
  readonly subscriptionIdentifiers?: readonly number[];
}

/** Properties of any packet but PUBLISH; which packet may carry which is fixed by MQTT 5.0, table 2-4. */
export interface Properties extends PublishProperties {
  readonly sessionExpiryInterval?: number;
  readonly assignedClientIdentifier?: string;
  readonly serverKeepAlive?: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Uint8Array;
  readonly requestProblemInformation?: boolean;
  readonly willDelayInterval?: number;
  readonly requestResponseInformation?: boolean;
  readonly responseInformation?: string;
  readonly serverReference?: string;
  readonly reasonString?: string;
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  readonly maximumQoS?: number;
  readonly retainAvailable?: boolean;
  readonly maximumPacketSize?: number;
  readonly wildcardSubscriptionAvailable?: boolean;
  readonly subscriptionIdentifiersAvailable?: boolean;
  readonly sharedSubscriptionAvailable?: boolean;
}

export interface WillFields {
  topic: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  properties?: Properties;
}

export interface ConnectPacket {
  cmd: "connect";
  protocolVersion: ProtocolVersion;
  clientId: string;
  clean: boolean;
  /** Seconds, 0..65535; 0 switches the mechanism off. */
  keepalive: number;
  username?: string;
  password?: Uint8Array;
  will?: WillFields;
  properties?: Properties;
}

export interface ConnackPacket {
  cmd: "connack";
  sessionPresent: boolean;
  /** Reason code (5.0) or return code (3.1.1). */
  reasonCode: number;
  /** True when the broker answered in the form of 3.1.1, whatever was asked for. */
  legacyForm: boolean;
  properties?: Properties;
}

export interface PublishPacket {
  cmd: "publish";
  topic: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  dup: boolean;
  /** 0 at QoS 0. */
  messageId: number;
  properties?: PublishProperties;
}

export interface AckPacket {
  cmd: "puback" | "pubrec" | "pubrel" | "pubcomp";
  messageId: number;
  reasonCode: number;
  properties?: Properties;
}

export interface SubscriptionFields {
  topic: string;
  qos: QoS;
  /** No Local, Retain As Published, Retain Handling: MQTT 5.0 only. */
  nl?: boolean;
  rap?: boolean;
  rh?: 0 | 1 | 2;
}

export interface SubscribePacket {
  cmd: "subscribe";
  messageId: number;
  subscriptions: SubscriptionFields[];
  properties?: { readonly subscriptionIdentifier?: number; readonly userProperties?: UserProperties };
}

export interface UnsubscribePacket {
  cmd: "unsubscribe";
  messageId: number;
  unsubscriptions: string[];
  properties?: Properties;
}

export interface SubackPacket {
  cmd: "suback" | "unsuback";
  messageId: number;
  /** One code a topic filter, in order; none in an UNSUBACK of 3.1.1. */
  granted: number[];
  properties?: Properties;
}

export interface PingPacket {
  cmd: "pingreq" | "pingresp";
}

export interface DisconnectPacket {
  cmd: "disconnect" | "auth";
  reasonCode: number;
  properties?: Properties;
}

/** What this client sends. */
export type OutboundPacket =
  ConnectPacket | PublishPacket | AckPacket | SubscribePacket | UnsubscribePacket | PingPacket | DisconnectPacket;

/** What a broker may send. */
export type InboundPacket = ConnackPacket | PublishPacket | AckPacket | SubackPacket | PingPacket | DisconnectPacket;
