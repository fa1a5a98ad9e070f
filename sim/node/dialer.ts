/** The dialer over node:net and node:tls. TLS 1.3 where the broker can, 1.2 where it must, never less. */
import { connect as connectTcp, isIP } from "node:net";
import type { LookupFunction, OnReadOpts, Socket, TcpNetConnectOpts } from "node:net";
import { checkServerIdentity, connect as connectTls, TLSSocket } from "node:tls";
import type { ConnectionOptions, DetailedPeerCertificate, PeerCertificate, SecureContext, SecureVersion } from "node:tls";
import type { Failure, Shown } from "../../sdk/connection/failure.js";
import { HawserError } from "../../sdk/errors.js";
import type { Credential, Dialer, Endpoint, Link, LinkHandlers, LinkInfo } from "../../sdk/platform.js";
import type { LinkKeys } from "./key-store.js";
import { NodeLink } from "./node-link.js";
import type { LinkPlan } from "./node-link.js";
import { MtlsContexts, pskContext, TlsSessions } from "./tls-credentials.js";
import type { MtlsCredential, TlsVersions } from "./tls-credentials.js";
import { believedVerdict, linkFailure, localFailure } from "./tls-failure.js";

export interface NodeDialerOptions {
  /** Default "TLSv1.2". */
  minTlsVersion?: SecureVersion;
  /** Default "TLSv1.3". */
  maxTlsVersion?: SecureVersion;
  /** Resume mTLS sessions by ticket (default true). PSK links are never resumed: brokers then lose the identity. */
  resumption?: boolean;
  /** Name resolution; default the operating system's. */
  lookup?: LookupFunction;
}

type PskCredential = Extract<Credential, { kind: "psk" }>;

/** The limit of an OpenSSL server and of Mbed TLS's default. */
const LONGEST_PSK_IDENTITY_BYTES = 128;
/** Per address of a name with several; Node's 250 ms gives up on working but slow ways. */
const ADDRESS_ATTEMPT_MS = 1_500;

export class NodeDialer implements Dialer {
  readonly #keys: LinkKeys;
  readonly #versions: TlsVersions;
  readonly #contexts: MtlsContexts;
  readonly #sessions: TlsSessions | undefined;
  readonly #lookup: LookupFunction | undefined;
  #pskContext: SecureContext | undefined;

  constructor(keys: LinkKeys, options: NodeDialerOptions = {}) {
    this.#keys = keys;
    this.#versions = { minVersion: options.minTlsVersion ?? "TLSv1.2", maxVersion: options.maxTlsVersion ?? "TLSv1.3" };
    this.#contexts = new MtlsContexts(this.#versions);
    this.#sessions = (options.resumption ?? true) ? new TlsSessions() : undefined;
    this.#lookup = options.lookup;
  }

  dial(endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers): Link {
    return new NodeLink(this.#plan(endpoint, credential, timeoutMs), handlers);
  }

  #plan(endpoint: Endpoint, credential: Credential, timeoutMs: number): LinkPlan {
    const tcp = this.#tcpOptions(endpoint);
    switch (credential.kind) {
      case "mtls":
        return this.#mtlsPlan(endpoint, credential, timeoutMs, tcp);
      case "psk":
        return {
          ...basicPlan(endpoint, "psk", timeoutMs),
          connect: (onread) => openTls({ ...tcp, onread }, serverNameOf(endpoint), this.#pskOptions(credential)),
        };
      case "none":
        return { ...basicPlan(endpoint, "no-certificate", timeoutMs), openedBy: "connect", connect: (onread) => connectTcp({ ...tcp, onread }) };
    }
  }

  #mtlsPlan(endpoint: Endpoint, credential: MtlsCredential, timeoutMs: number, tcp: TcpNetConnectOpts): LinkPlan {
    const serverName = serverNameOf(endpoint);
    const basic = basicPlan(endpoint, "certificate", timeoutMs);
    const tickets = this.#sessions === undefined ? undefined : new TicketUse(this.#sessions, TlsSessions.id(endpoint, credential));
    let shownByServer: DetailedPeerCertificate | undefined;
    return {
      ...basic,
      connect: (onread: OnReadOpts): Socket => {
        const secureContext = this.#contexts.get(credential, this.#keys.signingKey(credential.slot));
        const identityCheck = (_host: string, certificate: PeerCertificate): Error | undefined => checkServerIdentity(serverName, certificate);
        const socket = openTls({ ...tcp, onread }, serverName, { secureContext, checkServerIdentity: identityCheck, ...tickets?.options() });
        tickets?.watch(socket);
        return socket;
      },
      proved: (socket) => tickets?.proved(socket),
      beforeDestroy: (socket) => (shownByServer ??= serverCertificate(socket)),
      explain: (error, opened) => {
        const found = basic.explain(error, opened);
        return opened ? found : believedVerdict(found, shownByServer, serverName, credential.trustAnchors);
      },
    };
  }

