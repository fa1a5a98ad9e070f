/** EST over HTTPS (RFC 7030, with RFC 8951): one request a connection, bounded in time and bytes, to a server that has proved itself. */
import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { isIP } from "node:net";
import type { DetailedPeerCertificate, PeerCertificate, SecureContext } from "node:tls";
import { HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { errnoCode } from "../files/atomic-file.js";
import { hostPort } from "../host-port.js";
import type { LinkKeys } from "../node-key-store.js";
import { judgeServer, type ServerVerdict } from "../server-judgement.js";
import { CertificateContexts } from "../tls-credentials.js";
import { linkFailure, refusedServer } from "../tls-failure.js";
import { readCertsOnly } from "./certs-only.js";
import { badAnswer, EstRefusal } from "./est-errors.js";

/** User name and password for HTTP basic authentication (RFC 7617). */
export interface EstLogin {
  username: string;
  password: string;
}

export interface EstServer {
  /** `https://HOST` or `https://HOST:PORT`; the requests go below `/.well-known/est`. */
  url: string;
  /** The CAs, DER, by which the server's certificate is judged. */
  trustAnchors: readonly Uint8Array[];
  /** Names one of several CAs behind the server (RFC 7030 section 3.2.2): letters, digits, `.`, `_`, `~` and `-`. */
  label?: string;
  /** Asked before each request for a certificate; undefined where there is nothing to sign in with, or a one-time password is used up. */
  login?: () => EstLogin | undefined;
}

/** What the device shows of itself in TLS. */
export interface EstHolder {
  keySlot: string;
  /** DER, leaf first. */
  chain: readonly Uint8Array[];
}

/** The largest answer, bytes: sixteen certificates of any device, in base64. */
const MOST_BYTES = 65_536;
/** What a server may ask to wait, seconds. */
const LONGEST_WAIT_SECONDS = 86_400;
/** How much of a refusal's own words is shown. */
const SHOWN_CHARACTERS = 120;

interface Sent {
  method: "GET" | "POST";
  operation: string;
  body?: string;
  login?: EstLogin | undefined;
  holder?: EstHolder | undefined;
}

interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export class EstClient {
  readonly #server: EstServer;
  readonly #host: string;
  readonly #port: number;
  readonly #base: string;
  readonly #contexts = new CertificateContexts({ minVersion: "TLSv1.2", maxVersion: "TLSv1.3" });

  /**
   * @param keys behind the slots of holders
   * @throws HawserError `BAD_URL`, `BAD_OPTION`
   */
  constructor(
    server: EstServer,
    private readonly keys: Pick<LinkKeys, "signingKey">,
  ) {
    const { host, port } = parseEstUrl(server.url);
    if (server.label !== undefined && !/^[\w.~-]{1,100}$/.test(server.label))
      throw new HawserError("BAD_OPTION", `the label ${JSON.stringify(server.label)} does not fit into a path`, "Use letters and digits.");
    if (server.trustAnchors.length === 0)
      throw new HawserError("BAD_OPTION", "trustAnchors is empty", "Give the CA by which the EST server is judged.");
    this.#server = server;
    [this.#host, this.#port] = [host, port];
    this.#base = `/.well-known/est${server.label === undefined ? "" : `/${server.label}`}`;
  }

  /**
   * The CA's certificates (section 4.1).
   * @param untilMs when to give up, by `performance.now()`
   * @throws HawserError as {@link enrol}
   */
  async caCertificates(untilMs: number): Promise<Uint8Array[]> {
    return certificatesOf(await this.#send({ method: "GET", operation: "cacerts" }, untilMs), false);
  }

  /**
   * Has a certificate issued (section 4.2): by `simplereenroll`, shown the certificate of `holder`, else by `simpleenroll`.
   * @param csr PKCS#10, DER
   * @throws HawserError `EST_PENDING`, `EST_REFUSED`, `EST_LOGIN_REFUSED`, `EST_ANSWER_INVALID`, `EST_TIMEOUT`; the codes of failed
   *   connections
   */
  async enrol(csr: Uint8Array, holder: EstHolder | undefined, untilMs: number): Promise<Uint8Array[]> {
    const operation = holder === undefined ? "simpleenroll" : "simplereenroll";
    const login = this.#server.login?.();
    const body = Buffer.from(csr).toString("base64").replace(/.{64}/g, "$&\r\n");
    return certificatesOf(await this.#send({ method: "POST", operation, body, login, holder }, untilMs), login !== undefined);
  }

  get #address(): string {
    return hostPort({ host: this.#host, port: this.#port });
  }

  #send(sent: Sent, untilMs: number): Promise<Answer> {
    const { method, operation, body, login, holder } = sent;
    const secureContext = this.#context(holder);
    return new Promise((resolve, reject) => {
      let wrong: ServerVerdict | undefined;
      let isProved = false;
      const options: RequestOptions & { secureContext: SecureContext } = {
        host: this.#host,
        port: this.#port,
        method,
        path: `${this.#base}/${operation}`,
        headers: {
          accept: "application/pkcs7-mime",
          // Written whole, and only to a server that has proved itself: Node sends nothing before the handshake is done.
          ...(login === undefined
            ? {}
            : { authorization: `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}` }),
          ...(body === undefined ? {} : { "content-type": "application/pkcs10", "content-transfer-encoding": "base64" }),
          "content-length": Buffer.byteLength(body ?? ""),
        },
        // A connection of its own, so that no other request's certificate speaks for this one.
        agent: false,
        secureContext,
        // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes nothing.
        rejectUnauthorized: true,
        // An address is no server name (RFC 6066 section 3).
        servername: isIP(this.#host) === 0 ? this.#host : "",
        checkServerIdentity: (_host: string, shown: PeerCertificate) => {
          wrong = this.#judge(shown as DetailedPeerCertificate);
          isProved = wrong === undefined;
          return wrong && new Error(wrong.words);
        },
      };
      const request = httpsRequest(options);
      const timer = setTimeout(
        () =>
          fail(
            new HawserError(
              "EST_TIMEOUT",
              `the EST server ${this.#address} took too long to answer ${operation}`,
              "Check it and the way to it.",
            ),
          ),
        Math.max(0, untilMs - performance.now()),
      );
      const fail = (error: unknown): void => {
        clearTimeout(timer);
        reject(error instanceof HawserError ? error : this.#explained(error, holder, wrong, isProved));
        request.destroy();
      };
      request.on("error", fail);
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let sizeBytes = 0;
        response.on("error", fail);
        response.on("data", (chunk: Buffer) => {
          sizeBytes += chunk.length;
          if (sizeBytes > MOST_BYTES) fail(badAnswer(`has more than ${MOST_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on("end", () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
        });
      });
      request.end(body);
    });
  }

  #context(holder: EstHolder | undefined): SecureContext {
    const { trustAnchors } = this.#server;
    if (holder === undefined) return this.#contexts.get({ kind: "server-auth", trustAnchors }, undefined);
    const { keySlot: slot, chain } = holder;
    return this.#contexts.get({ kind: "mtls", slot, chain, trustAnchors }, this.keys.signingKey(slot));
  }

  #judge(shown: DetailedPeerCertificate): ServerVerdict | undefined {
    const anchors = this.#server.trustAnchors.map((der) => new X509Certificate(der));
    return judgeServer(shown, this.#host, anchors);
  }

  #explained(error: unknown, holder: EstHolder | undefined, wrong: ServerVerdict | undefined, isProved: boolean): HawserError {
    if (errnoCode(error).startsWith("HPE_")) return badAnswer("is not HTTP", error);
    const shown = holder === undefined ? "no-certificate" : "certificate";
    const { code, message } =
      wrong === undefined
        ? linkFailure(error, { address: this.#address, shown, opened: isProved, isServerProved: isProved })
        : refusedServer(error, wrong, this.#address);
    return new HawserError(code, `EST: ${message}`, "Check the EST server's URL, its certificate, and the trust anchors given for it.");
  }
}

/** @throws HawserError `BAD_URL`; the message never shows what stands before the host, which may be a password */
export function parseEstUrl(text: string): { host: string; port: number } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw badUrl("this is not a URL");
  }
  if (url.protocol !== "https:") throw badUrl(`the scheme ${url.protocol}// is not supported`);
  if (url.username !== "" || url.password !== "") throw badUrl("a password does not belong in a URL: use `login`");
  if (!/^\/?$/.test(url.pathname) || url.search !== "" || url.hash !== "") throw badUrl("the path is always /.well-known/est");
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port === "" ? 443 : Number(url.port) };
}

function badUrl(what: string): HawserError {
  return new HawserError(
    "BAD_URL",
    `cannot use the EST server's URL: ${what}`,
    "Give https://HOST or https://HOST:PORT, and `label` beside it.",
  );
}

/** @throws HawserError for every answer that has no certificates */
function certificatesOf(answer: Answer, wasLoginSent: boolean): Uint8Array[] {
  const { status, headers, body } = answer;
  if (status === 200) {
    const type = headers["content-type"] ?? "";
    if (!/^application\/pkcs7-mime\s*(;|$)/i.test(type)) throw badAnswer(`is of the type ${printable(type) || "none"}`);
    const text = body.toString("latin1").replace(/[\t\r\n ]+/g, "");
    if (text === "" || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw badAnswer("is not base64");
    return readCertsOnly(new Uint8Array(Buffer.from(text, "base64")));
  }
  const retryAfterSeconds = waitOf(headers["retry-after"]);
  if (status === 202)
    throw new EstRefusal(
      "EST_PENDING",
      "the EST server has taken the request and not decided about it yet",
      "Approve the request at the server where it waits for that; it is asked again.",
      retryAfterSeconds,
    );
  if (status === 401) {
    throw new HawserError(
      "EST_LOGIN_REFUSED",
      wasLoginSent ? "the EST server refuses the user name or password" : "the EST server wants a user name and password",
      "A one-time password serves once: get another. Give it with `login`, or --password-file.",
    );
  }
  if (status >= 300 && status < 400) {
    throw new EstRefusal(
      "EST_REFUSED",
      `the EST server redirects to another place (HTTP ${status}), which is not followed`,
      "Find out who redirects. If it is right, give the other URL and its CA.",
      undefined,
    );
  }
  const said = /^text\/plain\b/i.test(headers["content-type"] ?? "") ? printable(body.toString("latin1")) : "";
  throw new EstRefusal(
    "EST_REFUSED",
    `the EST server refuses the request (HTTP ${status})${said === "" ? "" : `: ${said}`}`,
    status === 404 ? "Check the URL and the label." : "Read the EST server's log.",
    retryAfterSeconds,
  );
}

/** Seconds of a Retry-After (RFC 9110 section 10.2.3), which may be a date. */
function waitOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const seconds = /^\d{1,9}$/.test(header) ? Number(header) : Math.ceil((Date.parse(header) - Date.now()) / 1_000);
  return Number.isFinite(seconds) ? Math.min(LONGEST_WAIT_SECONDS, Math.max(0, seconds)) : undefined;
}

/** What a stranger says, fit for a log line. */
function printable(text: string): string {
  return text
    .replace(/[^!-~]+/g, " ")
    .trim()
    .slice(0, SHOWN_CHARACTERS);
}

/** Whether its certificate still serves to sign in with. */
export function isCurrent({ chain }: EstHolder, nowMs = Date.now()): boolean {
  const leaf = chain[0];
  return leaf !== undefined && readCertificate(leaf).notAfterMs > nowMs;
}
