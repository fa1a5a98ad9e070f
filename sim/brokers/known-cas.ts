/** The CAs whose certificates a broker has: who signed what a client shows, without the client's chain, which Node does not always give. */
import { createHash, X509Certificate, type KeyObject } from "node:crypto";
import { certificateParts } from "../../sdk/identity/certificate.js";
import { HawserError } from "../../sdk/errors.js";
import { crlPlacesOf, derNameKey, plainSerial } from "../node/revocation-list.js";

const CERTIFICATE_PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
/** More CAs above each other than anybody has; two may have certified each other. */
const MAX_DEPTH = 8;

/** What a revocation list goes by. */
export interface ListedCertificate {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** Its issuer's name, by `derNameKey`; "" when it cannot be read (it is the client's to choose): no list is of such an issuer. */
  readonly issuer: string;
  /** The key that signed it, where the broker knows the CA. */
  readonly signer: string | undefined;
  /** Where it says that its list is. */
  readonly places: readonly string[];
}

interface KnownCa {
  /** Stands for name and key. */
  readonly id: string;
  /** By `derNameKey`. */
  readonly name: string;
  readonly key: KeyObject;
  readonly certificates: X509Certificate[];
}

export class KnownCas {
  readonly #byId = new Map<string, KnownCa>();
  readonly #byName = new Map<string, KnownCa[]>();
  readonly #roots = new Set<string>();

  /**
   * @param anchorsPem the roots
   * @param othersPem other certificates; those of CAs count
   * @throws HawserError `BROKER_MATERIAL_INVALID`
   */
  constructor(anchorsPem: string, othersPem: string) {
    try {
      for (const certificate of certificatesIn(anchorsPem)) {
        const { id, key } = this.#add(certificate);
        if (isSignedBy(certificate, key)) this.#roots.add(id);
      }
      for (const certificate of certificatesIn(othersPem)) if (certificate.ca) this.#add(certificate);
    } catch {
      throw new HawserError("BROKER_MATERIAL_INVALID", "a certificate of the broker's CAs cannot be read", "Check that all files are PEM.");
    }
  }

  /**
   * The CA of this name that signed something; undefined where that is none of ours.
   * @param name by `derNameKey`
   */
  signerOf(name: string, isSigner: (key: KeyObject) => boolean): string | undefined {
    return this.#byName.get(name)?.find(({ key }) => isSigner(key))?.id;
  }

  listed(certificate: X509Certificate): ListedCertificate {
    const issuer = issuerOf(certificate);
    const signer = this.signerOf(issuer, (key) => isSignedBy(certificate, key));
    return { serial: plainSerial(certificate.serialNumber), issuer, signer, places: placesOf(certificate) };
  }

  /**
   * The certificates of a CA and of those above it, the root first; undefined when it does not lead to a root.
   * @param id as `signerOf` gives it
   */
  pathOf(id: string, depth = 0): readonly ListedCertificate[] | undefined {
    for (const certificate of this.#byId.get(id)?.certificates ?? []) {
      const listed = this.listed(certificate);
      if (this.#roots.has(id)) return [listed];
      const above = listed.signer === undefined || depth === MAX_DEPTH ? undefined : this.pathOf(listed.signer, depth + 1);
      if (above !== undefined) return [...above, listed];
    }
    return undefined;
  }

  #add(certificate: X509Certificate): KnownCa {
    const key = certificate.publicKey;
    const name = derNameKey(certificate.raw, certificateParts(certificate.raw).subject);
    const id = createHash("sha256")
      .update(name)
      .update(key.export({ format: "der", type: "spki" }))
      .digest("base64");
    const ca = this.#byId.get(id) ?? { id, name, key, certificates: [] };
    ca.certificates.push(certificate);
    if (ca.certificates.length > 1) return ca;
    this.#byId.set(id, ca);
    this.#byName.set(name, [...(this.#byName.get(name) ?? []), ca]);
    return ca;
  }
}

function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(CERTIFICATE_PEM) ?? []).map((text) => new X509Certificate(text));
}

function issuerOf({ raw }: X509Certificate): string {
  try {
    return derNameKey(raw, certificateParts(raw).issuer);
  } catch {
    return "";
  }
}

function placesOf({ raw }: X509Certificate): string[] {
  try {
    return crlPlacesOf(raw);
  } catch {
    return [];
  }
}

function isSignedBy(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.verify(key);
  } catch {
    // A key of another kind.
    return false;
  }
}
