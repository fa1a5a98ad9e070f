/** Links to a broker named by a URL, for gateways and tools: plain TCP, or TLS that trusts a CA given or those of Node. */
import type { OnReadOpts, Socket } from "node:net";
import { connect as connectTcp, isIP } from "node:net";
import { connect as connectTls, TLSSocket, type ConnectionOptions } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import type { Failure } from "../../sdk/failure.js";
import type { Link, LinkHandlers, LinkInfo } from "../../sdk/platform.js";
import type { OutboundProxy, ProxiedConnection } from "./proxied-connection.js";
import { hostPort } from "./host-port.js";
import { NodeLink, type LinkPlan } from "./node-link.js";
import { WebSocketLink } from "./web-socket-link.js";
import { linkFailure, localFailure, refusedServer, type LinkContext } from "./tls-failure.js";

export interface UrlTlsOptions {
  /** Trust anchors (PEM) by which the broker is judged; default those of Node (public CAs). */
  ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** This client's certificate chain (PEM), for mutual TLS; needs `key`. */
  cert?: string | Uint8Array;
  /** Its private key (PEM). */
  key?: string | Uint8Array;
  /** The name that the broker's certificate must carry, when it is not the URL's host. */
  serverName?: string;
}

export interface BrokerUrl {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  /** Of a WebSocket, with its query. */
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
}

/** Ports that IANA has registered for MQTT and WebSocket. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "mqtt:": 1_883, "mqtts:": 8_883, "ws:": 80, "wss:": 443 };
/** Where most brokers have their WebSocket. */
const USUAL_PATH = "/mqtt";
const ADDRESS_ATTEMPT_MS = 1_500;

/** @throws HawserError `BAD_URL`; the message never shows what stands before the host, which may be a password */
export function parseBrokerUrl(text: string): BrokerUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw badUrl("this is not a URL");
  }
  const defaultPort = DEFAULT_PORTS[url.protocol];
  if (defaultPort === undefined) throw badUrl(`the scheme ${url.protocol}// is not supported`);
  if (url.hostname === "") throw badUrl("the URL names no host");
  const isWebSocket = url.protocol.startsWith("ws");
  const hasPath = !/^\/?$/.test(url.pathname);
  if (url.hash !== "" || (!isWebSocket && (hasPath || url.search !== "")))
    throw badUrl("the URL has a path or a query, which MQTT does not use");
  const port = url.port === "" ? defaultPort : Number(url.port);
  if (port === 0) throw badUrl("invalid port 0: use 1 to 65535");
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port,
    isTls: url.protocol === "mqtts:" || url.protocol === "wss:",
    ...(isWebSocket ? { path: `${hasPath ? url.pathname : USUAL_PATH}${url.search}` } : {}),
    ...(url.username === "" ? {} : { username: decoded(url.username) }),
    ...(url.password === "" ? {} : { password: decoded(url.password) }),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badUrl("the user name or password has a % that begins no escape");
  }
}

function badUrl(what: string): HawserError {
  return new HawserError(
    "BAD_URL",
    `cannot use the broker's URL: ${what}`,
    "Give mqtts://host:8883, wss://host/mqtt, or mqtt://host:1883 without TLS.",
  );
}

/** Starts one attempt; what goes wrong comes through `handlers.ended`. */
export function dialUrl(
  target: BrokerUrl,
  tls: UrlTlsOptions,
  timeoutMs: number,
  handlers: LinkHandlers,
  proxy: OutboundProxy | undefined,
): Link {
  const plan = new UrlPlan(target, tls, timeoutMs, proxy);
  const { path } = target;
  if (path === undefined) return new NodeLink(plan, handlers);
  return new WebSocketLink((below) => new NodeLink(plan, below), { authority: plan.address, path, timeoutMs }, handlers);
}

class UrlPlan implements LinkPlan {
  readonly openedBy: LinkPlan["openedBy"];
  readonly address: string;
  #isServerRefused = false;
  #proxied: ProxiedConnection | undefined;

  constructor(
    private readonly target: BrokerUrl,
    private readonly tls: UrlTlsOptions,
    readonly timeoutMs: number,
    private readonly proxy: OutboundProxy | undefined,
  ) {
    this.openedBy = target.isTls ? "secureConnect" : "connect";
    this.address = hostPort(target);
  }

  connect(onread: OnReadOpts): Socket | Promise<Socket> {
    const { host, port, isTls } = this.target;
    if (this.proxy !== undefined) {
      this.#proxied = this.proxy.open(this.address);
      return this.#proxied.socket.then((socket) => this.#openTls({ host, port, socket }));
    }
    const tcp = { host, port, onread, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS };
    return isTls ? this.#openTls(tcp) : connectTcp(tcp);
  }

  #openTls(tcp: ConnectionOptions): TLSSocket {
    const { ca, cert, key, serverName = this.target.host } = this.tls;
    return connectTls({
      ...tcp,
      minVersion: "TLSv1.2",
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes nothing.
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca: pem(ca) }),
      ...(cert === undefined ? {} : { cert: Buffer.from(cert) }),
      ...(key === undefined ? {} : { key: Buffer.from(key) }),
      // An address is no server name (RFC 6066 section 3); Node then judges by `host`.
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    });
  }

  opened(socket: Socket): LinkInfo {
    if (!(socket instanceof TLSSocket)) return { tlsVersion: "none", cipher: "none", resumed: false };
    return { tlsVersion: socket.getProtocol() ?? "unknown", cipher: socket.getCipher().name, resumed: socket.isSessionReused() };
  }

  explain(error: unknown, opened: boolean): Failure {
    if (this.#isServerRefused) return refusedServer(error, undefined, this.address);
    return linkFailure(error, this.#context(opened));
  }

  explainLocal(error: unknown): Failure {
    return localFailure(error, this.#context(false));
  }

  beforeDestroy(socket: Socket): void {
    if (socket instanceof TLSSocket) this.#isServerRefused = Boolean(socket.authorizationError);
  }

  // Which address answered, and whether the peer went on talking, matter to dialers that learn from it.
  reached(_address: string): void {
    return;
  }

  over(_served: boolean): void {
    this.#proxied?.giveUp();
  }

  leaving(_socket: Socket): void {
    return;
  }

  proved(_socket: Socket): void {
    return;
  }

  #context(opened: boolean): LinkContext {
    // The server was verified before the link was up.
    return { address: this.address, shown: this.tls.cert === undefined ? "no-certificate" : "certificate", opened, isServerProved: opened };
  }
}

function pem(ca: NonNullable<UrlTlsOptions["ca"]>): Buffer[] {
  const list = typeof ca === "string" || ca instanceof Uint8Array ? [ca] : ca;
  return list.map((one) => Buffer.from(one as Uint8Array));
}
