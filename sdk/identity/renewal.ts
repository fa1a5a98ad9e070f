/** When to ask for a new certificate: plain arithmetic over time, no timers. */
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
 * How long to wait before an enrolment that failed is tried again, milliseconds: a hundredth of the lifetime, so that a short-lived certificate still has
 * dozens of tries, between 1 second and 1 hour, with full jitter on top.
 */
export function enrolRetryMs(certificate: CertificateInfo | undefined, fraction: number, askedMs = 0): number {
  const lifetimeMs = certificate ? certificate.notAfterMs - certificate.notBeforeMs : 0;
  const baseMs = Math.min(3_600_000, Math.max(1_000, lifetimeMs / 100));
  return Math.round(Math.max(askedMs, baseMs) + fraction * baseMs);
}
