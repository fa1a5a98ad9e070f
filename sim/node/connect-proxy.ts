/**
 * The way out of a network that lets programs connect through an HTTP proxy only: CONNECT (RFC 9110, section 9.3.6), by Node's own HTTP
 * client. The proxy sees where a link goes, and what TLS leaves open; it can neither read nor change what is said.
 */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { HawserError } from "../../sdk/errors.js";
import { failure, type Failure } from "../../sdk/failure.js";
import { linkFailure } from "./tls-failure.js";

/** Why a proxy leads nowhere. It says nothing about a broker, a certificate or a login there: always a fault of the network. */
export class ProxyFault extends Error {
  constructor(readonly reason: Failure) {
    super(reason.message);
  }
}

/** One way through a proxy. */
export interface ProxiedConnection {
  /** Leads to the broker. Rejects with {@link ProxyFault}. */
  readonly socket: Promise<Socket>;
  /** Waits for it no longer. */
  giveUp(): void;
}

export class ConnectProxy {
  readonly #url: URL;
  /** `host:port`, for messages: without what stands before it in the URL. */
  readonly #authority: string;
  readonly #headers: Readonly<Record<string, string>>;

  /**
   * @param text `http://proxy:3128` or `https://proxy`, which is judged by Node's own CAs; `user:password@` before the host signs in
   * @throws HawserError `BAD_OPTION`; the message never shows what stands before the host
   */
  constructor(text: string) {
    this.#url = parsed(text);
    const { hostname, port, protocol, username, password } = this.#url;
    this.#authority = `${hostname}:${port || (protocol === "https:" ? "443" : "80")}`;
    const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
    this.#headers = username === "" ? {} : { "Proxy-Authorization": `Basic ${login}` };
  }

  /** @param target `host:port` of the broker, for the proxy to resolve */
  open(target: string): ProxiedConnection {
    const { hostname, port, protocol } = this.#url;
    const request = protocol === "https:" ? requestHttps : requestHttp;
    const attempt = new AbortController();
    const { signal } = attempt;
    const options = { host: hostname.replace(/^\[|\]$/g, ""), port, method: "CONNECT", path: target, headers: this.#headers, signal };
    const socket = new Promise<Socket>((resolve, reject) => {
      const fail = (reason: Failure): void => reject(new ProxyFault(reason));
      request({ ...options, agent: false, rejectUnauthorized: true })
        .on("connect", ({ statusCode = 0 }, socket: Socket, rest: Buffer) => {
          if (statusCode >= 200 && statusCode < 300) {
            if (rest.length > 0) socket.unshift(rest);
            return resolve(socket.setNoDelay(true));
          }
          socket.destroy();
          fail(failure("CONNECTION_REFUSED", `the proxy ${this.#authority} does not connect to ${target}: ${words(statusCode)}`));
        })
        // What it answers to CONNECT has no body: everything else is no proxy's.
        .on("response", (response) => {
          response.destroy();
          fail(failure("CONNECTION_REFUSED", `${this.#authority} is not a proxy: it answered CONNECT with ${response.statusCode ?? 0}`));
        })
        .on("error", (error) => fail(this.#unreachable(error)))
        .end();
    });
    return { socket, giveUp: () => attempt.abort() };
  }

  #unreachable(error: Error): Failure {
    const context = { address: `the proxy ${this.#authority}`, shown: "no-certificate", opened: false, isServerProved: false } as const;
    const found = linkFailure(error, context);
    // Its certificate is not the broker's.
    return found.class === "network" ? found : failure("TLS_FAILED", found.message);
  }
}

function words(status: number): string {
  if (status === 407) return "it wants a user name and password (407)";
  return status === 403 || status === 405 ? `its rules do not allow it (${status})` : `status ${status}`;
}

function parsed(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
    decodeURIComponent(url.username + url.password);
  } catch {
    url = undefined;
  }
  const isPlain = url !== undefined && /^\/?$/.test(url.pathname) && url.search === "" && url.hash === "";
  if (url !== undefined && isPlain && url.hostname !== "" && /^https?:$/.test(url.protocol)) return url;
  throw new HawserError("BAD_OPTION", "proxy is not the URL of an HTTP proxy", "Give http://proxy:3128 or https://user:password@proxy.");
}
