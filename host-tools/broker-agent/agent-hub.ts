/** The authority's port for agents: hands each the newest bundle of its broker, and notes what it says. */
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename } from "node:path";
import type { TLSSocket } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import { MAX_QUESTION_BYTES, parsePoll, POLL_PATH } from "./agent-protocol.js";
import type { Poll } from "./agent-protocol.js";
import { bundleSequence, readBundle, readReport, SPOOL_FILES, writeReport } from "./agent-spool.js";
import { fingerprintOf } from "./bundle.js";

/** A broker on another machine. */
export interface AgentBroker {
  /** Of its spool, on this machine. */
  readonly directory: string;
  /** SHA-256 of its agent's certificate, hex. */
  readonly certificate: string;
}

export interface HubIdentity {
  readonly keyPem: string;
  readonly chainPem: string;
}

export type HubEvent =
  | { readonly event: "agent-connected"; readonly broker: string; readonly isServing: boolean; readonly applied: number }
  | { readonly event: "agent-updated"; readonly broker: string; readonly applied: number }
  | { readonly event: "agent-failed"; readonly broker: string; readonly why: string }
  | { readonly event: "agent-refused"; readonly address: string; readonly certificate: string };

export interface HubOptions {
  readonly host?: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly identity: HubIdentity;
  /** As they are now. */
  readonly brokers: () => readonly AgentBroker[];
  readonly onEvent: (event: HubEvent) => void;
}

/** A bundle that nobody announced is found then. */
const LOOK_MS = 500;
/** What an agent may be late by before it counts as away. */
const GRACE_MS = 5000;
/** The same while it brings a bundle that it has into its broker. */
const WORK_GRACE_MS = 30_000;
/** The same after its connection ended while it waited for an answer: it may be back at once. */
const RETURN_GRACE_MS = 1000;
const MAX_CONNECTIONS = 2000;
/** Strangers are told of this often. */
const REFUSALS_EACH_MS = 60_000;

export class AgentHub {
  readonly #server;
  readonly #options: HubOptions;
  readonly #waiting = new Set<() => void>();
  readonly #watchers = new Map<string, FSWatcher | undefined>();
  #lastRefusalMs = Number.NEGATIVE_INFINITY;

