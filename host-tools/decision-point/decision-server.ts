/** The decision point: a policy engine behind HTTP. Down, slow or confused means deny, because every broker denies without an answer. */
import { timingSafeEqual, createHash } from "node:crypto";
import { createServer as createPlainServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { HawserError } from "../../sdk/errors.js";
import type { PolicyEngine } from "../policy/policy-engine.js";
import { answer } from "./dialects.js";
import type { Answer } from "./dialects.js";
import { keysText } from "./served-keys.js";

export interface DecisionServerOptions {
  /** Port to listen on; 0 lets the system choose. */
  readonly port: number;
  /** Address; loopback unless there are TLS and a secret. */
  readonly host?: string;
  readonly tls?: { readonly certPem: string; readonly keyPem: string };
  /** What brokers send as `Authorization: Bearer SECRET`. */
  readonly secret?: string;
  /** How long a broker may keep an answer; 0 for not at all. */
  readonly cacheSeconds?: number;
  readonly now?: () => number;
  readonly onAnswer?: (path: string, answer: Answer) => void;
}

export interface DecisionServer {
  readonly port: number;
  close(): Promise<void>;
}

/** The largest question is a subscription to many filters. */
const MAX_BODY_BYTES = 256 * 1024;
const MIN_SECRET_LENGTH = 16;
const KEYS_PATH = "/jwks";

/**
 * Answers brokers over HTTP.
 * @param engine asked anew for each question, so that a changed policy counts at once
 * @throws HawserError `BAD_CONFIG` for an address beyond loopback without TLS and a secret, `PORT_IN_USE`, `LISTEN_FAILED`
 */
export async function startDecisionServer(engine: () => PolicyEngine, options: DecisionServerOptions): Promise<DecisionServer> {
  const { port, host = "127.0.0.1", tls, secret, cacheSeconds = 0, now = Date.now, onAnswer } = options;
  requireGuarded(host, options);
  const expected = secret === undefined ? undefined : digest(`Bearer ${secret}`);
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (expected !== undefined && !timingSafeEqual(expected, digest(request.headers.authorization ?? ""))) {
      reply(response, 401, "text/plain", "deny", 0);
      return;
    }
    const [path = "/", query] = (request.url ?? "/").split("?", 2);
    if (request.method === "GET" && path.startsWith(KEYS_PATH)) {
      const text = keysText(engine(), path.slice(KEYS_PATH.length));
      if (text === undefined) reply(response, 404, "text/plain", "deny", 0);
      else stream(response, "application/jwk-set+json", text, cacheSeconds);
      return;
    }
    readBody(request, response, (body) => {
      const hook = request.headers["vernemq-hook"];
      const question = {
        path,
        query: new URLSearchParams(query),
        contentType: request.headers["content-type"] ?? "",
        body,
        ...(typeof hook === "string" ? { hook } : {}),
      };
      const given = answer(engine(), question, now());
      if (given === undefined) reply(response, 404, "text/plain", "deny", 0);
      else reply(response, given.status, given.contentType, given.body, cacheSeconds);
      if (given !== undefined) onAnswer?.(path, given);
    });
  };
  const server =
    tls === undefined ? createPlainServer(handle) : createTlsServer({ cert: tls.certPem, key: tls.keyPem, minVersion: "TLSv1.2" }, handle);
  server.requestTimeout = 5000;
  server.keepAliveTimeout = 120_000;
  await listening(server, port, host);
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function requireGuarded(host: string, { tls, secret }: DecisionServerOptions): void {
  if (secret !== undefined && secret.length < MIN_SECRET_LENGTH)
    throw new HawserError(
      "BAD_CONFIG",
      `the shared secret is shorter than ${MIN_SECRET_LENGTH} characters`,
      "Generate one: openssl rand -hex 32",
    );
  const isLoopback = host === "localhost" || host === "::1" || /^127\./.test(host);
  if (isLoopback || (tls !== undefined && secret !== undefined)) return;
  throw new HawserError(
    "BAD_CONFIG",
    `a decision point on ${host} would answer the entire network without protection`,
    "Give a certificate, a key and a shared secret, or listen on 127.0.0.1.",
  );
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function stream(response: ServerResponse, contentType: string, text: Iterable<string> | AsyncIterable<string>, cacheSeconds: number): void {
  response.writeHead(200, { "content-type": contentType, "cache-control": cacheHeader(cacheSeconds) });
  // Whoever asked may hang up.
  pipeline(Readable.from(text), response).catch(() => response.destroy());
}

function cacheHeader(cacheSeconds: number): string {
  return cacheSeconds > 0 ? `max-age=${cacheSeconds}` : "no-store";
}

function reply(response: ServerResponse, status: number, contentType: string, body: string, cacheSeconds: number): void {
  // VerneMQ reads this header; others have a setting of their own.
  response.sendDate = false;
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "cache-control": cacheHeader(cacheSeconds),
  });
  response.end(body);
}

function readBody(request: IncomingMessage, response: ServerResponse, then: (body: string) => void): void {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  request.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) {
      reply(response, 413, "text/plain", "deny", 0);
      request.destroy();
      return;
    }
    chunks.push(chunk);
  });
  request.on("end", () => {
    if (sizeBytes > MAX_BODY_BYTES) return;
    try {
      // One chunk nearly always.
      const [first] = chunks;
      then((first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)).toString("utf8"));
    } catch {
      if (!response.headersSent) reply(response, 500, "text/plain", "deny", 0);
    }
  });
  request.on("error", () => undefined);
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const isTaken = error.code === "EADDRINUSE";
      reject(
        new HawserError(
          isTaken ? "PORT_IN_USE" : "LISTEN_FAILED",
          `the decision point cannot listen on ${host}:${port}: ${error.message}`,
          isTaken ? "Stop the other program, or choose another port." : "Check the address.",
        ),
      );
    });
    server.listen({ host, port }, resolve);
  });
}
