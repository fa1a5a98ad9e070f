/** The central authority as a station sees it: it asks over HTTPS with the station's certificate. No key of a CA is on this machine. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { join } from "node:path";
import type { ErrorCode } from "../../../sdk/error-codes.js";
import { HawserError } from "../../../sdk/errors.js";
import type { BoardIssuer } from "../factory/board-issuer.js";
import { badAnswer, fields, ISSUE_PATH, MAX_MESSAGE_BYTES, readIssued, REGISTERED_PATH, writeIssueQuestion } from "./authority-messages.js";

export interface StationCredentials {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly trustAnchorPem: string;
}

export interface RemoteIssuer extends BoardIssuer {
  close(): void;
}

const ANSWER_MS = 20_000;

/**
 * The files of `hawser issue`.
 *
 * @param readSecret reads the key, and refuses a file that all users may read
 * @throws HawserError and the system's errors
 */
export function readStationCredentials(directory: string, readSecret: (path: string) => Buffer): StationCredentials {
  const text = (name: string): string => readFileSync(join(directory, name), "utf8");
  return {
    certificatePem: text("client.crt.pem"),
    keyPem: readSecret(join(directory, "client.key.pem")).toString("utf8"),
    trustAnchorPem: text("ca.crt.pem"),
  };
}

/**
 * @param url `https://HOST:PORT`; the authority must prove that it is this host by the CA's root
 * @throws HawserError `BAD_URL`
 */
export function remoteIssuer(url: string, { certificatePem, keyPem, trustAnchorPem }: StationCredentials): RemoteIssuer {
  if (!/^https:\/\/[^\s/]+\/?$/.test(url) || !URL.canParse(url))
    throw new HawserError("BAD_URL", `invalid URL ${JSON.stringify(url)}`, "Use https://HOST:PORT.");
  const agent = new Agent({ keepAlive: true, cert: certificatePem, key: keyPem, ca: trustAnchorPem, minVersion: "TLSv1.3" });
  let caEndsMs: number | undefined;
  const ask = async (path: string, question: object): Promise<string> => {
    const { status, text } = await post(new URL(path, url), agent, JSON.stringify(question));
    const answer = fields(text, badAnswer);
    if (status !== 200) throw refusal(answer);
    if (typeof answer["caEndsMs"] === "number") caEndsMs = answer["caEndsMs"];
    return text;
  };
  return {
    issue: async (board, csr, publicKeyHash) => readIssued(await ask(ISSUE_PATH, writeIssueQuestion(board, csr)), board, publicKeyHash),
    isRegistered: async (id, serial) => fields(await ask(REGISTERED_PATH, { id, serial }), badAnswer)["isRegistered"] === true,
    endsMs: () => caEndsMs,
    close: () => agent.destroy(),
  };
}

function refusal({ code, message, next }: Readonly<Record<string, unknown>>): HawserError {
  if (typeof code !== "string" || typeof message !== "string" || typeof next !== "string") return badAnswer();
  // It decides only what the operator reads, and whether the station tries again.
  return new HawserError(code as ErrorCode, message, next);
}

function post(url: URL, agent: Agent, body: string): Promise<{ status: number | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(unreachable(url.host, error.message));
    const sent = request(
      url,
      { method: "POST", agent, timeout: ANSWER_MS, headers: { "content-type": "application/json" } },
      (response) => {
        const parts: Buffer[] = [];
        let sizeBytes = 0;
        response.on("data", (part: Buffer) => {
          sizeBytes += part.length;
          if (sizeBytes > MAX_MESSAGE_BYTES) sent.destroy(badAnswer());
          else parts.push(part);
        });
        response.on("end", () => resolve({ status: response.statusCode, text: Buffer.concat(parts).toString("utf8") }));
        response.on("error", fail);
      },
    );
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${ANSWER_MS / 1_000} s`)));
    sent.on("error", fail);
    sent.end(body);
  });
}

function unreachable(host: string, why: string): HawserError {
  return new HawserError(
    "AUTHORITY_UNREACHABLE",
    `the authority at ${host} cannot be reached: ${why}`,
    "Check the network to it; boards can be plugged in again then.",
  );
}
