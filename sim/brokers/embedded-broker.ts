/**
 * An MQTT 3.1.1 broker in this process: aedes behind Node's TLS, certificates on one port, pre-shared keys on the other, on loopback
 * unless told otherwise. For demos, tests and small sites; the mosquitto launcher beside it runs the real thing.
 */
import { Aedes, type Client } from "aedes";
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import type { Log } from "../../sdk/platform.js";
import { accessRules, maySubscribe, type RulesContext } from "./access-rules.js";
import { Arrivals } from "./arrivals.js";
import {
  DEFAULT_LIMITS,
  type BrokerEvent,
  type BrokerLimits,
  type BrokerMaterial,
  type EndReason,
  type PortKind,
  type RefusalReason,
} from "./broker-events.js";
import { RETURN_CODE } from "./incoming-connect.js";
import { credentialFault, scopeOf, type Shown } from "./credential-verdict.js";
import type { GuardedConnection } from "./guarded-connection.js";
import { HalfOpen } from "./half-open.js";
import { Residents, type Resident } from "./residents.js";
import { SessionStore, type BrokerSessions, type StoreClient } from "./session-store.js";
import { awaitConnect, refusalOf, sendRefusal, withClientId, type Refusal, type Visitor } from "./sign-in.js";
import { listenOn, type TcpListener } from "./tcp-listener.js";
import { createMtlsServer, createPskServer, prepareMaterial, renewMtlsServer } from "./tls-ports.js";
import type { PreparedMaterial, TlsPortHandlers } from "./tls-ports.js";

export interface EmbeddedBrokerOptions {
  material: BrokerMaterial;
  /** One address to listen on; without it 127.0.0.1 and ::1. */
  host?: string;
  /** 0 takes a free port. */
  mtlsPort: number;
  /** 0 takes a free port. */
  pskPort: number;
  limits?: Partial<BrokerLimits>;
  /** The sessions of a broker that was here before; without it none. */
  persistence?: BrokerSessions;
  log?: Log;
}

const EXPIRY_CHECK_MS = 1_000;

