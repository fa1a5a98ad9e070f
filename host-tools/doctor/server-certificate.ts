/** What is wrong with a broker's certificate, whether it comes from a file or from a handshake. */
import type { CertificateFacts } from "./certificate-files.js";
import type { Severity } from "./finding.js";

const DAY_MS = 86_400_000;
/** Certificates that live 90 days are renewed 30 before their end; two weeks before it, something has failed. */
const EXPIRES_SOON_MS = 14 * DAY_MS;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const ANY_PURPOSE = "2.5.29.37.0";
/** Names that no client can ever look up (RFC 2606). */
const RESERVED = /\.(invalid|example)$/i;

export interface CertificateProblem {
  /** A predicate: "expired on ...". */
  readonly what: string;
  readonly severity: Severity;
}

/** @param host the name clients connect by, where that is known */
export function serverCertificateProblems(leaf: CertificateFacts, nowMs: number, host?: string): CertificateProblem[] {
  const problems: CertificateProblem[] = [];
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  if (leaf.notAfterMs <= nowMs) problems.push({ what: `expired on ${day(leaf.notAfterMs)}`, severity: "high" });
  else if (leaf.notBeforeMs > nowMs) problems.push({ what: `is valid only from ${day(leaf.notBeforeMs)}`, severity: "high" });
  else if (leaf.notAfterMs - nowMs < Math.min(EXPIRES_SOON_MS, (leaf.notAfterMs - leaf.notBeforeMs) / 5)) {
    problems.push({ what: `expires on ${day(leaf.notAfterMs)}`, severity: "medium" });
  }
  if (leaf.weakness !== undefined)
    problems.push({ what: `is weak: ${leaf.weakness}; OpenSSL 3 refuses it at its default security level`, severity: "high" });
  if (leaf.names.length === 0) problems.push({ what: "names no host in subjectAltName: clients that check it refuse", severity: "medium" });
  else if (host !== undefined && leaf.certificate.checkHost(host) === undefined && leaf.certificate.checkIP(host) === undefined) {
    problems.push({ what: `is for ${leaf.names.join(", ")}, not for ${host}: clients that check it refuse`, severity: "high" });
  } else if (leaf.names.every((name) => RESERVED.test(name))) {
    problems.push({
      what: `is for ${leaf.names.join(", ")} alone, a name that no broker can have: clients that check it refuse`,
      severity: "medium",
    });
  }
  const purposes = leaf.certificate.keyUsage as readonly string[] | undefined;
  if (purposes !== undefined && !purposes.includes(SERVER_AUTH) && !purposes.includes(ANY_PURPOSE)) {
    problems.push({ what: "is not meant for a server (extendedKeyUsage): clients that check it refuse", severity: "high" });
  }
  return problems;
}
