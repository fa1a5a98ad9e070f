/** The dialer over node:net and node:tls. TLS 1.3 where the broker can, 1.2 where it must, never less. */
import { X509Certificate } from "node:crypto";
import { connect as connectTcp, isIP } from "node:net";
import type { LookupFunction, OnReadOpts, Socket, TcpNetConnectOpts } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import type { ConnectionOptions, DetailedPeerCertificate, PeerCertificate, SecureContext, SecureVersion } from "node:tls";
import { unknownCredential, type Failure, type Shown } from "../../sdk/failure.js";
import { HawserError } from "../../sdk/errors.js";
import type { Credential, Dialer, Endpoint, Link, LinkHandlers, LinkInfo } from "../../sdk/platform.js";
import { AddressOrder } from "./address-order.js";
import { outboundProxy } from "./outbound-proxy.js";
import type { OutboundProxy, ProxiedConnection } from "./proxied-connection.js";
import { hostPort } from "./host-port.js";
import { LONGEST_SESSION_MS } from "../../sdk/sleep/kept-tls-session.js";
import type { KeptTicket, TlsTicket } from "./kept-tls-ticket.js";
import type { LinkKeys } from "./node-key-store.js";
import { NodeLink } from "./node-link.js";
import type { LinkPlan } from "./node-link.js";
import { CertificateContexts, pskContext, TicketPlace, TlsSessions } from "./tls-credentials.js";
import type { CertificateCredential, TlsVersions } from "./tls-credentials.js";
import { judgeServer, type ServerVerdict } from "./server-judgement.js";
import { WebSocketLink } from "./web-socket-link.js";
import { linkFailure, localFailure, refusedServer, serverFault } from "./tls-failure.js";

export interface NodeDialerOptions {
  /** Default "TLSv1.2". */
  minTlsVersion?: SecureVersion;
  /** Default "TLSv1.3". */
  maxTlsVersion?: SecureVersion;
  /** Resume mTLS sessions by ticket (default true). PSK links are never resumed: brokers then lose the identity. */
  resumption?: boolean;
  /** Name resolution; default the operating system's. */
  lookup?: LookupFunction;
  /**
   * Speaks MQTT over WebSocket at this path (`/mqtt` with most brokers; a query may follow) on every link but those by PSK. Then no TLS
   * session is resumed.
   */
  webSocketPath?: string;
  /**
   * The proxy through which every link goes: `http://proxy:3128`, `https://proxy` or `socks5://proxy:1080`, also with `user:password@`
   * before the host. It resolves the broker's name and sees no more than where the link goes; a link without TLS is refused. Default: none,
   * whatever the
   * environment says.
   */
  proxy?: string;
}

/** How a link comes by TCP: by itself, or over what a proxy has opened. */
type Tcp = TcpNetConnectOpts & ({ onread: OnReadOpts } | { socket: Socket });

type PskCredential = Extract<Credential, { kind: "psk" }>;

/** The limit of an OpenSSL server and of Mbed TLS's default. */
const LONGEST_PSK_IDENTITY_BYTES = 128;
/** Per address of a name with several; Node's 250 ms gives up on working but slow ways. */
const ADDRESS_ATTEMPT_MS = 1_500;

export class NodeDialer implements Dialer {
  readonly #keys: LinkKeys;
  readonly #versions: TlsVersions;
  readonly #contexts: CertificateContexts;
  readonly #sessions: TlsSessions | undefined;
  readonly #addresses: AddressOrder;
  readonly #webSocketPath: string | undefined;
  readonly #proxy: OutboundProxy | undefined;
  #pskContext: SecureContext | undefined;

  /**
   * @param kept holds a session while the process does not run
   * @throws HawserError `BAD_OPTION`
   */
  constructor(keys: LinkKeys, options: NodeDialerOptions = {}, kept?: KeptTicket) {
    const { webSocketPath, resumption = true } = options;
    if (webSocketPath !== undefined && !/^\/[!-~]*$/.test(webSocketPath))
      throw new HawserError("BAD_OPTION", `webSocketPath ${JSON.stringify(webSocketPath)} is not a path`, "Begin it with a slash: /mqtt.");
    this.#webSocketPath = webSocketPath;
    if (options.proxy !== undefined) this.#proxy = outboundProxy(options.proxy);
    this.#keys = keys;
    this.#versions = { minVersion: options.minTlsVersion ?? "TLSv1.2", maxVersion: options.maxTlsVersion ?? "TLSv1.3" };
    this.#contexts = new CertificateContexts(this.#versions);
    // Which tickets to keep is learned from the first reads of a link; over WebSocket, they tell nothing about MQTT.
    this.#sessions = resumption && webSocketPath === undefined ? new TlsSessions(kept) : undefined;
    this.#addresses = new AddressOrder(options.lookup);
  }

