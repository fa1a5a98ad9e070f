/**
 * Ids from a manufacturing execution system (MES): one question over HTTP for each new board, by its MAC address. Asked again about the
 * same board it must give the same id. It decides nothing but the id, and an id that another board has is refused.
 */
import { X509Certificate } from "node:crypto";
import { request as requestPlain } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { errnoCode } from "../../../sim/node/files/atomic-file.js";
import type { IdSource } from "./id-source.js";

export interface MesOptions {
  /** `https://`, or `http://` to this machine. */
  readonly url: string;
  /** Sent as bearer token. */
  readonly token?: string;
  /** Trusted instead of the system's CA certificates, PEM. */
  readonly trustAnchorPem?: string;
  readonly order: string;
  readonly product: string;
  readonly role: string;
  /** Until the whole answer is there, milliseconds. Default 10 s. */
  readonly answerMs?: number;
}

const ANSWER_MS = 10_000;
const MOST_ANSWER_BYTES = 16 * 1024;
const LOOPBACK: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);
/** What a proxy or a busy server says; any of 5xx besides. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429]);
const GONE = 410;
/** How Node calls a certificate that does not prove the host. */
const UNTRUSTED = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_)/;

/** @throws HawserError `BAD_URL`, `BAD_CREDENTIALS_FILE`, `BAD_CERTIFICATE` */
export function idsByMes(options: MesOptions): IdSource {
  const url = mesUrl(options.url);
  checkCredentials(options);
  const { order, product, role } = options;
  const given = new Map<string, string>();
  return {
    async ask(mac, signal) {
      if (mac === undefined)
        throw new HawserError(
          "NO_MAC",
          "the MES knows boards by their MAC addresses, and this board does not report its own",
          "Set `about` in the firmware's board options, or take another id source.",
        );
      given.delete(mac);
      const { status, bytes } = await post(url, options, { mac, order, product, role }, signal);
      if (status === GONE)
        throw new HawserError("NO_IDS_LEFT", `the MES at ${url.host} has no id for this board`, "Check the order in the MES.");
      if (PASSING.has(status) || status >= 500) throw away(url, `it answered ${status}`);
      if (status !== 200 && status !== 201) throw refused(url, status);
      given.set(mac, readAnswer(url, bytes));
    },
    next(mac, isTaken) {
      const id = given.get(mac ?? "");
      given.delete(mac ?? "");
      // Also when the registry has just said that the id is another device's: asked again, the MES would give the same.
      if (id === undefined || isTaken(id))
        throw wrong(url, id === undefined ? "gave an id that another device has" : `gave ${id}, which another board or device has`);
      return { id };
    },
    planOf: () => undefined,
  };
}

function mesUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = url !== undefined && (url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.has(url.hostname)));
  if (!isSafe || url.username !== "" || url.password !== "")
    throw new HawserError(
      "BAD_URL",
      `invalid URL of the MES ${JSON.stringify(isSafe ? `${url.origin}${url.pathname}` : text)}`,
      "Use https://HOST/PATH; http only to localhost, and no user name in it: --ids-token-file has the token.",
    );
  return url;
}

/** Before the first board, not at it. */
function checkCredentials({ token, trustAnchorPem }: MesOptions): void {
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new HawserError(
      "BAD_CREDENTIALS_FILE",
      "the token for the MES is empty, or has characters that no token has",
      "Put it on the first line of the file.",
    );
  if (trustAnchorPem === undefined) return;
  try {
    new X509Certificate(trustAnchorPem);
  } catch {
    throw new HawserError(
      "BAD_CERTIFICATE",
      "the CA of the MES is not a certificate in PEM",
      "Name the file of its CA certificate with --ids-ca.",
    );
  }
}

function readAnswer(url: URL, bytes: Uint8Array): string {
  const id = idIn(Buffer.from(bytes).toString("utf8"));
  if (typeof id !== "string") throw wrong(url, 'gave no JSON object with "id"');
  try {
    return checkId(id);
  } catch (error) {
    if (errorCode(error) !== "INVALID_ID") throw error;
    throw wrong(url, `gave an id that is not one: ${errorMessage(error).slice(0, 200)}`);
  }
}

function idIn(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  } catch {
    return undefined;
  }
}

interface Answer {
  readonly status: number;
  readonly bytes: Uint8Array;
}

type Question = Readonly<Record<"mac" | "order" | "product" | "role", string>>;

function post(
  url: URL,
  { token, trustAnchorPem, answerMs = ANSWER_MS }: MesOptions,
  question: Question,
  stop: AbortSignal,
): Promise<Answer> {
  const late = AbortSignal.timeout(answerMs);
  const body = Buffer.from(JSON.stringify(question));
  const headers = {
    "content-type": "application/json",
    "content-length": body.length,
    accept: "application/json",
    "idempotency-key": `${question.mac}-${encodeURIComponent(question.order)}`,
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  const options = { method: "POST", headers, agent: false, signal: AbortSignal.any([late, stop]) } as const;
  return new Promise((resolve, reject) => {
    const sent =
      url.protocol === "https:"
        ? // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED cannot turn it off.
          requestTls(url, {
            ...options,
            rejectUnauthorized: true,
            minVersion: "TLSv1.2",
            ...(trustAnchorPem !== undefined && { ca: trustAnchorPem }),
          })
        : requestPlain(url, options);
    const fail = (error: Error): void => {
      if (error instanceof HawserError) return reject(error);
      if (stop.aborted)
        return reject(new HawserError("STOPPED", "the station was stopped", "Start it again: it continues where it stopped."));
      const code = errnoCode(error);
      // By its code: the text could have what the server wrote into its certificate.
      if (UNTRUSTED.test(code)) return reject(untrusted(url, code));
      reject(away(url, late.aborted ? `no answer within ${answerMs / 1_000} s` : error.message || code));
    };
    sent.once("response", (response) => void read(url, response).then(resolve, fail));
    sent.on("error", fail);
    sent.end(body);
  });
}

async function read(url: URL, response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MOST_ANSWER_BYTES) throw wrong(url, `answered with more than ${MOST_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) };
}

function away({ host }: URL, why: string): HawserError {
  return new HawserError(
    "ID_SOURCE_AWAY",
    `the MES at ${host} cannot give an id now: ${why}`,
    "Check the MES and the network to it, then plug the board in again.",
  );
}

function untrusted({ host }: URL, why: string): HawserError {
  return new HawserError(
    "ID_SOURCE_UNTRUSTED",
    `the server at ${host} does not prove that it is the MES: ${why}`,
    "Call the line's engineer: --ids-ca must name the CA of the MES, or somebody stands in between.",
  );
}

function refused({ host }: URL, status: number): HawserError {
  const isLogin = status === 401 || status === 403;
  return new HawserError(
    "ID_SOURCE_REFUSED",
    `the MES at ${host} refuses ${isLogin ? "the station's token" : "the question"}: it answered ${status}`,
    isLogin
      ? "Call the line's engineer: --ids-token-file must have a valid token."
      : "Call the line's engineer: check --ids-url and the order.",
  );
}

function wrong({ host }: URL, what: string): HawserError {
  return new HawserError(
    "ID_SOURCE_WRONG",
    `the MES at ${host} ${what}`,
    "Call the line's engineer: the MES must give each board its own id.",
  );
}
