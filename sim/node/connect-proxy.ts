/**
 * The way out of a network that lets programs connect through an HTTP proxy only: CONNECT (RFC 9110, section 9.3.6), by Node's own HTTP
 * client. The proxy sees where a link goes, and what TLS leaves open; it can neither read nor change what is said.
 */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { failure, type Failure } from "../../sdk/failure.js";
import { ProxyFault, unreachable, type OutboundProxy, type ProxiedConnection, type ProxyLogin } from "./proxied-connection.js";

export class ConnectProxy implements OutboundProxy {
  readonly #url: URL;
  /** `host:port`, for messages: without what stands before it in the URL. */
  readonly #authority: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: URL, { user, password }: ProxyLogin) {
    this.#url = url;
    this.#authority = `${url.hostname}:${url.port || (url.protocol === "https:" ? "443" : "80")}`;
    const login = Buffer.from(`${user}:${password}`).toString("base64");
    this.#headers = user === "" ? {} : { "Proxy-Authorization": `Basic ${login}` };
  }

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
        .on("error", (error) => fail(unreachable(this.#authority, error)))
        .end();
    });
    return { socket, giveUp: () => attempt.abort() };
  }
}

function words(status: number): string {
  if (status === 407) return "it wants a user name and password (407)";
  return status === 403 || status === 405 ? `its rules do not allow it (${status})` : `status ${status}`;
}