  #pskOptions(credential: PskCredential): ConnectionOptions {
    const { identity } = credential;
    const identityBytes = Buffer.byteLength(identity);
    if (identityBytes < 1 || identityBytes > LONGEST_PSK_IDENTITY_BYTES) {
      throw new HawserError("PSK_REJECTED", `a PSK identity of ${identityBytes} bytes`, `Use 1 to ${LONGEST_PSK_IDENTITY_BYTES} bytes.`);
    }
    const psk = this.#keys.psk(credential.slot);
    this.#pskContext ??= pskContext(this.#versions);
    return { secureContext: this.#pskContext, pskCallback: () => ({ identity, psk }), checkServerIdentity: refuseCertificate };
  }

  #tcpOptions({ host, port }: Endpoint): TcpNetConnectOpts {
    const lookup = this.#lookup === undefined ? {} : { lookup: this.#lookup };
    return { host, port, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS, ...lookup };
  }
}

/** What plans have in common; `connect` is for the caller to add. */
function basicPlan(endpoint: Endpoint, shown: Shown, timeoutMs: number): Omit<LinkPlan, "connect"> {
  const address = endpoint.host.includes(":") ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`;
  return {
    openedBy: "secureConnect",
    timeoutMs,
    address,
    opened: (socket) => linkInfo(socket, shown),
    proved: () => undefined,
    beforeDestroy: () => undefined,
    explain: (error: unknown, opened: boolean): Failure => linkFailure(error, { address, shown, opened }),
    explainLocal: (error: unknown): Failure => localFailure(error, { address, shown, opened: false }),
  };
}

function linkInfo(socket: Socket, shown: Shown): LinkInfo {
  if (!(socket instanceof TLSSocket)) return { tlsVersion: "none", cipher: "none", resumed: false };
  // OpenSSL calls a TLS 1.3 handshake with an external PSK a resumption.
  const resumed = shown === "certificate" && socket.isSessionReused();
  return { tlsVersion: socket.getProtocol() ?? "unknown", cipher: socket.getCipher().name, resumed };
}

function serverNameOf(endpoint: Endpoint): string {
  return endpoint.serverName ?? endpoint.host;
}

function openTls(tcp: TcpNetConnectOpts, serverName: string, tls: ConnectionOptions): TLSSocket {
  // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes nothing.
  const options = { ...tcp, ...tls, rejectUnauthorized: true };
  // An address is no server name (RFC 6066 section 3).
  return connectTls(isIP(serverName) === 0 ? { ...options, servername: serverName } : options);
}

/** With PSK there is no certificate to judge; where one comes, the server did not prove that it knows the key. */
function refuseCertificate(_host: string, certificate: PeerCertificate): Error | undefined {
  return Object.keys(certificate).length === 0 ? undefined : new Error("the server shows a certificate on a PSK link");
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
  readonly #id: string;
  #used: Buffer | undefined;
  #latest: Buffer | undefined;
  #isProved = false;

  constructor(sessions: TlsSessions, id: string) {
    this.#sessions = sessions;
    this.#id = id;
  }

  options(): { session?: Buffer } {
    this.#used = this.#sessions.take(this.#id);
    return this.#used === undefined ? {} : { session: this.#used };
  }

  watch(socket: TLSSocket): void {
    socket.on("session", (session) => {
      this.#latest = session;
      if (this.#used === undefined || this.#isProved) this.#sessions.keep(this.#id, session);
    });
  }

  proved(socket: Socket): void {
    this.#isProved = true;
    // A TLS 1.2 ticket may serve again when the broker sent no newer one.
    const mayServeAgain = socket instanceof TLSSocket && socket.isSessionReused() && socket.getProtocol() === "TLSv1.2";
    const next = this.#latest ?? (mayServeAgain ? this.#used : undefined);
    if (next !== undefined) this.#sessions.keep(this.#id, next);
  }
}
