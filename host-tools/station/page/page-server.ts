/**
 * The station's page: what the heads show, live, and a field for the scanner. It only looks on; everything continues without it. On
 * loopback it is open to whoever is at this machine; beyond, only to holders of the token. Commands need the page's own secret, so that no
 * other site's page can give them.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { errnoCode } from "../../../sim/node/files/atomic-file.js";
import type { FactoryStation } from "../factory/factory-station.js";
import { MAX_SCAN_CHARACTERS } from "../factory/scans.js";
import { EventLog } from "./event-log.js";
import { pageHtml } from "./page-html.js";
import { PAGE_SCRIPT } from "./page-script.js";
import { PAGE_STYLE } from "./page-style.js";
import type { PageTexts } from "./page-texts.js";

export interface PageOptions {
  readonly station: FactoryStation;
  /** Default loopback. Any other address needs a token. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** At least 16 characters. */
  readonly token?: string;
  readonly texts: PageTexts;
}

export interface RunningPage {
  readonly url: string;
  close(): Promise<void>;
}

/** A page that hears nothing for four seconds says so. */
const HEARTBEAT_MS = 1_000;
const MAX_BODY_BYTES = 4 * MAX_SCAN_CHARACTERS;
const MIN_TOKEN_CHARACTERS = 16;
const COOKIE = "hawser_station";
const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

/** @throws HawserError `USAGE` without a token beyond loopback, `PORT_IN_USE`, `LISTEN_FAILED` */
export async function startPage({ station, host = "127.0.0.1", port, token, texts }: PageOptions): Promise<RunningPage> {
  const isLoopback = LOOPBACK.has(host);
  if (!isLoopback && (token === undefined || token.length < MIN_TOKEN_CHARACTERS)) {
    throw new HawserError(
      "USAGE",
      `the page at ${host} needs a token of at least ${MIN_TOKEN_CHARACTERS} characters`,
      "Put one into a file and name it with --page-token-file, or stay on 127.0.0.1.",
    );
  }
  const page = new StationPage(station, texts, token, isLoopback);
  const server = createServer((request, response) => page.answer(request, response));
  await listen(server, port, host);
  const actual = (server.address() as AddressInfo).port;
  const shown = host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${shown}:${actual}/`,
    close: () => {
      page.close();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

class StationPage {
  readonly #csrf = randomBytes(24).toString("base64url");
  readonly #log: EventLog;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #stopListening: () => void;

  constructor(
    private readonly station: FactoryStation,
    private readonly texts: PageTexts,
    private readonly token: string | undefined,
    private readonly isLoopback: boolean,
  ) {
    this.#log = new EventLog(() => station.view());
    this.#stopListening = station.onEvent((event) => this.#log.add(event));
    this.#heartbeat = setInterval(() => this.#log.beat(), HEARTBEAT_MS).unref();
  }

  close(): void {
    clearInterval(this.#heartbeat);
    this.#stopListening();
    this.#log.close();
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://station");
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    // Another name for this address is how a foreign site would get at a page on loopback (DNS rebinding).
    if (this.isLoopback && !LOOPBACK.has(hostName(request.headers.host))) return end(response, 421, "Open the page by its address.");
    if (this.token !== undefined && !this.#isKnown(request, url, response)) return;
    const route = `${request.method ?? ""} ${url.pathname}`;
    if (route === "GET /") return end(response, 200, pageHtml(this.texts, this.#csrf), "text/html; charset=utf-8");
    if (route === "GET /station.js") return end(response, 200, PAGE_SCRIPT, "text/javascript; charset=utf-8");
    if (route === "GET /station.css") return end(response, 200, PAGE_STYLE, "text/css; charset=utf-8");
    if (route === "GET /events") return this.#log.stream(response, request.headers["last-event-id"]);
    if (route === "POST /scan") return void this.#scan(request, response);
    end(response, 404, "There is no such page.");
  }

  /** By the cookie, or by the link with the token, which becomes a cookie. */
  #isKnown(request: IncomingMessage, url: URL, response: ServerResponse): boolean {
    const wanted = this.token ?? "";
    const cookie = new RegExp(`(?:^|; )${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? "")?.[1];
    const proof = createHash("sha256").update(wanted).digest("base64url");
    if (cookie !== undefined && isSame(cookie, proof)) return true;
    if (isSame(url.searchParams.get("token") ?? "", wanted)) {
      response.setHeader("set-cookie", `${COOKIE}=${proof}; HttpOnly; SameSite=Strict; Path=/`);
      response.setHeader("location", "/");
      end(response, 303, "");
      return false;
    }
    end(response, 401, "Open the page by the link with its token.");
    return false;
  }

  async #scan(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isSame(String(request.headers["x-hawser-csrf"] ?? ""), this.#csrf)) return end(response, 403, "Reload the page.");
    try {
      const answer = await this.station.scan(await bodyOf(request));
      end(response, 200, JSON.stringify(answer), "application/json");
    } catch (error) {
      end(response, 400, errorMessage(error));
    }
  }
}

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const isTaken = errnoCode(error) === "EADDRINUSE";
      reject(
        new HawserError(
          isTaken ? "PORT_IN_USE" : "LISTEN_FAILED",
          `the page cannot listen on ${host}:${port}: ${error.message}`,
          "Choose another --page-port, or 0.",
        ),
      );
    });
    server.listen(port, host, () => resolve());
  });
}

function hostName(header: string | undefined): string {
  return (header ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

/** In the same time for every wrong answer. */
function isSame(given: string, wanted: string): boolean {
  const [a, b] = [given, wanted].map((text) => createHash("sha256").update(text).digest()) as [Buffer, Buffer];
  return wanted !== "" && timingSafeEqual(a, b);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new HawserError("BODY_TOO_LARGE", "the scan is too long", "Scan one code at a time.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function end(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.statusCode = status;
  response.setHeader("content-type", type);
  response.end(body);
}
