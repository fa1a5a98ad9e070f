/**
 * How a CA signs. A key may be in a sealed file, in a PKCS#11 token, or anywhere else that a program can ask: whoever can answer four
 * questions is a signer, and nothing else of the CA knows the difference.
 */
import { createPublicKey, webcrypto } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";

/** The curves a CA's key may be on. Devices' keys are always P-256. */
export type KeyType = "P-256" | "P-384";

export const KEY_TYPES: readonly KeyType[] = ["P-256", "P-384"];

/**
 * What ECDSA needs to know of a curve: the hash that goes with it (RFC 5758 section 3.2), half the length of a signature, and its
 * parameters, DER in hex (RFC 5480).
 */
export const CURVES = {
  "P-256": { hash: "SHA-256", node: "sha256", openssl: "prime256v1", sizeBytes: 32, parameters: "06082a8648ce3d030107" },
  "P-384": { hash: "SHA-384", node: "sha384", openssl: "secp384r1", sizeBytes: 48, parameters: "06052b81040022" },
} as const;

/**
 * A key that a CA signs with. Certificates, revocation lists, cross certificates and requests are all signed through it. Each signature is
 * verified with the public key of the CA's certificate before anybody gets it, so a signer with the wrong key is found out at once.
 *
 * To keep a key in a place of your own (a cloud's key service, a network HSM), extend this class; give the key to `initCa` as `signers`,
 * and to `openCa` by `signerFor`.
 */
export abstract class Signer {
  /** The public key, DER SubjectPublicKeyInfo (RFC 5480), on P-256 or P-384. The same at each call. */
  abstract publicKey(): Promise<Uint8Array>;
  /**
   * An ECDSA signature over `data`, hashed with SHA-256 on P-256 and SHA-384 on P-384.
   *
   * @returns r and s, each as long as the curve: 64 or 96 bytes (IEEE P1363, not DER)
   * @throws HawserError saying what to do; the change of the CA that needed it then does not happen
   */
  abstract sign(data: Uint8Array): Promise<Uint8Array>;
  /** Where the key is, for messages: "token hawser, key issuing". No secret is in it. */
  abstract describe(): string;
  /** Ends sessions and forgets what it knows. The signer is not used afterwards. */
  abstract close(): void;
}

/** A key that is kept elsewhere, for a CA to use. */
export interface ExternalKey {
  /** Leads back to the key: a URI whose scheme says how. Kept in the CA directory, sealed; no secret belongs in it. */
  readonly reference: string;
  readonly signer: Signer;
}

/** Finds the signer that a reference leads to. Called when the CA is opened; the key is not used before something has to be signed. */
export type SignerFor = (reference: string) => Signer;

/** A key that is in memory while the CA is open; on the disk it is sealed. */
export class FileSigner extends Signer {
  constructor(
    readonly privateKey: webcrypto.CryptoKey,
    private readonly spki: Uint8Array,
    private readonly type: KeyType,
  ) {
    super();
  }

  publicKey(): Promise<Uint8Array> {
    return Promise.resolve(this.spki);
  }

  async sign(data: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(
      await nodeCrypto.subtle.sign({ name: "ECDSA", hash: CURVES[this.type].hash }, this.privateKey, new Uint8Array(data)),
    );
  }

  describe(): string {
    return "sealed file";
  }

  close(): void {
    // The key goes with the last reference to it: WebCrypto has no way to wipe one.
  }
}

/** A signer whose key is in memory only while it runs, with the same key once as the bytes to seal. */
export interface NewKey {
  readonly signer: FileSigner;
  readonly publicKey: webcrypto.CryptoKey;
  /** PKCS#8, DER: the caller seals or delivers it and then wipes it. */
  readonly pkcs8: Uint8Array;
}

export const nodeCrypto: webcrypto.Crypto = webcrypto;

export async function generateKey(type: KeyType = "P-256"): Promise<NewKey> {
  const pair = await nodeCrypto.subtle.generateKey({ name: "ECDSA", namedCurve: type }, true, ["sign", "verify"]);
  const pkcs8 = new Uint8Array(await nodeCrypto.subtle.exportKey("pkcs8", pair.privateKey));
  const spki = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", pair.publicKey));
  return { signer: await signerFromPkcs8(pkcs8, spki), publicKey: pair.publicKey, pkcs8 };
}

/**
 * @param spki the public key that belongs to it
 * @throws Error when the bytes are not a key on the curve of `spki`
 */
export async function signerFromPkcs8(pkcs8: Uint8Array, spki: Uint8Array): Promise<FileSigner> {
  const type = keyTypeOf(spki);
  const privateKey = await nodeCrypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), { name: "ECDSA", namedCurve: type }, false, [
    "sign",
  ]);
  return new FileSigner(privateKey, new Uint8Array(spki), type);
}

/** A SubjectPublicKeyInfo (RFC 5480) around an uncompressed point. */
export function spkiOf({ parameters }: (typeof CURVES)[KeyType], point: Uint8Array): Uint8Array {
  const algorithm = Buffer.concat([Buffer.from("06072a8648ce3d0201", "hex"), Buffer.from(parameters, "hex")]);
  const body = Buffer.concat([Buffer.of(0x30, algorithm.length), algorithm, Buffer.of(0x03, point.length + 1, 0), point]);
  return new Uint8Array(Buffer.concat([Buffer.of(0x30, body.length), body]));
}

/** @throws HawserError `BAD_KEY` */
export function keyTypeOf(spki: Uint8Array): KeyType {
  const curve = readPublicKey(spki)?.asymmetricKeyDetails?.namedCurve;
  const type = KEY_TYPES.find((known) => CURVES[known].openssl === curve);
  if (type === undefined) throw new HawserError("BAD_KEY", "a CA's key must be on P-256 or P-384", "Make a key on one of these curves.");
  return type;
}

function readPublicKey(spki: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}
