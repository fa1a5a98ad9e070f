/** Who signs OCSP answers in the name of a CA (RFC 6960 section 4.2.2.2): certificates for that alone, their keys in memory only. */
import { createPrivateKey } from "node:crypto";
import type { OcspIssuer } from "../authority/ocsp-responder.js";
import { toPem } from "../pki/pem.js";
import { generateKey, nodeCrypto } from "../pki/signer.js";
import { issueLeaf, type CaKeys } from "./context.js";

const OCSP_NAME = "hawser-ocsp";

/** One for the issuing CA, and one for the CA before during a rollover. They are in no registry, and no broker takes them for clients. */
export function makeOcspSigners(keys: CaKeys, nowMs: number, lifetimeMs: number): Promise<OcspIssuer[]> {
  const issuers = [keys.issuing, ...(keys.previous === undefined ? [] : [keys.previous])];
  return Promise.all(
    issuers.map(async (issuing) => {
      const { pkcs8, publicKey } = await generateKey();
      const key = createPrivateKey(toPem("PRIVATE KEY", pkcs8));
      pkcs8.fill(0);
      const spki = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", publicKey));
      const { der } = await issueLeaf({ ...keys, issuing }, OCSP_NAME, spki, { kind: "ocsp" }, nowMs, lifetimeMs);
      return { issuer: issuing.certificate, signer: { certificate: der, key } };
    }),
  );
}