  private constructor(options: HubOptions) {
    this.#options = options;
    const { keyPem, chainPem } = options.identity;
    // Agents' certificates are pinned, not issued: what counts is looked at in #brokerOf.
    const tls = { key: keyPem, cert: chainPem, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" as const };
    this.#server = createServer(tls, (request, response) => void this.#serve(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.headersTimeout = 10_000;
    this.#server.requestTimeout = 20_000;
  }

  /** @throws the system's error when the port cannot be had */
  static async start(options: HubOptions): Promise<AgentHub> {
    const hub = new AgentHub(options);
    await new Promise<void>((resolve, reject) => {
      hub.#server.once("error", reject);
      hub.#server.listen(options.port, options.host, () => resolve());
    });
    return hub;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** A certificate that lives longer. */
  renew({ keyPem, chainPem }: HubIdentity): void {
    this.#server.setSecureContext({ key: keyPem, cert: chainPem, minVersion: "TLSv1.3" });
  }

  async close(): Promise<void> {
    for (const watcher of this.#watchers.values()) watcher?.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    for (const wake of [...this.#waiting]) wake();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const broker = this.#brokerOf(request.socket as TLSSocket);
      if (broker === undefined) return answer(response, 403, "this agent's certificate belongs to no broker here\n");
      if (request.method !== "POST" || request.url !== POLL_PATH) return answer(response, 404, "not found\n");
      const poll = parsePoll(await bodyOf(request));
      if (poll === undefined) return answer(response, 400, "not a question\n");
      this.#note(broker, poll);
      const bundle = await this.#newer(broker, poll, response);
      if (response.destroyed) return expectWithin(broker, RETURN_GRACE_MS);
      if (bundle === undefined) return answer(response, 204, "");
      // It says at once that it has it, unless it is cut off just now.
      expectWithin(broker, GRACE_MS);
      answer(response, 200, bundle);
    } catch {
      // Whoever sends too much, or is gone: the connection ends, and with it the matter.
      response.destroy();
    }
  }

  #brokerOf(socket: TLSSocket): AgentBroker | undefined {
    const shown = socket.getPeerX509Certificate()?.raw;
    const certificate = shown === undefined ? "" : fingerprintOf(shown);
    const broker = this.#options.brokers().find((known) => known.certificate === certificate);
    const nowMs = performance.now();
    if (broker === undefined && nowMs - this.#lastRefusalMs >= REFUSALS_EACH_MS) {
      this.#lastRefusalMs = nowMs;
      this.#options.onEvent({ event: "agent-refused", address: socket.remoteAddress ?? "", certificate });
    }
    return broker;
  }

  #note({ directory }: AgentBroker, poll: Poll): void {
    const before = readReport(directory);
    const { have, applied, isServing, aloneMs, failed, waitMs } = poll;
    const isWorking = have > applied && failed === undefined;
    const seenAtMs = Date.now();
    writeReport(directory, {
      seenAtMs,
      nextMs: seenAtMs + waitMs + (isWorking ? WORK_GRACE_MS : GRACE_MS),
      applied,
      isServing,
      ...(aloneMs === undefined ? {} : { aloneMs }),
      ...(failed === undefined ? {} : { failed }),
    });
    const broker = basename(directory);
    const { onEvent } = this.#options;
    if (before === undefined || before.nextMs < seenAtMs) onEvent({ event: "agent-connected", broker, isServing, applied });
    else if (before.applied < applied) onEvent({ event: "agent-updated", broker, applied });
    if (failed !== undefined && before?.failed?.sequence !== failed.sequence) onEvent({ event: "agent-failed", broker, why: failed.why });
  }

  /** Waits for a bundle that the agent does not have. */
  async #newer({ directory }: AgentBroker, { have, waitMs }: Poll, response: ServerResponse): Promise<string | undefined> {
    this.#watch(directory);
    const deadlineMs = performance.now() + waitMs;
    for (;;) {
      // Also an older one: a spool that was put back is for the agent to refuse, and to say so.
      const sequence = bundleSequence(directory);
      if (sequence > 0 && sequence !== have) return readBundle(directory);
      const restMs = deadlineMs - performance.now();
      if (restMs <= 0 || response.destroyed || !this.#server.listening) return undefined;
      await this.#change(Math.min(restMs, LOOK_MS), response);
    }
  }

  #change(limitMs: number, response: ServerResponse): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        response.off("close", wake);
        resolve();
      };
      const timer = setTimeout(wake, limitMs);
      this.#waiting.add(wake);
      response.once("close", wake);
    });
  }

  #watch(directory: string): void {
    if (this.#watchers.has(directory)) return;
    try {
      const watcher = watch(directory, (_event, file) => {
        if (file === SPOOL_FILES.bundle) for (const wake of [...this.#waiting]) wake();
      });
      watcher.on("error", () => watcher.close());
      this.#watchers.set(directory, watcher);
    } catch {
      // Looking now and then goes on.
      this.#watchers.set(directory, undefined);
    }
  }
}

/** Says until when an agent is to be heard of again. */
function expectWithin({ directory }: AgentBroker, durationMs: number): void {
  const report = readReport(directory);
  if (report !== undefined) writeReport(directory, { ...report, nextMs: Date.now() + durationMs });
}

function answer(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (part: string) => {
      text += part;
      if (text.length > MAX_QUESTION_BYTES) reject(new HawserError("BODY_TOO_LARGE", "the question is too long", "Send less."));
    });
    request.once("end", () => resolve(text));
    request.once("error", reject);
    request.once("close", () => reject(new Error("the agent is gone")));
  });
}
