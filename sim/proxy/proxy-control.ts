/** The HTTP control of fault proxies, in the shape of Toxiproxy's (docs/testing.md): for loopback, it asks nobody who they are. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { errorCode, errorMessage, HawserError } from "../../sdk/errors.js";
import { FaultProxy } from "./fault-proxy.js";
import { readToxic } from "./toxics.js";

const MOST_BODY_BYTES = 64 * 1024;

type Answer = readonly [status: number, body?: unknown];

export class ProxyControl {
  readonly #proxies = new Map<string, FaultProxy>();
  readonly #server: Server;

  constructor(
    private readonly seed: string,
    private readonly version: string,
  ) {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** @returns the port */
  async start(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) =>
        reject(
          new HawserError(
            error.code === "EADDRINUSE" ? "PORT_IN_USE" : "LISTEN_FAILED",
            `cannot listen on ${host}:${port}: ${error.message}`,
            "Choose another port.",
          ),
        ),
      );
      this.#server.listen(port, host, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async add(proxy: FaultProxy): Promise<void> {
    if (this.#proxies.has(proxy.name))
      throw new HawserError("PROXY_EXISTS", `there is a proxy ${proxy.name} already`, "Choose another name.");
    await proxy.start();
    this.#proxies.set(proxy.name, proxy);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(
        request.method ?? "GET",
        (request.url ?? "/").split("?")[0]?.split("/").filter(Boolean).map(decodeURIComponent) ?? [],
        request,
      );
    } catch (error) {
      const status =
        STATUS[errorCode(error)] ??
        (error instanceof URIError || error instanceof SyntaxError ? 400 : error instanceof HawserError ? 400 : 500);
      answer = [status, { error: errorMessage(error), title: errorCode(error), status }];
    }
    const [status, body] = answer;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(body === undefined ? "" : JSON.stringify(body));
  }

  async #answer(method: string, [root, name, part, toxicName, ...more]: readonly string[], request: IncomingMessage): Promise<Answer> {
    // A page in a browser can post to loopback; it cannot set this, and Toxiproxy's clients do not send it.
    if (request.headers.origin !== undefined) return [403, { error: "requests from web pages are refused", status: 403 }];
    if (more.length > 0) return NOT_FOUND;
    if (method === "GET" && root === "version") return [200, { version: this.version }];
    if (method === "POST" && root === "reset") {
      for (const proxy of this.#proxies.values()) {
        proxy.removeAll();
        await proxy.start();
      }
      return [204];
    }
    if (root !== "proxies") return NOT_FOUND;
    if (name === undefined)
      return method === "GET"
        ? [200, Object.fromEntries([...this.#proxies].map(([key, proxy]) => [key, shown(proxy)]))]
        : method === "POST"
          ? this.#create(await bodyOf(request))
          : [405];
    const proxy = this.#proxies.get(name);
    if (proxy === undefined) return NOT_FOUND;
    if (part === undefined) return this.#onProxy(method, proxy, request);
    if (part !== "toxics") return NOT_FOUND;
    return this.#onToxics(method, proxy, toxicName, request);
  }

  async #create(body: Record<string, unknown>): Promise<Answer> {
    const { name, listen, upstream, enabled = true, mqtt = false } = body;
    if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name))
      throw new HawserError("BAD_PROXY", "a proxy needs a name of letters, digits, _, . and -", "Give one.");
    const proxy = new FaultProxy({
      name,
      listen: addressOf(listen, 0),
      upstream: addressOf(upstream, 1),
      mqtt: mqtt === true,
      seed: this.seed,
    });
    await this.add(proxy);
    if (enabled === false) await proxy.stop();
    return [201, shown(proxy)];
  }

  async #onProxy(method: string, proxy: FaultProxy, request: IncomingMessage): Promise<Answer> {
    if (method === "GET") return [200, shown(proxy)];
    if (method === "DELETE") {
      await proxy.stop();
      this.#proxies.delete(proxy.name);
      return [204];
    }
    if (method !== "POST" && method !== "PATCH") return [405];
    const { enabled } = await bodyOf(request);
    if (enabled === false) await proxy.stop();
    if (enabled === true) await proxy.start();
    return [200, shown(proxy)];
  }

  async #onToxics(method: string, proxy: FaultProxy, name: string | undefined, request: IncomingMessage): Promise<Answer> {
    const found = proxy.toxics.find((toxic) => toxic.name === name);
    if (name === undefined) {
      if (method === "GET") return [200, proxy.toxics];
      if (method !== "POST") return [405];
      const toxic = readToxic(await bodyOf(request));
      proxy.add(toxic);
      return [200, toxic];
    }
    if (found === undefined) return NOT_FOUND;
    if (method === "GET") return [200, found];
    if (method === "DELETE") return proxy.remove(name) ? [204] : NOT_FOUND;
    if (method !== "POST" && method !== "PATCH") return [405];
    const { attributes = {}, toxicity = found.toxicity } = await bodyOf(request);
    const changed = readToxic({ ...found, toxicity, attributes: { ...found.attributes, ...(attributes as object) } });
    proxy.set(changed);
    return [200, changed];
  }
}

const NOT_FOUND: Answer = [404, { error: "not found", status: 404 }];
const STATUS: Readonly<Record<string, number>> = { PROXY_EXISTS: 409, TOXIC_EXISTS: 409, PORT_IN_USE: 409, BODY_TOO_LARGE: 413 };

function shown(proxy: FaultProxy): unknown {
  const { listen, upstream, mqtt } = proxy.options;
  return {
    name: proxy.name,
    listen: `${listen.host}:${proxy.port}`,
    upstream: `${upstream.host}:${upstream.port}`,
    enabled: proxy.enabled,
    mqtt: mqtt === true,
    connections: proxy.connectionCount,
    toxics: proxy.toxics,
  };
}

/** @throws HawserError `BAD_PROXY` */
export function addressOf(text: unknown, leastPort: 0 | 1): { host: string; port: number } {
  const match = typeof text === "string" ? /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*):(\d{1,5})$/.exec(text) : null;
  const port = Number(match?.[2]);
  if (match === null || !(port >= leastPort && port <= 65_535))
    throw new HawserError("BAD_PROXY", `${JSON.stringify(text) ?? "undefined"} is not HOST:PORT`, "Write e.g. localhost:1883.");
  return { host: match[1]?.replace(/^\[|\]$/g, "") || "127.0.0.1", port };
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MOST_BODY_BYTES) throw new HawserError("BODY_TOO_LARGE", `a body of more than ${MOST_BODY_BYTES} bytes`, "Send less.");
    chunks.push(chunk);
  }
  const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new HawserError("BAD_PROXY", "the body must be a JSON object", "Send one.");
  return value as Record<string, unknown>;
}
