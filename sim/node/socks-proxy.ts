/**
 * The way out of a network by SOCKS5 (RFC 1928), with user name and password where its URL has them (RFC 1929). The proxy resolves the
 * broker's name. It sees where a link goes, and what TLS leaves open; it can neither read nor change what is said.
 */
import { once } from "node:events";
import { connect, isIP, isIPv4, type Socket } from "node:net";
import { failure } from "../../sdk/failure.js";
import { ProxyFault, unreachable, type OutboundProxy, type ProxiedConnection, type ProxyLogin } from "./proxied-connection.js";

const USUAL_PORT = 1080;
const NO_LOGIN = 0;
const BY_PASSWORD = 2;
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;

/** What a proxy answers to CONNECT (RFC 1928, section 6). */
const REPLIES: Readonly<Record<number, string>> = {
  1: "it failed",
  2: "its rules do not allow it",
  3: "no way to that network",
  4: "no such name, or no way to that host",
  5: "nothing listens there",
  6: "the way is too long",
  7: "it makes no connections",
  8: "it does not take addresses of this kind",
};

export class SocksProxy implements OutboundProxy {
  readonly #host: string;
  readonly #port: number;
  readonly #login: ProxyLogin;

  constructor({ hostname, port }: URL, login: ProxyLogin) {
    this.#host = hostname.replace(/^\[|\]$/g, "");
    this.#port = port === "" ? USUAL_PORT : Number(port);
    this.#login = login;
  }

  open(target: string): ProxiedConnection {
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    return { socket: this.#through(socket, target), giveUp: () => void socket.destroy() };
  }

  get #authority(): string {
    return `${this.#host}:${this.#port}`;
  }

  async #through(socket: Socket, target: string): Promise<Socket> {
    try {
      await this.#event(socket, "connect");
      await this.#signIn(socket);
      await this.#ask(socket, target);
      return socket;
    } catch (error) {
      socket.on("error", () => undefined).destroy();
      if (error instanceof ProxyFault) throw error;
      throw new ProxyFault(unreachable(this.#authority, error instanceof Error ? error : new Error(String(error))));
    }
  }

  /** A proxy that wants no login is never told one. */
  async #signIn(socket: Socket): Promise<void> {
    const { user, password } = this.#login;
    const methods = user === "" ? [NO_LOGIN] : [NO_LOGIN, BY_PASSWORD];
    socket.write(Buffer.from([5, methods.length, ...methods]));
    const [version, method] = await this.#read(socket, 2);
    if (version !== 5) throw this.#refused(`${this.#authority} is not a SOCKS5 proxy`);
    if (method === NO_LOGIN) return;
    if (method !== BY_PASSWORD || user === "")
      throw this.#refused(`the proxy ${this.#authority} wants ${user === "" ? "a user name and password" : "another way to sign in"}`);
    socket.write(Buffer.concat([Buffer.from([1]), field(user), field(password)]));
    const [, status] = await this.#read(socket, 2);
    if (status !== 0) throw this.#refused(`the proxy ${this.#authority} refuses the user name and password`);
  }

  async #ask(socket: Socket, target: string): Promise<void> {
    const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(target) ?? [];
    const portBytes = Buffer.alloc(2);
    portBytes.writeUInt16BE(Number(port));
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), addressOf(host), portBytes]));
    const [version, reply = 1, , kind] = await this.#read(socket, 4);
    if (version !== 5) throw this.#refused(`${this.#authority} is not a SOCKS5 proxy`);
    if (reply !== 0)
      throw this.#refused(`the proxy ${this.#authority} does not connect to ${target}: ${REPLIES[reply] ?? `reply ${reply}`}`);
    // The address that the proxy speaks from, which nobody needs; what comes after it is the broker's.
    const length = kind === IPV4 ? 4 : kind === IPV6 ? 16 : ((await this.#read(socket, 1))[0] ?? 0);
    await this.#read(socket, length + 2);
  }

  async #read(socket: Socket, sizeBytes: number): Promise<Buffer> {
    for (;;) {
      const bytes = socket.read(sizeBytes) as Buffer | null;
      if (bytes?.length === sizeBytes) return bytes;
      if (bytes !== null || socket.readableEnded || socket.destroyed)
        throw this.#refused(`the proxy ${this.#authority} closed the connection`);
      await this.#event(socket, "readable");
    }
  }

  /** Waits for an event or the socket's end, and leaves no listener behind. */
  async #event(socket: Socket, name: string): Promise<void> {
    const wait = new AbortController();
    const { signal } = wait;
    try {
      await Promise.race([once(socket, name, { signal }), once(socket, "close", { signal })]);
    } finally {
      wait.abort();
    }
  }

  #refused(message: string): ProxyFault {
    return new ProxyFault(failure("CONNECTION_REFUSED", message));
  }
}

function addressOf(host: string): Buffer {
  if (isIP(host) === 0) return Buffer.concat([Buffer.from([NAME]), field(host)]);
  if (isIPv4(host)) return Buffer.from([IPV4, ...host.split(".").map(Number)]);
  return Buffer.concat([Buffer.from([IPV6]), ipv6Bytes(host)]);
}

/** Of an address that Node takes for one; a zone means nothing to another machine. */
function ipv6Bytes(host: string): Buffer {
  const groups = new URL(`http://[${host.replace(/%.*$/, "")}]`).hostname
    .slice(1, -1)
    .split("::")
    .map((part) => (part === "" ? [] : part.split(":")));
  const [head = [], tail = []] = groups;
  const whole = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => "0"), ...tail];
  const bytes = Buffer.alloc(16);
  whole.forEach((group, index) => bytes.writeUInt16BE(parseInt(group, 16), index * 2));
  return bytes;
}

/** A text with its length before it. */
function field(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
