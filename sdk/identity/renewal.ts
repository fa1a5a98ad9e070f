/** When to ask for a new certificate: plain arithmetic over time, no timers. */
import type { BackoffPolicy } from "../backoff.js";
import type { CertificateInfo } from "./certificate.js";

/** The share of the lifetime after which renewal is due, and the share of jitter taken off it (smallstep's renewer does the same). */
const RENEW_AT = 2 / 3;
const JITTER = 1 / 20;

/**
 * The moment at which to renew, milliseconds since the Unix epoch.
 * @param fraction uniform in [0, 1), drawn once per certificate, so that a fleet provisioned in one hour does not renew in one
 */
export function renewAtMs(certificate: CertificateInfo, fraction: number): number {
  const lifetimeMs = certificate.notAfterMs - certificate.notBeforeMs;
  return certificate.notBeforeMs + lifetimeMs * (RENEW_AT - JITTER * fraction);
}

/**
 * How enrolments that failed are tried again: soon at first, for an authority that was only restarting, then no more often than every
 * hundredth of the certificate's lifetime (an hour at most), so that even a short-lived certificate has dozens of tries before it runs out.
 */
export function enrolmentBackoff(certificate: CertificateInfo | undefined): BackoffPolicy {
  const lifetimeMs = certificate ? certificate.notAfterMs - certificate.notBeforeMs : Infinity;
  const capMs = Math.min(3_600_000, Math.max(2_000, lifetimeMs / 100));
  return { baseMs: Math.min(5_000, capMs), capMs, floorMs: 1_000, stableAfterMs: Infinity };
}
