/** The TLS context of the clients that do not make their own. */
import { X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Identity } from "./task.js";

export function secureContextOf({ key, chain, trustAnchors }: Identity): SecureContext {
  const pem = (der: string): string => new X509Certificate(Buffer.from(der, "base64")).toString();
  return createSecureContext({
    key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
    cert: chain.map(pem).join(""),
    ca: trustAnchors.map(pem),
    minVersion: "TLSv1.2",
  });
}
