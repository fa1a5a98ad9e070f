/**
 * The packets a broker takes and sends, MQTT 3.1.1 and 5.0. Written apart from the SDK's own packets on purpose: a mistake shared by both
 * sides of a connection would not show.
 */
import type { Properties } from "./wire-properties.js";

export type Version = 4 | 5;
export type Qos = 0 | 1 | 2;

export interface Will {
  topic: string;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  properties: Properties;
}

export interface Connect {
  type: "connect";
  version: Version;
  clean: boolean;
  keepAliveSeconds: number;
  clientId: string;
  will?: Will;
  username?: string;
  password?: Uint8Array;
  properties: Properties;
}

export interface Connack {
  type: "connack";
  sessionPresent: boolean;
  reasonCode: number;
  properties: Properties;
}

export interface Publish {
  type: "publish";
  topic: string;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  dup: boolean;
  /** 0 at QoS 0. */
  id: number;
  properties: Properties;
}

export interface Ack {
  type: "puback" | "pubrec" | "pubrel" | "pubcomp";
  id: number;
  reasonCode: number;
  properties: Properties;
}

export interface SubscriptionOptions {
  filter: string;
  qos: Qos;
  noLocal: boolean;
  retainAsPublished: boolean;
  retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  type: "subscribe";
  id: number;
  subscriptions: SubscriptionOptions[];
  properties: Properties;
}

export interface Unsubscribe {
  type: "unsubscribe";
  id: number;
  filters: string[];
  properties: Properties;
}

export interface SubscribeAck {
  type: "suback" | "unsuback";
  id: number;
  reasonCodes: number[];
  properties: Properties;
}

export interface Ping {
  type: "pingreq" | "pingresp";
}

export interface Farewell {
  type: "disconnect" | "auth";
  reasonCode: number;
  properties: Properties;
}

export type FromClient = Connect | Publish | Ack | Subscribe | Unsubscribe | Ping | Farewell;
export type ToClient = Connack | Publish | Ack | SubscribeAck | Ping | Farewell;
