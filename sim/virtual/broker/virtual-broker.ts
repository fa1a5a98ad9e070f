/** A model MQTT broker: sessions, routing, restarts. One connection's packets are the business of `broker-connection.ts`. */
import type { Cancel } from "../../../sdk/platform.js";
import type { Listener, ServerCertificate } from "../network/network.js";
import { TicketOffice } from "../network/tickets.js";
import type { ShownCredential } from "../network/virtual-tls.js";
import type { VirtualTime } from "../time/virtual-time.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import type { Connect, Qos } from "../wire/wire-packets.js";
import type { Properties } from "../wire/wire-properties.js";
import type { BrokerAccess, Scope } from "./access.js";
import { BrokerConnection } from "./broker-connection.js";
import type { BrokerObserver } from "./broker-observer.js";
import { CALM, type BrokerLimits, type BrokerMood } from "./broker-settings.js";
import { expired, matches, type Message } from "./message.js";
import { ServerSession, type Subscription } from "./server-session.js";

/** Somebody beside the devices who listens: the backend, the authority. */
export interface Tap {
  filter: string;
  take(clientId: string, message: Message): void;
}

export class VirtualBroker {
  readonly mtls: Listener;
  readonly psk: Listener;
  readonly taps: Tap[] = [];
  /** Topics and filters for which it ends the connection of whoever sends them. */
  readonly poison = new Set<string>();
  mood: BrokerMood = { ...CALM };
  readonly #sessions = new Map<string, ServerSession>();
  readonly #connections = new Map<string, BrokerConnection>();
  readonly #expiries = new Map<string, Cancel>();
  readonly #unidentified = new Set<BrokerConnection>();

