/**
 * What a CA asks of a root that is not at hand: a text that a person reads before signing, and that the root checks. It is signed by the
 * issuing CA in use, which the root itself certified: what was changed on the way, or made up by somebody, is refused.
 */
import { createHash } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { checkCrlBase } from "../pki/crl-base-url.js";
import { KEY_TYPES, keyTypeOf } from "../pki/signer.js";
import type { KeyType, Signer } from "../pki/signer.js";
import { provenSignature } from "../pki/signing-provider.js";

export interface WantedIssuer {
  readonly commonName: string;
  /** DER SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly lifetimeMs: number;
  /** Base of the address of revocation lists, to be named in the certificate. */
  readonly crlBase?: string;
}

/** An issuing CA that is to be on the root's revocation list. */
export interface RetiredIssuer {
  readonly serial: string;
  readonly notAfterMs: number;
  readonly revokedAtMs: number;
}

/** A root to take the place of the one that is asked. */
export interface WantedRoot {
  readonly keyType: KeyType;
  readonly lifetimeMs: number;
}

export interface RootRequest {
  readonly ca: string;
  /** SHA-256 of the root's certificate, hex. */
  readonly root: string;
  readonly madeAtMs: number;
  readonly issuing?: WantedIssuer;
  /** With `issuing`, which is then certified by the new root. */
  readonly newRoot?: WantedRoot;
  /** SHA-256 of the certificate of the root before, hex: its key is to be forgotten. */
  readonly retiredRoot?: string;
  readonly retired: readonly RetiredIssuer[];
  /** Serial number of the issuing CA that signed. */
  readonly signedBy: string;
}

const TITLE = "A request to the offline root of a Hawser CA";
const DAY_MS = 86_400_000;

/** What is signed; its one form. Times are whole seconds. */
function bodyOf({ ca, root, madeAtMs, newRoot, retiredRoot, issuing, retired, signedBy }: RootRequest): string {
  const lines = [TITLE, "", `CA: ${ca}`, `Root: ${root}`, `Made at: ${time(madeAtMs)}`];
  if (newRoot !== undefined)
    lines.push(
      "",
      `Make another root, to take the place of this one, on the curve: ${newRoot.keyType}`,
      `The other root lives for seconds: ${secondsText(newRoot.lifetimeMs)}`,
    );
  if (retiredRoot !== undefined) lines.push("", `Forget the key of the root before: ${retiredRoot}`);
  if (issuing !== undefined) {
    const { commonName, publicKey, lifetimeMs, crlBase } = issuing;
    lines.push(
      "",
      `Certify the issuing CA: ${commonName}`,
      `On the curve: ${keyTypeOf(publicKey)}`,
      `With the key: ${Buffer.from(publicKey).toString("base64")}`,
    );
    lines.push(
      `Fingerprint of the key: ${fingerprint(publicKey)}`,
      `For seconds: ${secondsText(lifetimeMs)}`,
      ...(crlBase === undefined ? [] : [`With revocation lists at: ${crlBase}`]),
    );
  }
  lines.push("", "Sign a revocation list that names these issuing CAs:", ...(retired.length === 0 ? ["none"] : []));
  lines.push(
    ...retired.map(({ serial, notAfterMs, revokedAtMs }) => `${serial} retired at ${time(revokedAtMs)}, ends at ${time(notAfterMs)}`),
  );
  return `${[...lines, "", `Signed by the issuing CA: ${signedBy}`].join("\n")}\n`;
}

export async function signedRequest(request: RootRequest, signer: Signer): Promise<string> {
  const body = bodyOf(request);
  const signature = await provenSignature(signer, await signer.publicKey(), Buffer.from(body, "utf8"));
  return `${body}Signature: ${Buffer.from(signature).toString("base64")}\n`;
}

export interface ReadRequest {
  readonly request: RootRequest;
  /** What was signed, and the signature: r and s. */
  readonly body: string;
  readonly signature: Uint8Array;
}

/** Reads a request; its signature is not checked yet. Throws `ROOT_REQUEST_INVALID`. */
export function readRequest(text: string): ReadRequest {
  // A stick from another system may have changed the ends of lines.
  const plain = text.replace(/\r\n/g, "\n").trimEnd();
  const [, body = "", signature = ""] = /^([\s\S]*\n)Signature: ([A-Za-z0-9+/]+=*)$/.exec(plain) ?? [];
  const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, "m").exec(body)?.[1];
  const [ca, root, madeAt, signedBy, commonName, key, seconds, crlBase, rootKey, rootSeconds, retiredRoot] = [
    "CA",
    "Root",
    "Made at",
    "Signed by the issuing CA",
    "Certify the issuing CA",
    "With the key",
    "For seconds",
    "With revocation lists at",
    "Make another root, to take the place of this one, on the curve",
    "The other root lives for seconds",
    "Forget the key of the root before",
  ].map(field);
  try {
    if (!body.startsWith(TITLE) || ca === undefined || root === undefined || madeAt === undefined || signedBy === undefined)
      throw new Error("it lacks a line");
    const issuing =
      commonName === undefined
        ? undefined
        : {
            commonName,
            publicKey: new Uint8Array(Buffer.from(key ?? "", "base64")),
            lifetimeMs: Number.parseInt(seconds ?? "", 10) * 1000,
            ...(crlBase === undefined ? {} : { crlBase: checkCrlBase(crlBase) }),
          };
    const keyType = KEY_TYPES.find((known) => known === rootKey);
    const newRoot = keyType === undefined ? undefined : { keyType, lifetimeMs: Number.parseInt(rootSeconds ?? "", 10) * 1000 };
    const retired = [...body.matchAll(/^([0-9a-f]+) retired at (\S+), ends at (\S+)$/gm)].map(([, serial = "", at = "", end = ""]) => ({
      serial,
      revokedAtMs: Date.parse(at),
      notAfterMs: Date.parse(end),
    }));
    const request: RootRequest = {
      ca,
      root,
      madeAtMs: Date.parse(madeAt),
      ...(newRoot === undefined ? {} : { newRoot }),
      ...(retiredRoot === undefined ? {} : { retiredRoot }),
      ...(issuing === undefined ? {} : { issuing }),
      retired,
      signedBy,
    };
    // Whatever else stands in it was not written by us, and a person might believe it.
    if (bodyOf(request) !== body) throw new Error("it is not in its one form");
    return { request, body, signature: new Uint8Array(Buffer.from(signature, "base64")) };
  } catch {
    throw badRequest("it is damaged, or no request to an offline root");
  }
}

export function badRequest(why: string): HawserError {
  return new HawserError(
    "ROOT_REQUEST_INVALID",
    `the request cannot be answered: ${why}`,
    "Make it again with `hawser ca request`, and compare what it prints with what the root shows.",
  );
}

export function fingerprint(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}

function secondsText(ms: number): string {
  return `${Math.round(ms / 1000)} (${(ms / DAY_MS).toFixed(1)} days)`;
}

function time(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
