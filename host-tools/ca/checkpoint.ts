/**
 * A checkpoint of a CA: what its audit trail was at one moment, signed by the issuing CA, to be kept elsewhere. Who has the passphrase can
 * cut the trail off and seal the rest, and so can who puts an older state of everything back; neither can take back a checkpoint.
 */
import { createHash, verify, X509Certificate } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { fromPem } from "../pki/pem.js";
import { CURVES, keyTypeOf } from "../pki/signer.js";
import { provenSignature } from "../pki/signing-provider.js";
import { pemChain, readCertificates } from "./context.js";
import type { CaContext } from "./context.js";

const TITLE = "A checkpoint of a Hawser CA";

export interface Checkpoint {
  readonly ca: string;
  readonly madeAtMs: number;
  /** Number of the last change that it covers. */
  readonly revision: number;
  /** Of the audit trail from its beginning. */
  readonly sizeBytes: number;
  readonly sha256: string;
}

/**
 * A text for people and for {@link checkpointProblem}, with the certificates that prove it: the present CA may have others one day. The CA
 * is not changed by it.
 *
 * @throws HawserError as every change
 */
export async function makeCheckpoint(ca: CaContext): Promise<{ readonly text: string; readonly checkpoint: Checkpoint }> {
  return ca.store.change(async (draft) => {
    const { revision, audit } = ca.store.files.state;
    const { issuing, uppers = [], root } = ca.keys;
    const madeAtMs = Math.floor(draft.nowMs / 1000) * 1000;
    const checkpoint: Checkpoint = { ca: ca.record.name, madeAtMs, revision, sizeBytes: audit.sizeBytes, sha256: audit.sha256 };
    const body = bodyOf(checkpoint);
    const signature = await provenSignature(issuing.signer, await issuing.signer.publicKey(), Buffer.from(body, "utf8"));
    const chain = pemChain([issuing.certificate, ...uppers, root.certificate]);
    return { text: `${body}Signature: ${Buffer.from(signature).toString("base64")}\n\n${chain}`, checkpoint };
  });
}

/** Its one form. */
function bodyOf({ ca, madeAtMs, revision, sizeBytes, sha256 }: Checkpoint): string {
  const lines = [`CA: ${ca}`, `Made at: ${new Date(madeAtMs).toISOString()}`, `Change: ${revision}`, `Bytes of audit trail: ${sizeBytes}`];
  return `${[TITLE, "", ...lines, `SHA-256 of them: ${sha256}`].join("\n")}\n`;
}

/**
 * What became of the trail since a checkpoint, as a sentence; undefined when it only grew.
 *
 * @param name of the checkpoint, for messages
 * @throws HawserError `CHECKPOINT_INVALID` when this CA did not make it
 */
export function checkpointProblem(files: CaFiles, text: string, name: string): string | undefined {
  const { madeAtMs, revision, sizeBytes, sha256 } = provenCheckpoint(files, text, name);
  const trail = files.directory.readUnproved(FILES.audit);
  const which = `the checkpoint ${name} of ${new Date(madeAtMs).toISOString()}, change ${revision}`;
  if (trail.length < sizeBytes) return `the audit trail ends before ${which}: changes since then were undone`;
  if (createHash("sha256").update(trail.subarray(0, sizeBytes)).digest("hex") === sha256) return undefined;
  return `the audit trail is another one than at ${which}: changes until then were undone or replaced`;
}

function provenCheckpoint(files: CaFiles, text: string, name: string): Checkpoint {
  const invalid = (why: string): HawserError =>
    new HawserError("CHECKPOINT_INVALID", `${name} cannot be used: ${why}`, "Use a file that `hawser ca checkpoint` of this CA wrote.");
  const plain = text.replace(/\r\n/g, "\n");
  const [, body = "", signature = ""] = /^([\s\S]*?\n)Signature: ([A-Za-z0-9+/]+=*)\n/.exec(plain) ?? [];
  const field = (what: string): string => new RegExp(`^${what}: (.*)$`, "m").exec(body)?.[1] ?? "";
  const checkpoint: Checkpoint = {
    ca: field("CA"),
    madeAtMs: Date.parse(field("Made at")) || 0,
    revision: Number(field("Change")),
    sizeBytes: Number(field("Bytes of audit trail")),
    sha256: field("SHA-256 of them"),
  };
  if (bodyOf(checkpoint) !== body) throw invalid("it is damaged, or no checkpoint");
  const [issuing, ...above] = certificatesOf(plain);
  const root = above.at(-1);
  if (issuing === undefined || root === undefined) throw invalid("it lacks its certificates");
  const chain = [issuing, ...above];
  const isChain = chain.slice(0, -1).every((one, index) => isSignedBy(one, chain[index + 1]) && chain[index + 1]?.ca === true);
  if (!issuing.ca || !isChain || !isRootOf(files, root)) throw invalid("no root of this CA vouches for it");
  const spki = issuing.publicKey.export({ format: "der", type: "spki" });
  const key = { key: issuing.publicKey, dsaEncoding: "ieee-p1363" as const };
  if (!verify(CURVES[keyTypeOf(spki)].node, Buffer.from(body, "utf8"), key, Buffer.from(signature, "base64")))
    throw invalid("its signature does not fit");
  return checkpoint;
}

function certificatesOf(text: string): X509Certificate[] {
  try {
    return fromPem("CERTIFICATE", text).map((der) => new X509Certificate(der));
  } catch {
    return [];
  }
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate | undefined): boolean {
  return issuer !== undefined && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** A present root; or an earlier one, whose signature of a later root's key is here. */
function isRootOf(files: CaFiles, root: X509Certificate): boolean {
  const readAll = (file: string): X509Certificate[] =>
    (files.has(file) ? readCertificates(files, file) : []).map((der) => new X509Certificate(der));
  const isPresent = [FILES.root, FILES.previousRoot].flatMap(readAll).some(({ raw }) => raw.equals(root.raw));
  return isPresent || readAll(FILES.rootLinks).some((link) => isSignedBy(link, root));
}