  constructor(
    readonly time: VirtualTime,
    readonly access: BrokerAccess,
    readonly limits: BrokerLimits,
    readonly observer: BrokerObserver,
    certificate: ServerCertificate,
    tlsVersion: "TLSv1.3" | "TLSv1.2",
  ) {
    const listener = (judge: (shown: ShownCredential) => number | undefined, scopeOf: (shown: ShownCredential) => Scope): Listener => ({
      up: true,
      tlsVersion,
      certificate,
      judge,
      accept: (socket, shown) => {
        const connection = new BrokerConnection(this, socket, scopeOf(shown));
        this.#unidentified.add(connection);
        return connection;
      },
    });
    const mtls = listener(
      (shown) => access.judgeCertificate(shown, tlsVersion),
      (shown) => {
        const certificateShown = access.certificateOf(shown);
        return { kind: "mtls", id: certificateShown?.id ?? "", serial: certificateShown?.serial ?? "" };
      },
    );
    this.mtls = { ...mtls, tickets: new TicketOffice() };
    this.psk = listener(
      (shown) => access.judgePsk(shown, tlsVersion),
      (shown) =>
        shown.kind === "psk" ? { kind: "psk", id: shown.identity, key: shown.key } : { kind: "psk", id: "", key: new Uint8Array() },
    );
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  isConnected(clientId: string): boolean {
    return this.#connections.has(clientId);
  }

  /** Messages that wait for a client, sent or not. */
  backlog(clientId: string): number {
    const session = this.#sessions.get(clientId);
    return session ? session.queue.length + session.inFlight.size : 0;
  }

  /**
   * Publishes as a client inside the house: a backend, the authority.
   * @returns the clients it was for
   */
  publish(topic: string, payload: Uint8Array, qos: Qos, properties: Properties = {}): string[] {
    return this.route("", { topic, payload, qos, retain: false, properties, atMs: this.time.nowMs });
  }

  /** Passes a message on to everybody it is for. @returns the clients it was for */
  route(fromClientId: string, message: Message): string[] {
    const takers: string[] = [];
    for (const tap of this.taps) if (matches(tap.filter, message.topic)) tap.take(fromClientId, message);
    for (const session of this.#sessions.values()) {
      const matching = [...session.subscriptions.values()].filter(
        (one) => matches(one.filter, message.topic) && !(one.noLocal && session.clientId === fromClientId),
      );
      if (matching.length === 0) continue;
      takers.push(session.clientId);
      this.#enqueue(session, message, matching);
    }
    return takers;
  }

  /** Takes the session of a client that just sent CONNECT; a connection it still has elsewhere is taken over. */
  openSession(connect: Connect, connection: BrokerConnection): { session: ServerSession; present: boolean } {
    const { clientId } = connect;
    this.#unidentified.delete(connection);
    this.#connections.get(clientId)?.takenOver();
    this.#connections.set(clientId, connection);
    this.#expiries.get(clientId)?.();
    const found = this.#sessions.get(clientId);
    if (found && connect.clean) this.#forget(found);
    const present = found !== undefined && !connect.clean;
    const session = present ? found : new ServerSession(clientId, 0);
    session.expiryMs = this.#expiryMs(connect);
    this.#sessions.set(clientId, session);
    return { session, present };
  }

  /** A connection is over; its session lives on as long as it may. */
  closed(connection: BrokerConnection, session: ServerSession | undefined): void {
    this.#unidentified.delete(connection);
    if (!session || this.#connections.get(session.clientId) !== connection) return;
    this.#connections.delete(session.clientId);
    this.#publishWill(session);
    if (session.expiryMs === Infinity) return;
    const cancel = this.time.after(session.expiryMs, () => {
      if (this.#sessions.get(session.clientId) === session && !this.#connections.has(session.clientId)) this.#forget(session);
    });
    this.#expiries.set(session.clientId, cancel);
  }

  /** The broker goes down: everybody is cut off. Without persistence it forgets all sessions. */
  stop(memory: "keeps" | "forgets", farewell?: number): void {
    this.mtls.up = false;
    this.psk.up = false;
    for (const connection of [...this.#connections.values(), ...this.#unidentified]) connection.kill(farewell);
    if (memory === "forgets") for (const session of [...this.#sessions.values()]) this.#forget(session);
  }

  start(): void {
    this.mtls.up = true;
    this.psk.up = true;
  }

  /** Cuts one client off, with a reason where the protocol has room for one. */
  kick(clientId: string, reasonCode: number, serverReference?: string): void {
    this.#connections.get(clientId)?.disconnect(reasonCode, serverReference);
  }

  /** Ends every connection that a certificate opened, whatever its client id: rights hang on the certificate, not on the session. */
  endSessionsOf(serial: string): void {
    for (const connection of [...this.#connections.values(), ...this.#unidentified]) {
      if (connection.scope.kind === "mtls" && connection.scope.serial === serial) connection.kill();
    }
  }

  /** Ends every connection that a pre-shared key of this device opened. */
  endPskSessions(id: string): void {
    for (const connection of [...this.#connections.values(), ...this.#unidentified]) {
      if (connection.scope.kind === "psk" && connection.scope.id === id) connection.kill();
    }
  }

  /** Sends bytes that no broker should send. */
  inject(clientId: string, bytes: Uint8Array): void {
    this.#connections.get(clientId)?.sendRaw(bytes);
  }

  /** The administrator removed this session. */
  forgetSession(clientId: string): void {
    const session = this.#sessions.get(clientId);
    if (!session) return;
    this.#connections.get(clientId)?.kill();
    this.#forget(session);
  }

  wallMs(): number {
    return WORLD_BEGINS_MS + this.time.nowMs;
  }

  #enqueue(session: ServerSession, message: Message, matching: readonly Subscription[]): void {
    const best = Math.max(...matching.map((one) => one.qos));
    const qos = Math.min(message.qos, best) as Qos;
    const connection = this.#connections.get(session.clientId);
    if (qos === 0 && !connection) return;
    const delivered = { ...message, qos };
    if (session.queue.length >= this.limits.queueLimit) {
      this.observer.gaveUp(session.clientId, delivered);
      return;
    }
    const subscriptionIdentifiers = matching.map((one) => one.identifier).filter((id): id is number => id !== undefined);
    session.queue.push({ message: delivered, subscriptionIdentifiers, phase: "publish" });
    connection?.pump();
  }

  #expiryMs(connect: Connect): number {
    const askedMs =
      connect.version === 4
        ? connect.clean
          ? 0
          : Infinity
        : (connect.properties.sessionExpiryInterval ?? 0) === 0xffff_ffff
          ? Infinity
          : (connect.properties.sessionExpiryInterval ?? 0) * 1_000;
    return Math.min(askedMs, this.limits.sessionExpiryCapMs);
  }

  #forget(session: ServerSession): void {
    if (this.#sessions.get(session.clientId) === session) this.#sessions.delete(session.clientId);
    this.observer.sessionLost(
      session.clientId,
      [...session.received.values()].filter((message) => message !== undefined),
    );
    for (const { message, phase } of [...session.inFlight.values(), ...session.queue]) {
      if (phase === "publish" && message.qos > 0 && !expired(message, this.time.nowMs)) this.observer.gaveUp(session.clientId, message);
    }
  }

  #publishWill(session: ServerSession): void {
    const { will } = session;
    session.will = undefined;
    if (will) this.route(session.clientId, { ...will, atMs: this.time.nowMs });
  }
}
