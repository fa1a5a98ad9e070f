/** What a device tells about itself: plain data, one object an event, fit for a log line or a test. */
import type { FailureClass, FailureCode } from "./failure.js";

/** The kind of credential a device shows: its certificate, its pre-shared key on the recovery listener, or a password alone. */
export type Rung = "mtls" | "psk" | "password";

export type DeviceEvent =
  | { type: "connecting"; credential: Rung; identity: "active" | "pending" | "psk" | "password"; host: string; port: number }
  /** The broker accepted this device (CONNACK). */
  | {
      type: "connected";
      credential: Rung;
      serial?: string;
      protocolVersion: 4 | 5;
      sessionPresent: boolean;
      tlsVersion: string;
      resumed: boolean;
    }
  /** An attempt failed or a connection ended. */
  | { type: "disconnected"; code: FailureCode; class: FailureClass; message: string; credential: Rung; wasConnected: boolean }
  /** The broker does not speak MQTT 5; from now on it is 3.1.1. */
  | { type: "protocol-version"; version: 4 }
  | { type: "retrying"; delayMs: number; attempt: number }
  /** This machine is on no network, so nothing is attempted until it is. Not a failure. */
  | { type: "no-network" }
  /** From now on the device shows another kind of credential, and why. No downgrade is silent. */
  | { type: "credential-changed"; from: Rung; to: Rung; code: FailureCode; message: string }
  /**
   * The broker refused a CONNECT that carried a user name, password or token. They are blamed first: the credential stays, no certificate
   * is asked for.
   */
  | { type: "login-refused"; code: FailureCode; message: string }
  /** A new certificate was refused as the old one was: no further one is asked for until mutual TLS works again, or for `retryMs`. */
  | { type: "enrolment-stopped"; code: FailureCode; message: string; retryMs: number }
  | { type: "renewing"; reason: "due" | "asked" | "recovery" }
  /** The authority did not issue a certificate, or what it sent was not usable. */
  | { type: "renewal-failed"; code: string; message: string; retryMs: number }
  /** A new certificate is stored and waits to be proved. */
  | { type: "pending"; serial: string }
  /** The new identity proved itself and was committed. */
  | { type: "renewed"; oldSerial?: string; newSerial: string; notAfterMs: number }
  /**
   * The trust anchors have changed, by their serials: a new root of the CA was vouched for by the present one, or the one before is not
   * needed any more.
   */
  | { type: "anchors-changed"; added: readonly string[]; removed: readonly string[] }
  /** Trust anchors were offered that no present one vouches for: find out who answers the device's certificate requests. */
  | { type: "anchors-refused"; code: string; message: string }
  /**
   * The authority has moved the device's topics: they are below `base`, and the identity's below `identityBase`. Subscriptions to topics of
   * the device's own go with them, and so does the will; accepted messages keep their topics.
   */
  | { type: "topics-changed"; base: string; identityBase: string }
  /** The new identity did not prove itself; the old one serves on. */
  | { type: "identity-dropped"; serial: string; code: FailureCode; message: string }
  /** Back on mutual TLS after a recovery. */
  | { type: "recovered"; serial: string }
  /**
   * A message was given up: one of the outbox that cannot be delivered, or one from the broker that nobody took. `code` says why
   * (docs/messages.md).
   */
  | { type: "message-dropped"; topic: string; code: string }
  /** An accepted message is not what this broker takes (QoS, retain, size): it waits for another, for a while. */
  | { type: "message-held"; topic: string; code: string }
  /** A QoS 2 message that nobody awaits may be delivered or lost; it stays readable in the outbox (docs/messages.md). */
  | { type: "message-uncertain"; topic: string; code: string }
  /** The broker does not grant a subscription; `code` is its reason, or `BROKER_HANGS_UP` where it ends the connection for it. */
  | { type: "subscription-refused"; filter: string; code: string }
  | { type: "redirected"; host: string; port: number; code: FailureCode }
  | { type: "stopped" };

export type DeviceListener = (event: DeviceEvent) => void;
