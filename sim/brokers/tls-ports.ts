/** The two TLS servers of an embedded broker: certificates on one port, pre-shared keys on the other, never both on one. */
import { constants, randomBytes } from "node:crypto";
import { createSecureContext, createServer, type Server, type TLSSocket, type TlsOptions } from "node:tls";
import { HawserError } from "../../sdk/errors.js";
import { nameOfPskIdentity } from "../../sdk/identity/device-id.js";
import type { BrokerMaterial, RefusalReason } from "./broker-events.js";
import { shownCertificate, shownPsk, type Shown } from "./credential-verdict.js";
import { RevocationLists } from "./crl-verdict.js";
import { KnownCas } from "./known-cas.js";

const MTLS_CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

// A pre-shared key without a hash of its own works with the SHA-256 suites of TLS 1.3 only; in 1.2 only what has forward secrecy.
const PSK_CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-PSK-CHACHA20-POLY1305",
  "ECDHE-PSK-AES128-CBC-SHA256",
  "ECDHE-PSK-AES256-CBC-SHA384",
].join(":");

export interface TlsPortHandlers {
  /** A handshake is done; `shown` is undefined where the client showed nothing. */
  arrived(socket: TLSSocket, shown: Shown | undefined): void;
  refused(reason: RefusalReason, detail: string): void;
}

/** Material in the forms that connections are judged by. */
export interface PreparedMaterial {
  material: BrokerMaterial;
  revocation: RevocationLists;
  mtlsOptions: MtlsOptions;
}

type MtlsOptions = Pick<TlsOptions, "minVersion" | "ciphers" | "secureOptions"> &
  Readonly<Record<"cert" | "key" | "ca", string>> & {
    readonly crl?: string[];
  };

/**
 * Reads the material and proves that a TLS server can be made of it.
 * @param before what connections were judged by until now: what is as it was then needs no proof
 * @throws HawserError `BROKER_MATERIAL_INVALID`
 */
export function prepareMaterial(material: BrokerMaterial, before?: PreparedMaterial): PreparedMaterial {
  const { chainPem, keyPem, trustAnchorPem, issuersPem = "", crlPem } = material;
  const revocation = new RevocationLists(crlPem, new KnownCas(trustAnchorPem, issuersPem + chainPem), Date.now());
  const mtlsOptions: MtlsOptions = {
    cert: chainPem,
    key: keyPem,
    ca: trustAnchorPem,
    ...(revocation.judgeAlone ? {} : { crl: revocation.pems }),
    minVersion: "TLSv1.2",
    ciphers: MTLS_CIPHERS,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
  try {
    if (before === undefined || !isSameServer(mtlsOptions, before.mtlsOptions)) createSecureContext(mtlsOptions);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    const message = `no TLS server can be made of the broker's chain, key, trust anchor and CRLs (${code})`;
    throw new HawserError("BROKER_MATERIAL_INVALID", message, "Check that the key belongs to the certificate and that all files are PEM.");
  }
  return { material, revocation, mtlsOptions };
}

/**
 * Has the server go by new material, and makes earlier session tickets worthless. Connections keep the TLS context that they came by: it
 * stays the same while only lists change.
 */
export function renewMtlsServer(server: Server, { mtlsOptions }: PreparedMaterial, before: PreparedMaterial): void {
  if (isSameServer(mtlsOptions, before.mtlsOptions)) server.setTicketKeys(randomBytes(48));
  else server.setSecureContext(mtlsOptions);
}

function isSameServer(one: MtlsOptions, other: MtlsOptions): boolean {
  const isSameCrl = one.crl?.join() === other.crl?.join();
  return isSameCrl && one.cert === other.cert && one.key === other.key && one.ca === other.ca;
}

/**
 * Certificates are checked, but a bad one does not end the handshake: Node would close without any alert, and a client could not tell that
 * from a network fault. The broker refuses in MQTT instead.
 */
export function createMtlsServer(current: () => PreparedMaterial, connectTimeoutMs: number, handlers: TlsPortHandlers): Server {
  const server = createServer({
    ...current().mtlsOptions,
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: connectTimeoutMs,
  });
  server.on("secureConnection", (socket) => {
    socket.setNoDelay(true);
    handlers.arrived(socket, shownCertificate(socket, current().revocation));
  });
  server.on("tlsClientError", (error, socket) => {
    endAfterTimeout(error, socket);
    handlers.refused(tlsReason(error), codeOf(error));
  });
  return server;
}

/** No tickets: a resumed session would not tell its identity, because `pskCallback` is not called for it. */
export function createPskServer(current: () => BrokerMaterial, connectTimeoutMs: number, handlers: TlsPortHandlers): Server {
  const shownBySocket = new WeakMap<TLSSocket, Shown>();
  const unknownBySocket = new WeakMap<TLSSocket, string>();
  const server = createServer({
    ciphers: PSK_CIPHERS,
    minVersion: "TLSv1.2",
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: connectTimeoutMs,
    pskCallback(socket, identity) {
      const key = current().pskFor(nameOfPskIdentity(identity));
      if (key === undefined) {
        unknownBySocket.set(socket, identity);
        return null;
      }
      shownBySocket.set(socket, shownPsk(identity, key));
      return Buffer.from(key);
    },
  });
  server.on("secureConnection", (socket) => {
    socket.setNoDelay(true);
    handlers.arrived(socket, shownBySocket.get(socket));
  });
  server.on("tlsClientError", (error, socket) => {
    endAfterTimeout(error, socket);
    const shown = shownBySocket.get(socket);
    const unknown = unknownBySocket.get(socket);
    if (shown !== undefined && WRONG_KEY.has(codeOf(error))) handlers.refused("PSK_KEY_WRONG", shown.name);
    else if (shown === undefined && unknown !== undefined) handlers.refused("PSK_IDENTITY_UNKNOWN", unknown);
    else handlers.refused(tlsReason(error), codeOf(error));
  });
  return server;
}

/** TLS 1.3, then TLS 1.2. */
const WRONG_KEY = new Set(["ERR_SSL_BINDER_DOES_NOT_VERIFY", "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"]);

/** Node only reports this; after other errors it closes by itself, once the alert is out. */
function endAfterTimeout(error: Error, socket: TLSSocket): void {
  if (tlsReason(error) === "CONNECT_TIMEOUT") socket.destroy();
}

function tlsReason(error: Error): RefusalReason {
  return codeOf(error) === "ERR_TLS_HANDSHAKE_TIMEOUT" ? "CONNECT_TIMEOUT" : "TLS_FAILED";
}

function codeOf(error: Error): string {
  return "code" in error ? String(error.code) : error.message.slice(0, 100);
}
