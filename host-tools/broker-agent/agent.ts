/**
 * A broker's agent: asks the authority for the newest configuration, has its mosquitto serve with that, and stops it where the authority
 * was silent for too long. It opens no port and takes no orders but signed ones.
 */
import { readFileSync } from "node:fs";
import { Agent as HttpsAgent, request } from "node:https";
import { join } from "node:path";
import type { PeerCertificate } from "node:tls";
import { errorCode, errorMessage, HawserError } from "../../sdk/errors.js";
import { writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { MOSQUITTO_FILES } from "../brokers/mosquitto/mosquitto-config.js";
import { AgentBroker } from "./agent-broker.js";
import { AGENT_FILES, readAgentIdentity } from "./agent-identity.js";
import type { AgentIdentity } from "./agent-identity.js";
import { HUB_HOST, MAX_BUNDLE_BYTES, POLL_PATH } from "./agent-protocol.js";
import type { Poll } from "./agent-protocol.js";
import { openBundle, rootsIn, sequenceOf } from "./bundle.js";
import type { BundleContent } from "./bundle.js";

export interface AgentOptions {
  /** Of its key, made by `makeAgentDirectory`. */
  readonly home: string;
  /** Of the broker's files. */
  readonly out: string;
  readonly authority: { readonly host: string; readonly port: number };
  /** How long the broker may serve without word from the authority; for ever when left out. */
  readonly aloneMs?: number;
  readonly mosquitto: string;
  readonly onEvent: (event: AgentEvent) => void;
}

export type AgentEvent =
  | { readonly event: "connected" }
  | { readonly event: "cut-off"; readonly code: string; readonly message: string }
  | { readonly event: "serving"; readonly sequence: number }
  | { readonly event: "shut"; readonly why: string }
  | { readonly event: "failed"; readonly code: string; readonly message: string }
  | { readonly event: "broker-ended"; readonly why: string };

const LONG_WAIT_MS = 10_000;
/** Beyond the wait that was asked for, an answer is late by then. */
const ANSWER_LIMIT_MS = 5000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
/** Without --alone, a start waits so long for the authority before it serves with what it has. */
const START_WAIT_MS = 10_000;
/** What cannot be brought into the broker is tried again then. */
const RETRY_MS = 2000;

export class BrokerAgent {
  readonly #options: AgentOptions;
  readonly #identity: AgentIdentity;
  readonly #broker: AgentBroker;
  readonly #https = new HttpsAgent({ keepAlive: true, maxSockets: 1 });
  #roots: string;
  #held: string | undefined;
  #applied = 0;
  #failed: Poll["failed"];
  #isConnected = false;
  #isCutOff = false;
  /** When a question was sent that the authority has answered: what it said held at least then. */
  #heardMs = Number.NEGATIVE_INFINITY;
  #working: Promise<void> = Promise.resolve();

  /** @throws HawserError `NOT_FOUND` */
  constructor(options: AgentOptions) {
    this.#options = options;
    this.#identity = readAgentIdentity(options.home);
    this.#roots = readFileSync(join(options.home, AGENT_FILES.roots), "utf8");
    this.#held = readText(join(options.home, AGENT_FILES.bundle));
    this.#broker = new AgentBroker(options.mosquitto, options.out, (why) => options.onEvent({ event: "broker-ended", why }));
  }

  /** Works until `stop` settles; then the broker has ended. */
  async run(stop: Promise<void>): Promise<void> {
    const startMs = performance.now();
    const ending = new AbortController();
    const { aloneMs } = this.#options;
    void stop.then(() => ending.abort());
    const lease = aloneMs === undefined ? undefined : setInterval(() => void this.#checkLease(aloneMs), Math.max(10, aloneMs / 10));
    let pauseMs = FIRST_PAUSE_MS;
    while (!ending.signal.aborted) {
      try {
        await this.#ask(ending.signal);
        pauseMs = FIRST_PAUSE_MS;
        if (this.#failed !== undefined) await pause(RETRY_MS, ending.signal);
      } catch (error) {
        if (ending.signal.aborted) break;
        this.#cutOff(error);
        const mayStart = aloneMs === undefined && performance.now() - startMs > START_WAIT_MS;
        if (mayStart && this.#applied === 0 && this.#failed === undefined) await this.#serveHeld();
        await pause(pauseMs * (0.5 + Math.random()), ending.signal);
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    }
    clearInterval(lease);
    this.#https.destroy();
    await this.#working;
    await this.#broker.stop();
  }

  /** One question and what follows from its answer. */
  async #ask(signal: AbortSignal): Promise<void> {
    const { aloneMs } = this.#options;
    const have = sequenceOf(this.#held);
    const isUpToDate = this.#applied === have && have > 0 && this.#broker.isRunning;
    const longMs = aloneMs === undefined ? LONG_WAIT_MS : Math.min(LONG_WAIT_MS, Math.floor(aloneMs / 4));
    // Back after a cut there may be news; nobody is served before that is known.
    const poll = this.#state(isUpToDate && this.#isConnected ? longMs : 0);
    const sentMs = performance.now();
    const bundle = await this.#post(poll, signal);
    if (!this.#isConnected) this.#options.onEvent({ event: "connected" });
    this.#isConnected = true;
    this.#isCutOff = false;
    if (bundle === undefined) {
      this.#heardMs = sentMs;
      if (isUpToDate) this.#failed = undefined;
      else await this.#serveHeld();
      return;
    }
    await this.#take(bundle, sentMs, signal);
  }

  #state(waitMs: number): Poll {
    const { aloneMs } = this.#options;
    return {
      have: sequenceOf(this.#held),
      waitMs,
      applied: this.#applied,
      isServing: this.#broker.isRunning,
      ...(aloneMs === undefined ? {} : { aloneMs }),
      ...(this.#failed === undefined ? {} : { failed: this.#failed }),
    };
  }

  async #take(text: string, sentMs: number, signal: AbortSignal): Promise<void> {
    const held = sequenceOf(this.#held);
    try {
      const content = openBundle(text, { agent: this.#identity.fingerprint, roots: this.#roots, newerThan: held });
      writeFileAtomic(join(this.#options.home, AGENT_FILES.bundle), text);
      this.#held = text;
      this.#trust(content);
      this.#heardMs = sentMs;
      this.#failed = undefined;
      // The authority counts on an agent that works longer than on one that is silent. If this is lost, it is told later.
      this.#post(this.#state(0), signal).catch(() => undefined);
      await this.#apply(content);
    } catch (error) {
      this.#fail(sequenceOf(text), error);
    }
  }

  /** During a rollover the CA has two roots: the next bundle may come from the new one. */
  #trust({ files }: BundleContent): void {
    const roots = rootsIn(files[MOSQUITTO_FILES.anchors] ?? "");
    if (roots === "" || roots === this.#roots) return;
    writeFileAtomic(join(this.#options.home, AGENT_FILES.roots), roots);
    this.#roots = roots;
  }

  /** Serves with the bundle that is here already. */
  async #serveHeld(): Promise<void> {
    const text = this.#held;
    if (text === undefined) return;
    try {
      // It was accepted when it came; it is proved again, because it lay on a disk.
      await this.#apply(openBundle(text, { agent: this.#identity.fingerprint, roots: this.#roots, newerThan: 0 }));
    } catch (error) {
      this.#fail(sequenceOf(text), error);
    }
  }

  async #apply(content: BundleContent): Promise<void> {
    const wasRunning = this.#broker.isRunning;
    const work = this.#working.then(() => this.#broker.serve(content));
    this.#working = work.catch(() => undefined);
    await work;
    this.#failed = undefined;
    if (wasRunning && this.#applied === content.sequence) return;
    this.#applied = content.sequence;
    this.#options.onEvent({ event: "serving", sequence: content.sequence });
  }

  #fail(sequence: number, error: unknown): void {
    const [code, message] = [errorCode(error), errorMessage(error)];
    if (this.#failed?.sequence !== sequence || this.#failed.why !== message) this.#options.onEvent({ event: "failed", code, message });
    this.#failed = { sequence, why: message };
  }

  #cutOff(error: unknown): void {
    if (!this.#isCutOff) this.#options.onEvent({ event: "cut-off", code: errorCode(error), message: errorMessage(error) });
    this.#isCutOff = true;
    this.#isConnected = false;
  }

  async #checkLease(aloneMs: number): Promise<void> {
    if (!this.#broker.isRunning || performance.now() - this.#heardMs <= aloneMs) return;
    const work = this.#working.then(() => this.#broker.stop());
    this.#working = work;
    await work;
    this.#options.onEvent({ event: "shut", why: `no word from the authority for ${aloneMs} ms` });
  }

  #post(poll: Poll, signal: AbortSignal): Promise<string | undefined> {
    const { authority } = this.#options;
    const body = JSON.stringify(poll);
    return new Promise((resolve, reject) => {
      const question = request({
        agent: this.#https,
        host: authority.host,
        port: authority.port,
        path: POLL_PATH,
        method: "POST",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        key: this.#identity.keyPem,
        cert: this.#identity.certificatePem,
        ca: this.#roots,
        servername: HUB_HOST,
        // Whatever its address is: what counts is that the CA made a certificate for this purpose.
        checkServerIdentity: (_host: string, { subjectaltname }: PeerCertificate) =>
          subjectaltname === `DNS:${HUB_HOST}` ? undefined : new Error("the other side is not the authority"),
        minVersion: "TLSv1.3",
        signal,
      });
      const late = setTimeout(
        () => question.destroy(new HawserError("REQUEST_TIMEOUT", "the authority does not answer", "Check the way to it.")),
        poll.waitMs + ANSWER_LIMIT_MS,
      );
      question.once("close", () => clearTimeout(late));
      question.once("error", reject);
      question.once("response", (response) => {
        const parts: Buffer[] = [];
        let sizeBytes = 0;
        response.on("data", (part: Buffer) => {
          sizeBytes += part.length;
          if (sizeBytes > MAX_BUNDLE_BYTES) question.destroy(new Error("the answer is too long"));
          else parts.push(part);
        });
        response.once("error", reject);
        response.once("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          if (response.statusCode === 200) resolve(text);
          else if (response.statusCode === 204) resolve(undefined);
          else reject(refusal(response.statusCode, text, this.#identity.fingerprint));
        });
      });
      question.end(body);
    });
  }
}

function refusal(status: number | undefined, text: string, fingerprint: string): HawserError {
  return new HawserError(
    "AGENT_REFUSED",
    `the authority refuses this agent (${status ?? "no status"}: ${text.trim().slice(0, 100)})`,
    `On the CA's machine: hawser broker config --agent ${fingerprint} ...`,
  );
}

function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal.addEventListener("abort", done, { once: true });
  });
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