export class EmbeddedBroker {
  readonly #store: SessionStore;
  readonly #limits: BrokerLimits;
  readonly #listeners = new Set<(event: BrokerEvent) => void>();
  readonly #sockets = new Set<Socket>();
  readonly #halfOpen: HalfOpen;
  readonly #arrivals: Arrivals;
  #expiryWatch: NodeJS.Timeout | undefined;
  readonly #residents = new Residents(
    (connection) => this.#handle(connection),
    (resident) => this.#onGone(resident),
  );
  #prepared: PreparedMaterial;
  #aedes: Aedes | undefined;
  #tlsServers: { mtls: Server; psk: Server } | undefined;
  #tcpListeners: TcpListener[] = [];
  #isStopping = false;

  /** @throws HawserError `BROKER_MATERIAL_INVALID`, `BAD_OPTION` */
  constructor(private readonly options: EmbeddedBrokerOptions) {
    this.#limits = limitsOf(options, options.material);
    this.#arrivals = new Arrivals(this.#limits);
    const { maxHalfOpen, maxHalfOpenPerNetwork } = this.#limits;
    this.#halfOpen = new HalfOpen(maxHalfOpen, maxHalfOpenPerNetwork, () =>
      this.#refused("mtls", "TOO_MANY_CONNECTIONS", { detail: "closed before it signed in, to make room" }),
    );
    const { persistence = new SessionStore() } = options;
    if (!(persistence instanceof SessionStore))
      throw new HawserError(
        "BAD_OPTION",
        "persistence must be the one of an earlier EmbeddedBroker",
        "Pass broker.persistence, or leave it out.",
      );
    this.#store = persistence;
    this.#prepared = prepareMaterial(options.material);
  }

  /** What survives the broker: pass it to the next one. */
  get persistence(): BrokerSessions {
    return this.#store;
  }

  /** Calls `listener` with every event, in order; the result ends that. */
  onEvent(listener: (event: BrokerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Listens. A broker starts once; after `stop` or `kill` make a new one.
   * @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`
   */
  async start(): Promise<{ mtlsPort: number; pskPort: number }> {
    const context = this.#rulesContext();
    this.#store.attach({
      limits: this.#limits,
      maySubscribe: (client, filter) => this.#maySubscribe(context, client, filter),
      nameOf: (clientId) => this.#residents.nameOf(clientId) ?? "",
      mayReplay: (client, topic) => this.#mayReplay(client, topic),
      onDropped: (event) => this.#emit(event),
    });
    const aedes = await this.#startAedes(context);
    this.#aedes = aedes;
    const handlers = (port: PortKind): TlsPortHandlers => ({
      arrived: (socket, shown) => this.#arrived(port, socket, shown),
      refused: (reason, detail) => this.#refused(port, reason, { detail: detail.slice(0, 100) }),
    });
    const timeoutMs = this.#limits.connectTimeoutMs;
    const mtls = createMtlsServer(() => this.#prepared, timeoutMs, handlers("mtls"));
    const psk = createPskServer(() => this.#prepared.material, timeoutMs, handlers("psk"));
    this.#tlsServers = { mtls, psk };
    try {
      const mtlsPort = await this.#listen("mtls", this.options.mtlsPort, mtls);
      const pskPort = await this.#listen("psk", this.options.pskPort, psk);
      this.#expiryWatch = setInterval(() => this.#endExpired(), EXPIRY_CHECK_MS).unref();
      this.options.log?.("info", "broker listens", { mtlsPort, pskPort });
      return { mtlsPort, pskPort };
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Judges everybody by new material from now on: certificates, CRLs, PSKs and rules. Good connections stay; those whose certificate is
   * revoked now, or whose PSK or name was withdrawn, are closed. New limits hold for what comes from now on. Nothing changes when it
   * throws.
   * @throws HawserError `BROKER_MATERIAL_INVALID`
   */
  reload(material: BrokerMaterial): void {
    const before = this.#prepared;
    this.#prepared = prepareMaterial(material, before);
    Object.assign(this.#limits, limitsOf(this.options, material));
    if (this.#tlsServers !== undefined) renewMtlsServer(this.#tlsServers.mtls, this.#prepared, before);
    for (const resident of this.#residents.all()) {
      const fault = credentialFault(resident.shown, this.#prepared.material, this.#prepared.revocation, Date.now());
      if (fault !== undefined) resident.connection.cut(endReasonOf(fault));
    }
    this.options.log?.("info", "broker reloaded", { clients: this.#residents.size });
  }

  /** Closes all connections, without wills, and frees the ports. */
  async stop(): Promise<void> {
    await this.#goDown();
  }

  /**
   * Dies as by `kill -9`: every socket is destroyed before this returns its promise, which resolves when the ports are free. What a
   * broker with a disk would keep is in {@link persistence}.
   */
  kill(): Promise<void> {
    return this.#goDown();
  }

  /** Connected clients, signed in or about to be. */
  get clientCount(): number {
    return this.#residents.size;
  }

  /** A certificate is good until its last second, not until the next connection; a session until its client was away too long. */
  #endExpired(): void {
    const nowMs = Date.now();
    void this.#store.endOldSessions((clientId) => this.#residents.nameOf(clientId) !== undefined, nowMs);
    for (const { shown, connection } of this.#residents.all()) {
      if (shown.kind === "certificate" && nowMs > shown.notAfterMs) connection.cut("CERTIFICATE_EXPIRED");
    }
  }

  async #goDown(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#expiryWatch);
    for (const resident of this.#residents.all()) resident.connection.cut("BROKER_STOPPED");
    for (const socket of this.#sockets) socket.destroy();
    const aedes = this.#aedes;
    await Promise.all(this.#tcpListeners.splice(0).map((listener) => listener.close()));
    await Promise.all(this.#residents.all().map((resident) => resident.gone));
    if (aedes !== undefined && !aedes.closed) await new Promise<void>((resolve) => aedes.close(resolve));
  }

  async #listen(port: PortKind, number: number, server: Server): Promise<number> {
    const hosts = this.options.host === undefined ? ["127.0.0.1", "::1"] : [this.options.host];
    const listener = await listenOn(hosts, number, (socket) => this.#accept(port, socket, server));
    this.#tcpListeners.push(listener);
    return listener.port;
  }

  #accept(port: PortKind, socket: Socket, server: Server): void {
    socket.on("error", () => undefined);
    if (this.#isStopping || this.#residents.size >= this.#limits.maxConnections || !this.#arrivals.admit(socket)) {
      socket.destroy();
      this.#refused(port, this.#isStopping ? "BROKER_STOPPING" : "TOO_MANY_CONNECTIONS");
      return;
    }
    this.#sockets.add(socket);
    this.#halfOpen.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    server.emit("connection", socket);
  }

  #arrived(port: PortKind, socket: TLSSocket, shown: Shown | undefined): void {
    socket.on("error", () => undefined);
    if (shown === undefined) {
      socket.destroy();
      this.#refused(port, port === "mtls" ? "NO_CERTIFICATE" : "PSK_IDENTITY_UNKNOWN");
      return;
    }
    awaitConnect(
      socket,
      this.#limits,
      (head, connectBytes, following) =>
        this.#visit({ socket, port, shown, head: withClientId(head, shown.name), connectBytes, following }),
      (reason) => this.#refused(port, reason, tracesOf(shown)),
    );
  }

  #visit(visitor: Visitor): void {
    const refusal = refusalOf(visitor, this.#prepared, Date.now()) ?? this.#sessionRefusal(visitor);
    if (refusal !== undefined) {
      sendRefusal(visitor, refusal);
      this.#refused(visitor.port, refusal.reason, { ...tracesOf(visitor.shown), clientId: visitor.head.clientId.slice(0, 128) });
      return;
    }
    this.#halfOpen.done(visitor.socket);
    void this.#residents.admit(visitor, this.#limits);
  }

  #sessionRefusal({ head, shown }: Visitor): Refusal | undefined {
    const { maxSessions, maxSessionsPerName } = this.#limits;
    const needsRoom = !head.cleanSession && !this.#store.hasSession(head.clientId);
    const isFull = this.#store.sessionCount >= maxSessions || this.#store.sessionCountOf(shown.name) >= maxSessionsPerName;
    const maxOfName = this.#prepared.material.maxConnectionsOf?.({ name: shown.name, scope: scopeOf(shown) }) ?? maxSessionsPerName;
    const hasMany = this.#residents.countOf(shown.name, head.clientId) >= Math.min(maxOfName, maxSessionsPerName);
    return hasMany || this.#residents.size >= this.#limits.maxConnections || (needsRoom && isFull)
      ? { reason: "TOO_MANY_SESSIONS", returnCode: RETURN_CODE.serverUnavailable }
      : undefined;
  }

  #handle(connection: GuardedConnection): Client {
    if (this.#aedes === undefined) throw new Error("a client came before the broker was started");
    return this.#aedes.handle(connection);
  }

  #onGone(resident: Resident): void {
    this.#store.endReplay(resident.clientId);
    if (!resident.wasConnected) {
      // Our own reading of the CONNECT is shallower than aedes'.
      if (resident.connection.endReason === "PROTOCOL_ERROR") this.#refused(resident.port, "MALFORMED_CONNECT", tracesOf(resident.shown));
      return;
    }
    this.#emit({
      type: "disconnected",
      ...resident.who,
      clientId: resident.clientId,
      reason: resident.connection.endReason ?? "CONNECTION_LOST",
    });
  }

  async #startAedes(context: RulesContext): Promise<Aedes> {
    const aedes = await Aedes.createBroker({
      ...accessRules(context),
      persistence: this.#store,
      concurrency: 1_000,
      drainTimeout: this.#limits.connectTimeoutMs,
      connectTimeout: this.#limits.connectTimeoutMs,
      maxInflightInbound: this.#limits.maxInflightInbound,
      preConnect: (client, packet, callback) => {
        packet.clientId = this.#residents.of(client)?.clientId ?? packet.clientId;
        const longest = this.#limits.maxKeepaliveSeconds;
        packet.keepalive = Math.min(packet.keepalive || longest, longest);
        callback(null, true);
      },
      // The TLS layer has settled who it is; a password can only be asked for beside that.
      authenticate: (client, username, password, callback) => callback(null, this.#isSecondFactorRight(client, username, password)),
    });
    aedes.on("client", (client) => this.#residents.registered(client));
    aedes.on("connackSent", (_packet, client) => this.#onConnackSent(client));
    aedes.on("clientDisconnect", (client) => this.#residents.unregistered(client));
    aedes.on("keepaliveTimeout", (client) => this.#residents.noteEnd(client, "KEEPALIVE_TIMEOUT"));
    aedes.on("clientError", (client) => this.#residents.noteEnd(client, "PROTOCOL_ERROR"));
    aedes.on("connectionError", (client) => this.#residents.noteEnd(client, "PROTOCOL_ERROR"));
    (aedes as NodeJS.EventEmitter).on("error", (error: Error) => this.options.log?.("error", "broker fault", { error: error.message }));
    return aedes;
  }

  #isSecondFactorRight(client: Client, username: string | undefined, password: Readonly<Buffer> | undefined): boolean {
    const { secondFactor } = this.#prepared.material;
    if (secondFactor === undefined) return true;
    const resident = this.#residents.of(client);
    if (resident === undefined) return false;
    const isOwnName = username === undefined || username === "" || username === resident.who.name;
    const right = isOwnName && secondFactor(resident.who, password?.toString(), resident.connection.remoteAddress);
    if (!right)
      this.#refused(resident.port, "PASSWORD_REFUSED", { ...tracesOf(resident.shown), clientId: resident.clientId.slice(0, 128) });
    return right;
  }

  #onConnackSent(client: Client): void {
    const resident = this.#residents.of(client);
    if (resident === undefined) return;
    resident.wasConnected = true;
    const { shown, port, socket, clientId } = resident;
    this.#emit({
      type: "connected",
      ...resident.who,
      clientId,
      port,
      tlsVersion: socket.getProtocol() ?? "unknown",
      cipher: socket.getCipher()?.name ?? "unknown",
      resumed: port === "mtls" && socket.isSessionReused(),
      ...(shown.kind === "certificate" ? { serial: shown.serial } : {}),
    });
    resident.connection.release();
  }

  #rulesContext(): RulesContext {
    return {
      material: () => this.#prepared.material,
      liveClient: (client) => this.#residents.of(client),
      maxSubscriptions: this.#limits.maxSubscriptions,
      store: this.#store,
      isStopping: () => this.#isStopping,
      emit: (event) => this.#emit(event),
    };
  }

  #maySubscribe(context: RulesContext, storeClient: StoreClient, filter: string): boolean {
    const client = storeClient as Client;
    const live = context.liveClient(client);
    return live !== undefined && maySubscribe(context, client, live, filter);
  }

  /** The recovery scope leaves what it may not have for the same client's return by certificate. */
  #mayReplay(storeClient: StoreClient, topic: string): "send" | "keep" | "drop" {
    const live = this.#residents.of(storeClient as Client);
    if (live === undefined) return "keep";
    if (this.#prepared.material.authorize(live.who, "subscribe", topic)) return "send";
    return live.who.scope === "recovery" ? "keep" : "drop";
  }

  #refused(
    port: PortKind,
    reason: RefusalReason,
    traces: Partial<Omit<Extract<BrokerEvent, { type: "refused" }>, "type" | "port" | "reason">> = {},
  ): void {
    this.#emit({ type: "refused", port, reason, ...traces });
  }

  #emit(event: BrokerEvent): void {
    const { type, ...fields } = event;
    this.options.log?.(type === "connected" || type === "disconnected" ? "info" : "warn", type, fields);
    for (const listener of this.#listeners) listener(event);
  }
}

function limitsOf({ limits }: EmbeddedBrokerOptions, material: BrokerMaterial): BrokerLimits {
  return { ...DEFAULT_LIMITS, ...material.limits, ...limits };
}

function tracesOf(shown: Shown): { name: string; serial?: string } {
  return shown.kind === "certificate" ? { name: shown.name.slice(0, 64), serial: shown.serial } : { name: shown.name.slice(0, 64) };
}

function endReasonOf(fault: NonNullable<ReturnType<typeof credentialFault>>): EndReason {
  return fault === "CERTIFICATE_REVOKED" ||
    fault === "CERTIFICATE_EXPIRED" ||
    fault === "CRL_EXPIRED" ||
    fault === "CRL_MISSING" ||
    fault === "PSK_WITHDRAWN"
    ? fault
    : "NOT_ALLOWED";
}