  dial(endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers): Link {
    const below = (to: LinkHandlers): Link => new NodeLink(this.#plan(endpoint, credential, timeoutMs), to);
    if (this.#webSocketPath === undefined || credential.kind === "psk") return below(handlers);
    return new WebSocketLink(below, { authority: hostPort(endpoint), path: this.#webSocketPath, timeoutMs }, handlers);
  }

  #plan(endpoint: Endpoint, credential: Credential, timeoutMs: number): LinkPlan {
    const straight = { endpoint, timeoutMs, tcp: this.#tcpOptions(endpoint), addresses: this.#addresses, proxy: undefined };
    const way = { ...straight, proxy: this.#proxy };
    switch (credential.kind) {
      case "mtls":
      case "server-auth":
        return new CertificatePlan(way, credential, this.#sessions, (tls, tcp) => {
          const key = credential.kind === "mtls" ? this.#keys.signingKey(credential.slot) : undefined;
          const secureContext = this.#contexts.get(credential, key);
          return openTls(tcp, endpoint, { ...tls, secureContext });
        });
      case "psk":
        return new Plan(way, "psk", "secureConnect", (tcp) => openTls(tcp, endpoint, this.#pskOptions(credential)));
      case "none":
        return new Plan(straight, "no-certificate", "connect", (tcp) => {
          if (this.#proxy !== undefined) throw new HawserError("BAD_CREDENTIAL", "the proxy could read and change a link without TLS");
          return connectTcp(tcp);
        });
      default: {
        const { code, message } = unknownCredential(credential);
        return new Plan(straight, "no-certificate", "connect", () => {
          throw new HawserError(code, message);
        });
      }
    }
  }

  #pskOptions(credential: PskCredential): ConnectionOptions {
    const { identity } = credential;
    const identityBytes = Buffer.byteLength(identity);
    if (identityBytes < 1 || identityBytes > LONGEST_PSK_IDENTITY_BYTES) {
      throw new HawserError("PSK_REJECTED", `the PSK identity has ${identityBytes} bytes`, `Use 1 to ${LONGEST_PSK_IDENTITY_BYTES} bytes.`);
    }
    const psk = this.#keys.psk(credential.slot);
    this.#pskContext ??= pskContext(this.#versions);
    return { secureContext: this.#pskContext, pskCallback: () => ({ identity, psk }), checkServerIdentity: refuseCertificate };
  }

  #tcpOptions({ host, port }: Endpoint): TcpNetConnectOpts {
    return {
      host,
      port,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS,
      lookup: this.#addresses.lookupFor(port),
    };
  }
}

/** Where a link goes, and by which way. */
interface Way {
  readonly endpoint: Endpoint;
  /** Milliseconds. */
  readonly timeoutMs: number;
  readonly tcp: TcpNetConnectOpts;
  readonly addresses: AddressOrder;
  readonly proxy: OutboundProxy | undefined;
}

/** A class, and not closures: gateways and fleet simulators have thousands of links, and each keeps its plan. */
class Plan implements LinkPlan {
  readonly timeoutMs: number;
  readonly #endpoint: Endpoint;
  readonly #addresses: AddressOrder;
  #isServerProved = false;
  #start: ((onread: OnReadOpts) => Socket | Promise<Socket>) | undefined;
  #proxied: ProxiedConnection | undefined;
  #reached: string | undefined;

  constructor(
    { endpoint, timeoutMs, tcp, addresses, proxy }: Way,
    private readonly shown: Shown,
    readonly openedBy: LinkPlan["openedBy"],
    connect: (tcp: Tcp) => Socket,
  ) {
    this.timeoutMs = timeoutMs;
    this.#endpoint = endpoint;
    this.#addresses = addresses;
    this.#start = (onread) => {
      if (proxy === undefined) return connect({ ...tcp, onread });
      this.#proxied = proxy.open(this.address);
      return this.#proxied.socket.then((socket) => connect({ ...tcp, socket }));
    };
  }

  get address(): string {
    return hostPort(this.#endpoint);
  }

  connect(onread: OnReadOpts): Socket | Promise<Socket> {
    const start = this.#start as (onread: OnReadOpts) => Socket | Promise<Socket>;
    // Used once: what it holds is not held for the life of the link.
    this.#start = undefined;
    return start(onread);
  }

  reached(address: string): void {
    this.#reached = address;
  }

  over(served: boolean): void {
    this.#proxied?.giveUp();
    if (this.#reached === undefined) return;
    if (served) this.#addresses.served(this.#reached, this.#endpoint.port);
    else this.#addresses.failed(this.#reached, this.#endpoint.port);
  }

  opened(socket: Socket): LinkInfo {
    this.#isServerProved = this.shown !== "psk" && (isResumed(socket) || isForServers(socket));
    const info = linkInfo(socket, this.shown);
    return this.shown === "certificate" && !this.#isServerProved ? { ...info, serverAuth: false } : info;
  }

  proved(_socket: Socket): void {
    return;
  }

  leaving(_socket: Socket): void {
    return;
  }

  beforeDestroy(_socket: Socket): void {
    return;
  }

  explain(error: unknown, opened: boolean): Failure {
    return linkFailure(error, { address: this.address, shown: this.shown, opened, isServerProved: this.#isServerProved });
  }

  explainLocal(error: unknown): Failure {
    return localFailure(error, { address: this.address, shown: this.shown, opened: false, isServerProved: false });
  }
}

class CertificatePlan extends Plan {
  readonly #credential: CertificateCredential;
  readonly #serverName: string;
  readonly #tickets: TicketUse | undefined;
  #isRefused = false;
  #wrong: ServerVerdict | undefined;

  constructor(
    way: Way,
    credential: CertificateCredential,
    sessions: TlsSessions | undefined,
    open: (tls: ConnectionOptions, tcp: Tcp) => TLSSocket,
  ) {
    const { endpoint } = way;
    const tickets = sessions === undefined ? undefined : new TicketUse(sessions, new TicketPlace(endpoint, credential), credential);
    super(way, credential.kind === "mtls" ? "certificate" : "no-certificate", "secureConnect", (tcp) => {
      const checkServerIdentity = (_host: string, shown: PeerCertificate): Error | undefined =>
        this.#judge(shown as DetailedPeerCertificate);
      const socket = open({ checkServerIdentity, ...tickets?.options() }, tcp);
      tickets?.watch(socket);
      return socket;
    });
    this.#credential = credential;
    this.#serverName = serverNameOf(endpoint);
    this.#tickets = tickets;
  }

  override proved(socket: Socket): void {
    this.#tickets?.proved(socket);
  }

  override leaving(socket: Socket): void {
    this.#tickets?.leaving(socket);
  }

  override beforeDestroy(socket: Socket): void {
    if (!(socket instanceof TLSSocket)) return;
    this.#isRefused = Boolean(socket.authorizationError);
    const shown = this.#wrong === undefined ? serverCertificate(socket) : undefined;
    if (shown !== undefined) this.#judge(shown);
  }

  override explain(error: unknown, opened: boolean): Failure {
    if (this.#isRefused) return refusedServer(error, this.#wrong, this.address);
    const found = super.explain(error, opened);
    return opened ? found : serverFault(found, this.#wrong);
  }

  #judge(shown: DetailedPeerCertificate): Error | undefined {
    const anchors = this.#credential.trustAnchors.map((der) => new X509Certificate(der));
    this.#wrong = judgeServer(shown, this.#serverName, anchors);
    return this.#wrong && new Error(this.#wrong.words);
  }
}

function linkInfo(socket: Socket, shown: Shown): LinkInfo {
  if (!(socket instanceof TLSSocket)) return { tlsVersion: "none", cipher: "none", resumed: false };
  // OpenSSL calls a TLS 1.3 handshake with an external PSK a resumption.
  const resumed = shown !== "psk" && socket.isSessionReused();
  return { tlsVersion: socket.getProtocol() ?? "unknown", cipher: socket.getCipher().name, resumed };
}

/** Without a final dot: it only says that the name is complete (RFC 6066 section 3 sends none). */
function serverNameOf(endpoint: Endpoint): string {
  return (endpoint.serverName ?? endpoint.host).replace(/\.$/, "");
}

function openTls(tcp: Tcp, endpoint: Endpoint, tls: ConnectionOptions): TLSSocket {
  const serverName = serverNameOf(endpoint);
  // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes nothing.
  const options = { ...tcp, ...tls, rejectUnauthorized: true, ...(endpoint.alpn === undefined ? {} : { ALPNProtocols: [endpoint.alpn] }) };
  // An address is no server name (RFC 6066 section 3).
  return connectTls(isIP(serverName) === 0 ? { ...options, servername: serverName } : options);
}

/** With PSK there is no certificate to judge; where one comes, the server did not prove that it knows the key. */
function refuseCertificate(_host: string, certificate: PeerCertificate): Error | undefined {
  return Object.keys(certificate).length === 0 ? undefined : new Error("the server shows a certificate on a PSK link");
}

/** id-kp-serverAuth (RFC 5280 section 4.2.1.12). */
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/** Whether the server's certificate says that it is one for servers: without that any device of the same CA could speak for its broker. */
function isForServers(socket: Socket): boolean {
  if (!(socket instanceof TLSSocket)) return false;
  const { ext_key_usage: usages } = socket.getPeerCertificate();
  return usages?.includes(SERVER_AUTH) === true;
}

/** Node has no certificate to show then. Tickets are kept of servers alone whose certificate said that it is one for servers. */
function isResumed(socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.isSessionReused();
}

function serverCertificate(socket: Socket): DetailedPeerCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const shown = socket.getPeerCertificate(true) as DetailedPeerCertificate | null;
  return shown !== null && Buffer.isBuffer(shown.raw) ? shown : undefined;
}

/**
 * The tickets of one link: uses one, keeps what comes. A link that used one keeps the new ones only when it was proved: a broker that
 * takes the ticket and then refuses the session would otherwise be met with its tickets for ever.
 */
class TicketUse {
  readonly #sessions: TlsSessions;
  readonly #place: TicketPlace;
  readonly #credential: CertificateCredential;
  #used: TlsTicket | undefined;
  /** Until when a session may be resumed: of the full handshake that it goes back to. */
  #validUntilMs: number | undefined;
  #latest: TlsTicket | undefined;
  #isProved = false;

  constructor(sessions: TlsSessions, place: TicketPlace, credential: CertificateCredential) {
    this.#sessions = sessions;
    this.#place = place;
    this.#credential = credential;
  }

  options(): { session?: Buffer } {
    this.#used = this.#sessions.take(this.#place);
    return this.#used === undefined ? {} : { session: this.#used.session };
  }

  watch(socket: TLSSocket): void {
    socket.on("session", (session) => {
      if (!isResumed(socket) && !isForServers(socket)) return;
      this.#validUntilMs ??= (isResumed(socket) ? this.#used?.validUntilMs : this.#endOf(socket)) ?? 0;
      const ticket = { session, validUntilMs: this.#validUntilMs };
      if (this.#used === undefined || this.#isProved) this.#sessions.keep(this.#place, ticket);
      else this.#latest = ticket;
    });
  }

  proved(socket: Socket): void {
    this.#isProved = true;
    // A TLS 1.2 ticket may serve again when the broker sent no newer one.
    const mayServeAgain = socket instanceof TLSSocket && socket.isSessionReused() && socket.getProtocol() === "TLSv1.2";
    const next = this.#latest ?? (mayServeAgain ? this.#used : undefined);
    if (next !== undefined) this.#sessions.keep(this.#place, next);
    // A kilobyte and more each, for the rest of the link's life.
    this.#latest = undefined;
    this.#used = undefined;
  }

  leaving(socket: Socket): void {
    if (!this.#isProved) this.proved(socket);
    this.#sessions.putAway(this.#place);
  }

  /** A resumed handshake judges no certificate: it must not outlive the server's chain, nor ours, nor the longest life of a session. */
  #endOf(socket: TLSSocket): number | undefined {
    const { nowMs } = this.#place;
    const own = this.#credential.kind === "mtls" ? this.#credential.chain.map((der) => new X509Certificate(der).validTo) : [];
    const dates = [...own, ...serverChain(socket).map(({ valid_to: date }) => date)];
    const end = Math.min(nowMs + LONGEST_SESSION_MS, ...dates.map(Date.parse));
    return Number.isFinite(end) ? end : undefined;
  }
}

/** The server's certificates up to the root, as far as Node shows them. */
function serverChain(socket: TLSSocket): DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  for (let one = serverCertificate(socket); one !== undefined && !chain.includes(one); one = one.issuerCertificate) chain.push(one);
  return chain;
}
