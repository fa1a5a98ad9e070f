/** An agent's key and certificate. Nobody vouches for it: the CA is told its fingerprint, and it opens no broker. */
import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { HawserError } from "../../sdk/errors.js";
import { writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { nodeCrypto } from "../pki/signer.js";
import { toPem } from "../pki/pem.js";
import { fingerprintOf, rootsIn } from "./bundle.js";

export const AGENT_FILES = {
  key: "agent.key.pem",
  certificate: "agent.crt.pem",
  roots: "roots.pem",
  /** The last bundle that was accepted: a restart begins with it. */
  bundle: "bundle.json",
} as const;

export interface AgentIdentity {
  readonly keyPem: string;
  readonly certificatePem: string;
  /** SHA-256 of the certificate, hex. */
  readonly fingerprint: string;
}

/** A pinned certificate needs no end; X.509 wants one. */
const LIFETIME_MS = 50 * 365.25 * 86_400_000;

/**
 * Makes the directory of an agent.
 *
 * @param rootsPem the CA's root
 * @throws HawserError `OUT_EXISTS`, `BUNDLE_REFUSED` (no root in it), `STORAGE_FAILED`
 */
export async function makeAgentDirectory(directory: string, rootsPem: string): Promise<AgentIdentity> {
  if (existsSync(join(directory, AGENT_FILES.key)))
    throw new HawserError("OUT_EXISTS", `${directory} holds an agent's key already`, "Use it, or choose another directory.");
  const roots = rootsIn(rootsPem);
  if (roots === "") throw new HawserError("BAD_CERTIFICATE", "the file holds no root certificate", "Give ca/root.crt.pem of the CA.");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await nodeCrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const [notBefore, notAfter] = [new Date(Date.now() - 86_400_000), new Date(Date.now() + LIFETIME_MS)];
  const made = await x509.X509CertificateGenerator.createSelfSigned(
    { name: "CN=hawser broker agent", keys, signingAlgorithm: algorithm, notBefore, notAfter },
    nodeCrypto,
  );
  const pkcs8 = new Uint8Array(await nodeCrypto.subtle.exportKey("pkcs8", keys.privateKey));
  writeFileAtomic(join(directory, AGENT_FILES.roots), roots);
  writeFileAtomic(join(directory, AGENT_FILES.certificate), toPem("CERTIFICATE", new Uint8Array(made.rawData)));
  writeFileAtomic(join(directory, AGENT_FILES.key), toPem("PRIVATE KEY", pkcs8));
  return readAgentIdentity(directory);
}

/** @throws HawserError `NOT_FOUND` */
export function readAgentIdentity(directory: string): AgentIdentity {
  try {
    const certificatePem = readFileSync(join(directory, AGENT_FILES.certificate), "utf8");
    const keyPem = readFileSync(join(directory, AGENT_FILES.key), "utf8");
    return { keyPem, certificatePem, fingerprint: fingerprintOf(new X509Certificate(certificatePem).raw) };
  } catch {
    throw new HawserError("NOT_FOUND", `${directory} is not an agent's directory`, "Make one: hawser broker agent-init");
  }
}
