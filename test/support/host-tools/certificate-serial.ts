import { X509Certificate } from "node:crypto";

/** The serial of a DER certificate as devices and the registry write it. */
export function serialOfCertificate(der: Uint8Array | undefined): string {
  return new X509Certificate(der ?? new Uint8Array()).serialNumber.toLowerCase().replace(/^0+/, "");
}
