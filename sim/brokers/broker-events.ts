/** What an embedded broker lets in, how it is bounded, and what it tells. */

/** `full` signs in by certificate, `recovery` by pre-shared key. */
export type Scope = "full" | "recovery";

/** A signed-in client: the certificate's common name or the PSK identity, and the port it came through. */
export interface Who {
  readonly name: string;
  readonly scope: Scope;
}

/** What else is known of what a client does; all but the address of a publish only. */
export interface QuestionDetails {
  readonly address?: string;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  /** True for a will that the broker is about to publish. */
  readonly will?: boolean;
  readonly payloadBytes?: number;
}

/** Everything the broker judges clients by. Plain texts and functions, so that the simulator needs to know no CA directory. */
export interface BrokerMaterial {
  /** The broker's own chain, leaf first. */
  chainPem: string;
  keyPem: string;
  /** The roots that client certificates must lead to. Clients send their issuing CA themselves. */
  trustAnchorPem: string;
  /**
   * CAs between the roots and clients, those of `chainPem` aside. With the CA of every list known, OpenSSL needs no lists; otherwise each
   * connection keeps the lists that it came by in memory.
   */
  issuersPem?: string;
  /** One CRL for each CA of a client's chain (issuing CA and root), concatenated. */
  crlPem: string;
  /** The key of a device by its name; undefined refuses it. */
  pskFor(name: string): Uint8Array | undefined;
  /** `topic` is a filter when a client subscribes, and a topic name when a message is about to be delivered to it. */
  authorize(who: Who, action: "publish" | "subscribe", topic: string, details?: QuestionDetails): boolean;
  maySignIn(name: string, scope: Scope): boolean;
  /** Whether what a client sent beside its certificate or key is right, where the broker asks for it; everything is without this. */
  secondFactor?(who: Who, password: string | undefined, address: string | undefined): boolean;
  /** Whether what a client publishes may be retained; without it, it may. Otherwise the message goes out all the same, and is not kept. */
  mayRetain?(who: Who): boolean;
  /**
   * Which MQTT client identifiers a name may use; without it, the name itself or `{name}~...`. A `~` cannot be part of a name, so that no
   * client can take over another's session.
   */
  clientIdAllowed?(name: string, clientId: string, scope: Scope): boolean;
  /** Connections that one name may have at a time, where that is fewer than `maxSessionsPerName`. */
  maxConnectionsOf?(who: Who): number | undefined;
  /** Bounds that come with the rules; those in the broker's options go before them. */
  limits?: Partial<BrokerLimits>;
}

export interface BrokerLimits {
  /** Clients signed in, on all ports together. */
  maxConnections: number;
  /** Connections of one IPv4 address or IPv6 /64, signed in or not; more are closed. */
  maxConnectionsPerNetwork: number;
  /** New connections; more are closed. A second's worth may come at once. */
  maxConnectionsPerSecond: number;
  /** The same for one IPv4 address or IPv6 /64. */
  maxConnectionsPerSecondPerNetwork: number;
  /** Connections that have not signed in yet; above it the one that has been silent longest is closed. */
  maxHalfOpen: number;
  /** The same for one IPv4 address or IPv6 /64. */
  maxHalfOpenPerNetwork: number;
  /** Connections of one name at a time, and sessions kept for it. */
  maxSessionsPerName: number;
  /** One MQTT packet, header included; a larger one ends the connection. */
  maxPacketBytes: number;
  /** PUBLISH packets per connection; above it the broker reads more slowly, nothing is lost. */
  maxMessagesPerSecond: number;
  /** All that a connection sends after its CONNECT; above it the broker reads more slowly, nothing is lost. */
  maxBytesPerSecond: number;
  /** The same for one IPv4 address or IPv6 /64, over all its connections. */
  maxBytesPerSecondPerNetwork: number;
  /** QoS 2 messages of one client that wait for its PUBREL. */
  maxInflightInbound: number;
  maxSubscriptions: number;
  /** Sessions kept for clients that are away (clean session 0). */
  maxSessions: number;
  /** A session whose client has been away for longer is forgotten. */
  maxAwaySeconds: number;
  /** Unacknowledged messages kept for one session; more are dropped, newest first, with a `dropped` event. */
  maxQueuedMessages: number;
  maxQueuedBytes: number;
  maxRetainedMessages: number;
  /** Topics and payloads of all retained messages together. */
  maxRetainedBytes: number;
  /** Bytes waiting for a slow reader; above it QoS 0 is dropped and a QoS 1 or 2 delivery ends the connection. */
  maxBufferedBytes: number;
  /** Each of TLS handshake and CONNECT must be done within this time. */
  connectTimeoutMs: number;
  /** Longer keep-alives, and none (0), count as this one: MQTT 3.1.1 has no way to tell the client. */
  maxKeepaliveSeconds: number;
}

