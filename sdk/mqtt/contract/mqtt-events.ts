/** What an MQTT client tells about itself: plain data, named as the events of a device are. */
import type { FailureClass, FailureCode } from "../../failure.js";
import type { Properties, ProtocolVersion } from "../codec/packet-types.js";

export type MqttEvent =
  /** The broker accepted the client (CONNACK). What was negotiated: */
  | {
      type: "connected";
      /** The broker's choice where this client left it open. */
      clientId: string;
      sessionPresent: boolean;
      protocolVersion: ProtocolVersion;
      /** "TLSv1.3", "TLSv1.2", or "none" for plaintext. */
      tlsVersion: string;
      cipher: string;
      /** TLS resumed an earlier session. */
      resumed: boolean;
      /** As in CONNACK: keep-alive (seconds), receive maximum, packet size (bytes), highest QoS and others; 5.0 only. */
      properties: Properties;
    }
  /** An established connection ended. A failed attempt rejects `connect` instead. */
  | { type: "disconnected"; code: FailureCode; class: FailureClass; message: string }
  /** As `onMessageDropped`. */
  | { type: "message-dropped"; topic: string; code: string }
  /** As `onMessageHeld`. */
  | { type: "message-held"; topic: string; code: string }
  /** As `onMessageUncertain`. */
  | { type: "message-uncertain"; topic: string; code: string }
  /** As `onSubscriptionRefused`. */
  | { type: "subscription-refused"; filter: string; code: string };

export type MqttListener = (event: MqttEvent) => void;

/** Counts since the client was made. */
export interface MqttStatistics {
  /** Connections that the broker accepted; all but the first are reconnects. */
  connections: number;
  /** PUBLISH packets written, repetitions included. */
  messagesSent: number;
  /** PUBLISH packets read, repetitions included. */
  messagesReceived: number;
  /** Bytes of MQTT given to links, without TLS. */
  bytesSent: number;
  /** Bytes of MQTT read from links, without TLS. */
  bytesReceived: number;
  /** Messages of QoS 1 and 2 sent and not yet acknowledged by the broker. */
  acksOutstanding: number;
}
