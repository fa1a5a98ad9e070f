/** Reads and checks PKCS#10 requests (RFC 2986). They come from devices: anything may be in them. */
import { createHash, createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type * as X509 from "@peculiar/x509";
import { HawserError } from "../../sdk/errors.js";
import { nodeCrypto } from "./signer.js";
import { loadX509 } from "./x509-library.js";

/** A P-256 request with one name is below 400 bytes. */
const MAX_REQUEST_BYTES = 2048;

export interface CheckedRequest {
  /** DER SubjectPublicKeyInfo in its one usual form, so that the same key always has the same hash. */
  readonly publicKey: Uint8Array;
  readonly publicKeyHash: string;
}

/**
 * The public key of a request that is sound and asks for the name `id`. Only name and key are taken from a request; extensions it asks for
 * are ignored, the profile decides.
 * @throws HawserError `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`
 */
export async function checkRequest(der: Uint8Array, id: string): Promise<CheckedRequest> {
  const request = await parse(der);
  const publicKey = p256Key(request);
  if (!(await signatureIsGood(request))) {
    throw new HawserError(
      "BAD_SIGNATURE",
      "the certificate request is not signed by its own key",
      "Make a new request with the device's key.",
    );
  }
  const names = request.subjectName.getField("CN");
  if (names.length !== 1 || names[0] !== id) {
    throw new HawserError(
      "WRONG_SUBJECT",
      `the certificate request is not for the name ${id}`,
      `Make a request with the subject CN=${id}.`,
    );
  }
  return { publicKey, publicKeyHash: hashOfPublicKey(publicKey) };
}

/** SHA-256 of a DER SubjectPublicKeyInfo, lower-case hex. */
export function hashOfPublicKey(spki: Uint8Array): string {
  return createHash("sha256").update(spki).digest("hex");
}

async function parse(der: Uint8Array): Promise<X509.Pkcs10CertificateRequest> {
  const x509 = await loadX509();
  try {
    if (der.length <= MAX_REQUEST_BYTES) return new x509.Pkcs10CertificateRequest(new Uint8Array(der));
  } catch {
    // Falls through to the one answer for all that cannot be read.
  }
  throw new HawserError(
    "BAD_REQUEST",
    "the certificate request is not PKCS#10 in DER",
    "Send a certificate request made by the key store.",
  );
}

function p256Key(request: X509.Pkcs10CertificateRequest): Uint8Array {
  try {
    const key = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" });
    if (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1") {
      return canonicalSpki(key);
    }
  } catch {
    // Falls through: a key that OpenSSL does not read is no P-256 key either.
  }
  throw new HawserError("BAD_REQUEST", "the key of the certificate request is not P-256", "Generate the key on curve P-256.");
}

/**
 * An EC public key on P-256 with its point uncompressed (RFC 5480): a point has three encodings, and OpenSSL gives a key back as it came.
 */
function canonicalSpki(key: KeyObject): Uint8Array {
  const { x, y } = key.export({ format: "jwk" });
  if (typeof x !== "string" || typeof y !== "string") throw new Error("it has no point");
  return new Uint8Array(Buffer.concat([P256_SPKI, Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]));
}

/** SubjectPublicKeyInfo up to the point: id-ecPublicKey, prime256v1, a BIT STRING of 66 bytes, an uncompressed point. */
const P256_SPKI = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");

async function signatureIsGood(request: X509.Pkcs10CertificateRequest): Promise<boolean> {
  try {
    return await request.verify(nodeCrypto);
  } catch {
    return false;
  }
}
