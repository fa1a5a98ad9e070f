/** What the bench's processes are asked to do. Plain data: it travels between them. */

export type QoS = 0 | 1 | 2;
export type Transport = "plain" | "mTLS";
export type PeerName = "sink" | "mosquitto";
/** `MQTT.js noDelay`: MQTT.js itself leaves Nagle's algorithm on. `socket`: no client at all, the same bytes by Node's sockets alone. */
export type ClientName = "Hawser" | "MQTT.js" | "MQTT.js noDelay" | "socket";

/** What a client shows of itself on mTLS, and by whom the server is judged. */
export interface Identity {
  /** PKCS#8, DER in base64. */
  key: string;
  /** DER in base64, leaf first. */
  chain: string[];
  /** DER in base64. */
  trustAnchors: string[];
}

export interface Place {
  /** On 127.0.0.1. */
  port: number;
  /** Present for mTLS. */
  identity?: Identity;
}

/** Sends, or asks the peer for, so many messages; answered with a {@link Cost}. */
export interface FlowTask {
  kind: "publish" | "receive";
  qos: QoS;
  sizeBytes: number;
  messages: number;
}

/** Publishes at QoS 1, each after the acknowledgement of the one before; answered with the median, microseconds of wall time. */
export interface RoundTripTask {
  kind: "round trip";
  sizeBytes: number;
  messages: number;
}

/** Opens idle connections; answered with {@link Memory}. Needs a fresh process. */
export interface IdleTask {
  kind: "idle";
  connections: number;
}

export type Task = FlowTask | RoundTripTask | IdleTask;

/** Bytes for one connection. */
export interface Memory {
  heap: number;
  rss: number;
}

/** Messages sent and not acknowledged, both ways. */
export const WINDOW = 1_000;
export const PUBLISH_TOPIC = "bench/topic";
/** A client publishes `count,sizeBytes,qos` to it to be sent messages. */
export const FLOOD_TOPIC = "flood";
/** Their topic. */
export const RECEIVE_TOPIC = "t";
