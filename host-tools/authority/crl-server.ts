/**
 * Serves revocation lists over HTTP (RFC 2585 section 3), and answers of OCSP where there is a responder (RFC 6960 appendix A). Both are
 * public and signed: the server has neither TLS nor logins, and nothing else to give. Bounded against who asks too much or too slowly.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";

/** A list as it is served. */
export interface ServableCrl {
  /** DER. */
  readonly der: Uint8Array;
  /** With its quotes (RFC 9110 section 8.8.3). */
  readonly etag: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

export interface CrlServer {
  readonly port: number;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 4096;
const MAX_REQUESTS_A_CONNECTION = 100;
/** For a request, for a pause between two, and for a client that does not read. */
const TIMEOUT_MS = 5000;
/** `/ocsp`, or `/ocsp/` and a question in base64, below whatever path a proxy puts before it. */
const OCSP_PATH = /\/ocsp(?:\/(?<question>[^?]*))?$/;
const MAX_QUESTION_BYTES = 4096;
/** A revocation should not wait in caches. */
const CACHE_SECONDS = 60;

/**
 * @param port 0 lets the system choose
 * @param lists by path; asked for each request
 * @param ocsp gives the response to a question, DER; without it, no path leads to OCSP
 * @param timeoutMs how long a connection may be silent, and a request take
 * @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`
 */
export async function startCrlServer(
  port: number,
  host: string,
  lists: () => ReadonlyMap<string, ServableCrl>,
  ocsp?: (question: Uint8Array) => Promise<Uint8Array>,
  timeoutMs = TIMEOUT_MS,
): Promise<CrlServer> {
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    requestTimeout: timeoutMs,
    headersTimeout: timeoutMs,
    keepAliveTimeout: timeoutMs,
    connectionsCheckingInterval: timeoutMs,
  };
  const server = createServer(limits, (request, response) => {
    if (ocsp !== undefined && OCSP_PATH.test(request.url ?? "")) void answerOcsp(request, response, ocsp);
    else answer(request, response, lists());
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = MAX_REQUESTS_A_CONNECTION;
  server.setTimeout(timeoutMs);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const isTaken = errnoCode(error) === "EADDRINUSE";
      const what = isTaken ? `port ${port} of ${host} is in use` : `cannot listen on ${host}:${port}: ${error.message}`;
      reject(new HawserError(isTaken ? "PORT_IN_USE" : "LISTEN_FAILED", what, "Choose another port or address for the revocation lists."));
    });
    server.listen(port, host, resolve);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port: (server.address() as AddressInfo).port, close };
}

function answer(request: IncomingMessage, response: ServerResponse, lists: ReadonlyMap<string, ServableCrl>): void {
  const plain = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): void => {
    response.writeHead(status, { "content-type": "text/plain", "content-length": text.length, ...headers });
    response.end(request.method === "HEAD" ? undefined : text);
  };
  // A body is not read: the connection ends with the answer.
  if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined)
    response.setHeader("connection", "close");
  response.setHeader("x-content-type-options", "nosniff");
  if (request.method !== "GET" && request.method !== "HEAD") return plain(405, "Use GET.\n", { allow: "GET, HEAD" });
  const [path = ""] = (request.url ?? "").split("?", 1);
  // Below whatever path a proxy puts before it.
  const list = lists.get(path.slice(path.lastIndexOf("/")));
  if (list === undefined) return plain(404, "No revocation list has this path.\n");
  const { der, etag, thisUpdateMs, nextUpdateMs } = list;
  const leftSeconds = Math.floor((nextUpdateMs - Date.now()) / 1000);
  const headers = {
    etag,
    "last-modified": new Date(thisUpdateMs).toUTCString(),
    "cache-control": `public, max-age=${Math.max(0, Math.min(CACHE_SECONDS, leftSeconds))}`,
  };
  if (isKnown(request.headers["if-none-match"], etag)) {
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, { ...headers, "content-type": "application/pkix-crl", "content-length": der.length });
  response.end(request.method === "HEAD" ? undefined : der);
}

/** RFC 6960 appendix A.1: a question comes in a POST, or in the path of a GET. */
async function answerOcsp(
  request: IncomingMessage,
  response: ServerResponse,
  ocsp: (question: Uint8Array) => Promise<Uint8Array>,
): Promise<void> {
  response.setHeader("x-content-type-options", "nosniff");
  const isPost = request.method === "POST";
  const question = isPost ? await bodyOf(request) : request.method === "GET" ? questionIn(request.url ?? "") : undefined;
  if (question === undefined) {
    const text = isPost ? "The question is too large.\n" : "Use POST or GET.\n";
    response.writeHead(isPost ? 413 : 405, { "content-type": "text/plain", allow: "GET, POST", connection: "close" });
    response.end(text);
    return;
  }
  const der = await ocsp(question);
  // Answers to a POST are not cached: there may be a nonce in them.
  const cache = isPost ? "no-store" : `public, max-age=${CACHE_SECONDS}`;
  response.writeHead(200, { "content-type": "application/ocsp-response", "content-length": der.length, "cache-control": cache });
  response.end(der);
}

/** Undefined when it is too large; what was cut off is not a question, and is answered as such. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > MAX_QUESTION_BYTES) return undefined;
      chunks.push(chunk);
    }
  } catch {
    // The client went away.
  }
  return Buffer.concat(chunks);
}

function questionIn(url: string): Uint8Array {
  try {
    return Buffer.from(decodeURIComponent(OCSP_PATH.exec(url)?.groups?.["question"] ?? ""), "base64");
  } catch {
    return new Uint8Array();
  }
}

/** RFC 9110 section 13.1.2: compared weakly. */
function isKnown(header: string | undefined, etag: string): boolean {
  return (header ?? "").split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}
