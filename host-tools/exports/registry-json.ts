/** Everything in one JSON file, for programs that have a form of their own. */
import type { ExportMaterial } from "../ca/exporting.js";
import { toPem } from "../pki/pem.js";

export const JSON_VERSION = 1;

export function registryJson({ root, issuing, devices }: ExportMaterial, atMs: number): string {
  const pem = (der: Uint8Array): string => toPem("CERTIFICATE", der);
  const content = {
    version: JSON_VERSION,
    exportedAt: new Date(atMs).toISOString(),
    rootPem: pem(root),
    issuingPem: pem(issuing),
    devices: devices.map(({ chain, psk, notBeforeMs, notAfterMs, ...rest }) => ({
      ...rest,
      notBefore: new Date(notBeforeMs).toISOString(),
      notAfter: new Date(notAfterMs).toISOString(),
      chainPem: chain.map(pem).join(""),
      ...(psk !== undefined && { psk: psk.toString("hex") }),
    })),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}
