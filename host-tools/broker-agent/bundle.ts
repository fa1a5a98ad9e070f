/**
 * What a broker's agent gets: every file of its broker's configuration, signed with a certificate that only the holder of the CA's key can
 * make. The agent believes nothing else, and nothing older than what it has.
 */
import { createHash, sign, verify, X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { fromPem } from "../pki/pem.js";

/** The name in the certificate that signs. No client or device can have it: it begins with a hyphen. */
export const BUNDLE_SIGNER = "-configuration";

export interface BundleContent {
  /** Of the agent's certificate, SHA-256 in hex: a bundle for one broker is nothing to another. */
  readonly agent: string;
  /** Counts up; milliseconds since the epoch where the clock allows it. */
  readonly sequence: number;
  readonly issuedAtMs: number;
  /** The user mosquitto becomes when it is started as root. */
  readonly user: string;
  /** Where the broker listens for pre-shared keys, on which it shows what it has loaded. */
  readonly probe: { readonly host: string; readonly port: number };
  readonly files: Readonly<Record<string, string>>;
}

export interface SigningCredentials {
  readonly keyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
}

/** The domain keeps the signature from meaning anything else. */
const DOMAIN = "hawser broker bundle 1\n";

export function signBundle(content: BundleContent, { keyPem, chainPem }: SigningCredentials): string {
  const text = JSON.stringify(content);
  const signature = sign("sha256", Buffer.from(DOMAIN + text), keyPem).toString("base64");
  return `${JSON.stringify({ v: 1, sequence: content.sequence, content: text, signature, chain: chainPem })}\n`;
}

/** The sequence that a bundle says it has, unproved; 0 for what is no bundle. */
export function sequenceOf(text: string | undefined): number {
  const match = /^\{"v":1,"sequence":(\d{1,16}),/.exec(text?.slice(0, 64) ?? "");
  return match === null ? 0 : Number(match[1]);
}

export interface Expected {
  readonly agent: string;
  /** PEM. */
  readonly roots: string;
  readonly newerThan: number;
}

/** @throws HawserError `BUNDLE_REFUSED` */
export function openBundle(text: string, { agent, roots, newerThan }: Expected): BundleContent {
  const { content: body, signature, chain } = parsed(text);
  const content = contentOf(body);
  if (content === undefined) throw refused("it is not a bundle");
  const signer = provedSigner(chain, roots, content.issuedAtMs);
  if (!verify("sha256", Buffer.from(DOMAIN + body), signer.publicKey, Buffer.from(signature, "base64")))
    throw refused("its signature is wrong");
  if (content.agent !== agent) throw refused("it is for another broker");
  // What it says outside is remembered as what is here: with a smaller number there, an older bundle would be taken later.
  if (content.sequence !== sequenceOf(text)) throw refused("the number it shows is not the one that is signed");
  if (content.sequence <= newerThan) throw refused(`it is not newer (${content.sequence}) than what is here (${newerThan})`);
  return content;
}

function parsed(text: string): { content: string; signature: string; chain: string } {
  const { v, content, signature, chain } = (jsonOf(text) ?? {}) as Record<string, unknown>;
  if (v !== 1 || typeof content !== "string" || typeof signature !== "string" || typeof chain !== "string")
    throw refused("it is not a bundle");
  return { content, signature, chain };
}

/** Undefined for what is not JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** File names as a configuration has them: none leads out of its directory. */
const FILE_NAME = /^[a-z][a-z0-9.-]{0,63}$/;

function contentOf(text: string): BundleContent | undefined {
  const value = jsonOf(text) as Partial<BundleContent> | null;
  if (typeof value !== "object" || value === null) return undefined;
  const { agent, sequence, issuedAtMs, user, probe, files } = value;
  if (typeof agent !== "string" || !Number.isSafeInteger(sequence) || !Number.isSafeInteger(issuedAtMs) || typeof user !== "string")
    return undefined;
  if (typeof probe?.host !== "string" || !Number.isSafeInteger(probe.port) || typeof files !== "object") return undefined;
  const areNamed = Object.entries(files).every(([name, file]) => FILE_NAME.test(name) && !name.includes("..") && typeof file === "string");
  return areNamed ? (value as BundleContent) : undefined;
}

/** The certificate that signed was good when it did: it lives for minutes, its key only in the memory that made it. */
function provedSigner(chainPem: string, rootsPem: string, atMs: number): X509Certificate {
  const chain = certificatesIn(chainPem);
  const roots = certificatesIn(rootsPem);
  const [leaf] = chain;
  if (leaf?.subject !== `CN=${BUNDLE_SIGNER}`) throw refused("its signer has another name");
  let below = leaf;
  for (const above of [...chain.slice(1), ...roots]) {
    const isLast = roots.some(({ fingerprint256 }) => fingerprint256 === above.fingerprint256);
    if (!above.ca || !below.checkIssued(above) || !below.verify(above.publicKey)) {
      if (isLast) continue;
      throw refused("its signer's chain is broken");
    }
    if (atMs < Date.parse(below.validFrom) || atMs > Date.parse(below.validTo)) throw refused("its signer had expired");
    if (isLast) return leaf;
    below = above;
  }
  throw refused("its signer does not lead to a root that is trusted here");
}

function certificatesIn(pem: string): X509Certificate[] {
  try {
    return fromPem("CERTIFICATE", pem).map((der) => new X509Certificate(der));
  } catch {
    throw refused("it holds a certificate that cannot be read");
  }
}

/** The roots among the certificates that a broker trusts: during a rollover of the root there are two. */
export function rootsIn(anchorsPem: string): string {
  return certificatesIn(anchorsPem)
    .filter((certificate) => certificate.ca && certificate.checkIssued(certificate))
    .map((certificate) => `${certificate.toString().trimEnd()}\n`)
    .join("");
}

export function fingerprintOf(certificate: Uint8Array): string {
  return createHash("sha256").update(certificate).digest("hex");
}

function refused(why: string): HawserError {
  return new HawserError(
    "BUNDLE_REFUSED",
    `the configuration from the authority is refused: ${why}`,
    "Check the root that the agent trusts, and that the configuration was written for this agent (hawser broker config --agent).",
  );
}
