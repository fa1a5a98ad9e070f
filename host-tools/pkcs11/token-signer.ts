/** A CA's key in a PKCS#11 token: made there, kept there, used there. */
import { createHash, randomBytes } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { CURVES, keyTypeOf, Signer } from "../pki/signer.js";
import type { ExternalKey, KeyType, SignerFor } from "../pki/signer.js";
import { Pkcs11Tool } from "./pkcs11-tool.js";
import { describeTokenKey, parseTokenKey, tokenKeyUri } from "./pkcs11-uri.js";
import type { TokenKey } from "./pkcs11-uri.js";

/** Finds the PIN of a token; called once, when the token is first needed. */
export type PinSource = (key: TokenKey) => Promise<string>;

export class TokenSigner extends Signer {
  #publicKey: Promise<Uint8Array> | undefined;

  /** @param key with its id */
  constructor(
    private readonly tool: Pkcs11Tool,
    private readonly key: TokenKey & { readonly id: string },
  ) {
    super();
  }

  publicKey(): Promise<Uint8Array> {
    this.#publicKey ??= this.tool.publicKey(this.key.id);
    return this.#publicKey;
  }

  async sign(data: Uint8Array): Promise<Uint8Array> {
    const { node } = CURVES[keyTypeOf(await this.publicKey())];
    return new Uint8Array(await this.tool.signHash(this.key.id, createHash(node).update(data).digest()));
  }

  describe(): string {
    return describeTokenKey(this.key);
  }

  close(): void {
    // Each question is a process of its own: nothing is open.
  }
}

/**
 * The signers of keys that a CA has in tokens, by the URIs that the CA keeps.
 *
 * @throws HawserError when called: `BAD_SIGNER`
 */
export function tokenSigners(pin: PinSource): SignerFor {
  return (uri) => {
    const key = parseTokenKey(uri);
    if (key.id === undefined)
      throw new HawserError("BAD_SIGNER", "the CA's own PKCS#11 URI has no id", "Restore the CA directory from a backup.");
    return new TokenSigner(new Pkcs11Tool(key, () => pin(key)), { ...key, id: key.id });
  };
}

export interface NewTokenKey {
  readonly type: KeyType;
  /** Take the key of this name that is in the token already, instead of making one. */
  readonly useExisting?: boolean;
}

/**
 * Makes a key in a token, or takes one that is there. The key must be one that the token never gives away.
 *
 * @param uri which token, and what the key is called there
 * @throws HawserError `BAD_SIGNER`, `TOKEN_KEY_EXISTS`, `TOKEN_KEY_MISSING`, `TOKEN_AMBIGUOUS`, `KEY_EXPORTABLE`, `BAD_KEY`, and those of
 *   the token
 */
export async function tokenKey(uri: string, pin: PinSource, { type, useExisting = false }: NewTokenKey): Promise<ExternalKey> {
  const asked = parseTokenKey(uri);
  const tool = new Pkcs11Tool(asked, () => pin(asked));
  const what = describeTokenKey(asked);
  const isAsked = ({ label, id }: { label: string; id: string }): boolean =>
    (asked.object === undefined || label === asked.object) && (asked.id === undefined || id === asked.id);
  let fit = (await tool.keys()).filter(isAsked);
  if (!useExisting) {
    if (fit.length > 0)
      throw new HawserError(
        "TOKEN_KEY_EXISTS",
        `${what} is there already`,
        "Choose another object=. If an interrupted command made it, say --existing-key to use it.",
      );
    if (asked.object === undefined)
      throw new HawserError(
        "BAD_SIGNER",
        "the PKCS#11 URI has no object: a new key needs a name",
        'Add object=NAME to the URI, for example "object=issuing".',
      );
    await tool.makeKey(type, asked.object, asked.id ?? randomBytes(8).toString("hex"));
    fit = (await tool.keys()).filter(isAsked);
  }
  const [found, another] = fit;
  if (found === undefined)
    throw new HawserError(
      "TOKEN_KEY_MISSING",
      `the token ${asked.token} has no key ${asked.object ?? asked.id ?? ""}`,
      "Leave out --existing-key to make it.",
    );
  if (another !== undefined)
    throw new HawserError(
      "TOKEN_AMBIGUOUS",
      `the token ${asked.token} has ${fit.length} keys that fit the URI`,
      `Add id= to the URI: ${fit.map(({ id }) => id.replace(/../g, "%$&")).join(" or ")}`,
    );
  if (!found.isKept)
    throw new HawserError(
      "KEY_EXPORTABLE",
      `${what} could be exported from the token: it is not both sensitive and never extractable`,
      "Make a key that is, or let hawser make it.",
    );
  const key = { ...asked, id: found.id, modulePath: tool.module };
  const signer = new TokenSigner(tool, key);
  const actual = keyTypeOf(await signer.publicKey());
  if (actual !== type)
    throw new HawserError("BAD_KEY", `${what} is on ${actual}, and ${type} was asked for`, "Say the key type that the key has.");
  return { reference: tokenKeyUri(key), signer };
}
