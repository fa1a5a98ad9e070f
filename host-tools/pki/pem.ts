/** PEM (RFC 7468) and DER, both ways. */

export type PemLabel = "CERTIFICATE" | "CERTIFICATE REQUEST" | "PRIVATE KEY" | "X509 CRL";

/** One PEM block, ending in a line feed. */
export function toPem(label: PemLabel, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/**
 * The blocks of `label` in a PEM text, in order. Text outside of blocks is ignored, as RFC 7468 allows.
 * @throws Error when a block is cut off or holds what is not base64
 */
export function fromPem(label: PemLabel, pem: string): Uint8Array[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Uint8Array[] = [];
  for (let at = pem.indexOf(begin); at >= 0; at = pem.indexOf(begin, at)) {
    const stop = pem.indexOf(end, at);
    if (stop < 0) throw new Error(`a ${label} block has no end`);
    const text = pem.slice(at + begin.length, stop).replace(/\s/g, "");
    const der = Buffer.from(text, "base64");
    if (der.length === 0 || der.toString("base64") !== text) throw new Error(`a ${label} block is not base64`);
    blocks.push(der);
    at = stop;
  }
  return blocks;
}
