/** Posts messages to a web address: signed, over verified TLS, to nowhere else, and without reading what is answered. */
import { createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { errnoCode } from "../../../sim/node/files/atomic-file.js";
import type { HookMessage, HookTarget, Outcome } from "./hook-queue.js";

export interface WebhookOptions {
  /** https, or http to this machine. Its path may be a secret: it is never told. */
  readonly url: URL;
  readonly timeoutMs: number;
  /** What bodies are signed with. */
  readonly secret?: Buffer | undefined;
  /** Trusted instead of the system's CA certificates, PEM. */
  readonly ca?: string | undefined;
  readonly userAgent: string;
}

/** A server that asks for more is asked again no later. */
const MAX_RETRY_AFTER_MS = 5 * 60_000;
const PASSING: ReadonlySet<number> = new Set([408, 425, 429]);

export class Webhook implements HookTarget {
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  send({ id, body }: HookMessage, stop: AbortSignal): Promise<Outcome> {
    const { url, timeoutMs, secret, ca, userAgent } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const bytes = Buffer.from(body, "utf8");
    const headers = {
      "content-type": "application/json",
      "content-length": bytes.length,
      "user-agent": userAgent,
      "hawser-delivery": id,
      ...(secret === undefined ? {} : { "hawser-signature": signature(secret, bytes, Math.floor(Date.now() / 1000)) }),
    };
    return new Promise((resolve) => {
      const options = { method: "POST", headers, agent: false, signal: AbortSignal.any([stop, timeout]) } as const;
      const request =
        url.protocol === "https:"
          ? // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED cannot turn it off.
            requestTls(url, { ...options, rejectUnauthorized: true, minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) })
          : requestPlain(url, options);
      request.once("response", (response) => {
        resolve(outcomeOf(response));
        response.on("error", () => undefined).destroy();
      });
      request.on("error", (error) => {
        // What the server sends behind its answer changes nothing: a promise settles once.
        resolve({ kind: "retry", reason: timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error) });
      });
      // Node reports an answer 101 neither as a response nor, without this listener, as an error.
      request.once("upgrade", (response, socket) => {
        resolve(outcomeOf(response));
        socket.destroy();
      });
      request.end(bytes);
    });
  }
}

/** `t=SECONDS,v1=HEX`: HMAC-SHA256 of the time, a full stop and the body. With the time in it, an old message cannot be sent again. */
export function signature(secret: Buffer, body: Buffer, seconds: number): string {
  return `t=${seconds},v1=${createHmac("sha256", secret).update(`${seconds}.`).update(body).digest("hex")}`;
}

function outcomeOf({ statusCode = 0, headers }: IncomingMessage): Outcome {
  if (statusCode >= 200 && statusCode < 300) return { kind: "done" };
  if (statusCode >= 300 && statusCode < 400) return { kind: "failed", reason: `it answered ${statusCode}: redirects are not followed` };
  const reason = `it answered ${statusCode}`;
  if (statusCode < 500 && !PASSING.has(statusCode)) return { kind: "failed", reason };
  const seconds = /^\d{1,6}$/.exec(headers["retry-after"] ?? "")?.[0];
  return { kind: "retry", reason, ...(seconds === undefined ? {} : { afterMs: Math.min(MAX_RETRY_AFTER_MS, Number(seconds) * 1000) }) };
}

/** Node's text of several failed attempts is empty. */
function reasonOf(error: Error): string {
  return error.message === "" ? errnoCode(error) : error.message;
}