const UNLIMITED = Number.MAX_SAFE_INTEGER;

export const DEFAULT_LIMITS: BrokerLimits = {
  maxConnections: 10_000,
  maxConnectionsPerNetwork: UNLIMITED,
  maxConnectionsPerSecond: UNLIMITED,
  maxConnectionsPerSecondPerNetwork: UNLIMITED,
  maxHalfOpen: 1_000,
  maxHalfOpenPerNetwork: 256,
  maxSessionsPerName: 32,
  maxPacketBytes: 256 * 1024,
  maxMessagesPerSecond: 1_000,
  maxBytesPerSecond: UNLIMITED,
  maxBytesPerSecondPerNetwork: UNLIMITED,
  maxInflightInbound: 100,
  maxSubscriptions: 100,
  maxSessions: 20_000,
  maxAwaySeconds: UNLIMITED,
  maxQueuedMessages: 10_000,
  maxQueuedBytes: 16 * 1024 * 1024,
  maxRetainedMessages: 10_000,
  maxRetainedBytes: 16 * 1024 * 1024,
  maxBufferedBytes: 1024 * 1024,
  connectTimeoutMs: 10_000,
  maxKeepaliveSeconds: 3_600,
};

export type PortKind = "mtls" | "psk";

/** What speaks against the certificate or pre-shared key a client has shown. */
export type CredentialReason =
  | "CERTIFICATE_CA_UNKNOWN"
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NOT_YET_VALID"
  | "CERTIFICATE_REVOKED"
  | "CERTIFICATE_REJECTED"
  | "CRL_EXPIRED"
  | "CRL_MISSING"
  | "PSK_WITHDRAWN"
  | "NAME_INVALID"
  | "NOT_ALLOWED";

/** Why a connection was not let in. The second column is what the client gets. */
export type RefusalReason =
  | "TOO_MANY_CONNECTIONS" // close
  | "TLS_FAILED" // OpenSSL's alert, or a close
  | "PSK_IDENTITY_UNKNOWN" // OpenSSL's alert
  | "PSK_KEY_WRONG" // OpenSSL's alert
  | "CONNECT_TIMEOUT" // close
  | "CONNECTION_CLOSED" // the client left before its CONNECT
  | "MALFORMED_CONNECT" // close
  | "PACKET_TOO_LARGE" // close
  | "NO_CERTIFICATE" // close
  | CredentialReason // CONNACK 5
  | "UNSUPPORTED_PROTOCOL_VERSION" // CONNACK 1
  | "CLIENT_ID_REJECTED" // CONNACK 2
  | "PASSWORD_REFUSED" // CONNACK 5
  | "TOO_MANY_SESSIONS" // CONNACK 3
  | "BROKER_STOPPING"; // close

export type EndReason =
  | "CLIENT_DISCONNECTED"
  | "CONNECTION_LOST"
  | "KEEPALIVE_TIMEOUT"
  | "PROTOCOL_ERROR"
  | "PACKET_TOO_LARGE"
  | "SLOW_CONSUMER"
  | "SESSION_TAKEN_OVER"
  | "CERTIFICATE_REVOKED"
  | "CERTIFICATE_EXPIRED"
  | "CRL_EXPIRED"
  | "CRL_MISSING"
  | "PSK_WITHDRAWN"
  | "NOT_ALLOWED"
  | "BROKER_STOPPED";

/** What happened, for logs, audit and the demo's checks. Never a secret; texts from clients are cut to a bounded length. */
export type BrokerEvent =
  | {
      type: "connected";
      name: string;
      scope: Scope;
      clientId: string;
      port: PortKind;
      tlsVersion: string;
      cipher: string;
      resumed: boolean;
      /** The certificate's serial number, hex, lower case, without leading zeros; not on the PSK port. */
      serial?: string;
    }
  | { type: "disconnected"; name: string; scope: Scope; clientId: string; reason: EndReason }
  | { type: "refused"; port: PortKind; reason: RefusalReason; name?: string; clientId?: string; serial?: string; detail?: string }
  | { type: "denied"; name: string; scope: Scope; clientId: string; action: "publish" | "subscribe"; topic: string }
  | { type: "dropped"; clientId: string; topic: string; reason: "QUEUE_FULL" | "RETAINED_FULL" | "RETAIN_NOT_ALLOWED" | "SLOW_CONSUMER" };
