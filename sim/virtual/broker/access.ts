/** Who may do what on this broker: TLS verdicts as real brokers give them, and the topics of each scope (docs/protocol.md). */
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { sameBytes } from "../network/virtual-tls.js";
import type { ShownCredential } from "../network/virtual-tls.js";
import type { IssuedCertificate, VirtualAuthority } from "../pki/virtual-authority.js";
import { matches } from "./message.js";

/** How a client got in. */
export type Scope = { kind: "mtls"; id: string; serial: string } | { kind: "psk"; id: string; key: Uint8Array };

const Alert = {
  badRecordMac: 20,
  handshakeFailure: 40,
  badCertificate: 42,
  revoked: 44,
  expired: 45,
  illegalParameter: 47,
  unknownCa: 48,
  unknownPskIdentity: 115,
  certificateRequired: 116,
} as const;

export class BrokerAccess {
  /** Serials this broker refuses; brought up to date by the authority. */
  readonly revoked = new Set<string>();
  readonly psks = new Map<string, Uint8Array>();
  /** False while the broker was configured with another client CA by mistake. */
  knowsClientCa = true;
  /** How far this broker's clock is off, milliseconds. */
  clockErrorMs = 0;
  /** Told of each certificate that is refused, by the name it claims. */
  onRefused: (id: string) => void = () => undefined;
  /** Clients whose access list is broken at the moment: everything they ask is denied. */
  readonly denied = new Set<string>();
  /** Whether this name's revoked certificate is let through the handshake, and refused by CONNACK. */
  refusesByConnack: (id: string) => boolean = () => false;
  /** Names that read `devices/#` and write commands. */
  readonly operators = new Set<string>();

  constructor(
    private readonly authority: VirtualAuthority,
    private readonly nowMs: () => number,
  ) {}

  /** The alert with which mosquitto refuses a certificate (reference: what a client sees); undefined when it is accepted. */
  judgeCertificate(shown: ShownCredential, tlsVersion: string): number | undefined {
    const alert = this.#alertFor(shown, tlsVersion);
    const leaf = shown.kind === "certificate" ? shown.chain[0] : undefined;
    if (alert !== undefined && leaf) this.onRefused(readCertificate(leaf).commonName);
    return alert;
  }

  #alertFor(shown: ShownCredential, tlsVersion: string): number | undefined {
    if (shown.kind !== "certificate" || shown.chain.length === 0)
      return tlsVersion === "TLSv1.3" ? Alert.certificateRequired : Alert.handshakeFailure;
    const certificate = this.certificateOf(shown);
    if (!certificate || !this.knowsClientCa) return Alert.unknownCa;
    if (this.revoked.has(certificate.serial) && !this.refusesByConnack(certificate.id)) return Alert.revoked;
    const nowMs = this.nowMs() + this.clockErrorMs;
    if (nowMs < certificate.notBeforeMs) return Alert.badCertificate;
    return nowMs > certificate.notAfterMs ? Alert.expired : undefined;
  }

  /** The alert with which mosquitto refuses a pre-shared key. */
  judgePsk(shown: ShownCredential, tlsVersion: string): number | undefined {
    const modern = tlsVersion === "TLSv1.3";
    const known = shown.kind === "psk" ? this.psks.get(shown.identity) : undefined;
    if (shown.kind !== "psk" || !known) return modern ? Alert.handshakeFailure : Alert.unknownPskIdentity;
    if (sameBytes(known, shown.key)) return undefined;
    return modern ? Alert.illegalParameter : Alert.badRecordMac;
  }

  /** The authority knows another key of the device; one that is withdrawn stays so. */
  changePsk(id: string, key: Uint8Array): void {
    if (this.psks.has(id)) this.psks.set(id, key);
  }

  certificateOf(shown: ShownCredential): IssuedCertificate | undefined {
    const leaf = shown.kind === "certificate" ? shown.chain[0] : undefined;
    return leaf && this.authority.find(leaf);
  }

  /** What the handshake has let through all the same. */
  isRevoked(scope: Scope): boolean {
    const isRevoked = scope.kind === "mtls" && this.revoked.has(scope.serial);
    if (isRevoked) this.onRefused(scope.id);
    return isRevoked;
  }

  /** A client id is a name: nobody connects by another's. */
  mayBe(scope: Scope, clientId: string): boolean {
    return clientId === scope.id || !this.authority.knows(clientId);
  }

  mayPublish(scope: Scope, topic: string): boolean {
    const own = `devices/${scope.id}/`;
    if (this.denied.has(scope.id)) return false;
    if (this.operators.has(scope.id)) return matches("devices/+/down/#", topic);
    return this.#isIdentityTopic(scope.id, topic, "request") || (scope.kind === "mtls" && matches(`${own}up/#`, topic));
  }

  #isIdentityTopic(id: string, topic: string, last: "request" | "response"): boolean {
    return this.authority.places.served(id).some((base) => topic === `${base}/${last}`);
  }

  maySubscribe(scope: Scope, filter: string): boolean {
    const own = `devices/${scope.id}/`;
    if (this.denied.has(scope.id)) return false;
    if (this.operators.has(scope.id)) return filter === "devices/#" || filter.startsWith("devices/");
    return (
      this.#isIdentityTopic(scope.id, filter, "response") ||
      (scope.kind === "mtls" && (filter === `${own}down` || filter.startsWith(`${own}down/`)))
    );
  }
}
