/**
 * A central authority for factory stations: the CA's key stays here, and stations ask for certificates over mutual TLS. A station is let in
 * by its certificate, which the registry must have as active, and by a batch that names it. It sees and replaces nothing but the boards
 * that it was given itself.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import { checkRequest } from "../../pki/certificate-request.js";
import { localIssuer } from "../factory/board-issuer.js";
import type { AuthorityBook } from "./authority-book.js";
import {
  ISSUE_PATH,
  MAX_MESSAGE_BYTES,
  readIssueQuestion,
  readRegisteredQuestion,
  REGISTERED_PATH,
  writeIssued,
} from "./authority-messages.js";

export type StationAuthorityEvent =
  | { readonly event: "issued"; readonly station: string; readonly id: string; readonly serial: string; readonly left: number }
  | { readonly event: "refused"; readonly station: string; readonly code: string; readonly reason: string };

export interface StationAuthorityOptions {
  readonly ca: CertificateAuthority;
  readonly book: AuthorityBook;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Roles that stations may give to boards. */
  readonly roles: readonly string[];
  readonly onEvent: (event: StationAuthorityEvent) => void;
}

export interface RunningStationAuthority {
  readonly port: number;
  close(): Promise<void>;
}

const REQUEST_MS = 10_000;
/** Nothing was issued for the id when one of these is thrown. */
const NOTHING_ISSUED: ReadonlySet<string> = new Set([
  "ID_EXISTS",
  "RESERVED_NAME",
  "INVALID_ID",
  "INVALID_ROLE",
  "BAD_REQUEST",
  "BAD_SIGNATURE",
  "WRONG_SUBJECT",
]);

/** @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`, and those of `brokerMaterial` */
export async function startStationAuthority(options: StationAuthorityOptions): Promise<RunningStationAuthority> {
  const { ca, host, port } = options;
  // The broker's certificate names this machine's hosts. Revocation is asked of the registry for each request.
  const tls = async (): Promise<{ cert: string; key: string; ca: string }> => {
    const { chainPem, keyPem, trustAnchorPem } = await ca.brokerMaterial();
    return { cert: chainPem, key: keyPem, ca: trustAnchorPem };
  };
  const server = createServer(
    { ...(await tls()), minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      void serve(options, request, response);
    },
  );
  server.requestTimeout = REQUEST_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(notListening(error, host, port)));
    server.listen(port, host, resolve);
  });
  const unwatch = watchCa(
    ca.directory,
    () =>
      void tls()
        .then((material) => server.setSecureContext(material))
        .catch(() => undefined),
  );
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      unwatch();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function serve(options: StationAuthorityOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let station = "";
  try {
    station = await stationOf(options, request.socket as TLSSocket);
    const body = await readBody(request);
    if (request.method === "POST" && request.url === ISSUE_PATH) reply(response, 200, await issue(options, station, body));
    else if (request.method === "POST" && request.url === REGISTERED_PATH) reply(response, 200, await registered(options, station, body));
    else throw new HawserError("NOT_FOUND", "the authority has nothing at this address", "Use the same version of hawser at both ends.");
  } catch (error) {
    const code = errorCode(error);
    const { message, nextStep } =
      error instanceof HawserError ? error : { message: "the authority failed", nextStep: "Look at the authority's own output." };
    options.onEvent({ event: "refused", station, code, reason: message });
    reply(response, error instanceof HawserError ? 409 : 500, { code, message, next: nextStep });
  }
}

/** @throws HawserError `PERMISSION_DENIED` */
async function stationOf({ ca, book }: StationAuthorityOptions, socket: TLSSocket): Promise<string> {
  const { subject, serialNumber } = socket.getPeerCertificate();
  const name = String(subject.CN);
  const serial = serialNumber.toLowerCase().replace(/^0+/, "");
  const listed = (await ca.list()).find((one) => one.name === name);
  const isActive = listed?.kind === "client" && listed.state === "active" && listed.serial === serial;
  if (isActive && book.left(name) !== undefined) return name;
  throw new HawserError(
    "PERMISSION_DENIED",
    `${name} is not a station of this authority`,
    "Issue it a certificate (hawser issue), and start the authority with --batch NAME=COUNT.",
  );
}

async function issue({ ca, book, roles, onEvent }: StationAuthorityOptions, station: string, body: string): Promise<object> {
  const { csr, ...request } = readIssueQuestion(body);
  const { id, role } = request;
  if (!roles.includes(role))
    throw new HawserError(
      "INVALID_ROLE",
      `stations may not give the role ${role}`,
      `Use one of ${roles.join(", ")}, or start the authority with --role ${role}.`,
    );
  const { publicKeyHash } = await checkRequest(csr, id);
  const isInRegistry = (await ca.list()).some(({ name }) => name === id);
  book.take(station, request, publicKeyHash, isInRegistry);
  try {
    const issued = await localIssuer(ca).issue(request, csr, publicKeyHash);
    try {
      book.issued(issued);
      onEvent({ event: "issued", station, id, serial: issued.serial, left: book.left(station) ?? 0 });
      return writeIssued(issued, localIssuer(ca).endsMs());
    } finally {
      issued.psk?.fill(0);
    }
  } catch (error) {
    if (NOTHING_ISSUED.has(errorCode(error))) book.giveBack(id, errorCode(error));
    throw error;
  }
}

async function registered({ ca, book }: StationAuthorityOptions, station: string, body: string): Promise<object> {
  const { id, serial } = readRegisteredQuestion(body);
  const issuer = localIssuer(ca);
  return { isRegistered: book.owns(station, id) && (await issuer.isRegistered(id, serial)), caEndsMs: issuer.endsMs() };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    sizeBytes += part.length;
    if (sizeBytes > MAX_MESSAGE_BYTES)
      throw new HawserError("BAD_REQUEST", "the request is too large", "Use the same version of hawser at both ends.");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}

function notListening({ code = "", message }: NodeJS.ErrnoException, host: string, port: number): HawserError {
  if (code === "EADDRINUSE") return new HawserError("PORT_IN_USE", `port ${port} of ${host} is in use`, "Choose another with --port.");
  return new HawserError(
    "LISTEN_FAILED",
    `cannot listen on ${host} port ${port}: ${message}`,
    "Choose an address of this machine with --host.",
  );
}
