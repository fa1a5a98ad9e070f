/**
 * How much a failed attempt says against the certificate that was shown. The cheapest explanation comes first: a wrong password, an
 * authentication backend that is away, a clock, an alert that anybody on the way could have sent.
 */
import { failure, namesCertificate, type Failure, type FailureCode } from "../failure.js";
import type { CertificateInfo } from "../identity/certificate.js";
import type { TrustedTime } from "../identity/trusted-time.js";

/**
 * - `certain`: known on this side: there is no certificate, or no key for it.
 * - `verdict`: a broker that had proved who it is named this certificate, and no cheaper explanation is left.
 * - `refusal`: a broker that had proved who it is refused this device, but its own clock, CA list or backend may be at fault. Counts only
 *   when it lasts.
 * - `suspicion`: somebody on the way may have made it up. Counts only when it lasts very long, if at all.
 * - `none`: says nothing about the certificate.
 */
export type Evidence = "certain" | "verdict" | "refusal" | "suspicion" | "none";

export interface Circumstances {
  /** The certificate that was shown; undefined where there was none, or a pre-shared key. */
  certificate: CertificateInfo | undefined;
  /** A user name, password or token was sent with CONNECT. */
  usesLogin: boolean;
  /** The certificate was in use, and CONNACK had accepted it: what ended the connection later is no verdict on it. */
  wasInUse: boolean;
  /** The server's certificate is one for servers. */
  isServerProved: boolean;
  time: Pick<TrustedTime, "nowMs" | "provedMs">;
  /** Whether refusals that are not protected count. */
  believeUnprotected: boolean;
}

export interface Judgement {
  /** The failure, or what is known here to be behind it. */
  reason: Failure;
  evidence: Evidence;
  /** The broker refused the login, as far as can be told. */
  isLoginRefused: boolean;
}

/** Without an alert these are found out before anything is sent. */
const KNOWN_HERE: ReadonlySet<FailureCode> = new Set<FailureCode>([
  "KEY_MISSING",
  "KEY_MISMATCH",
  "CERTIFICATE_REQUIRED",
  "CERTIFICATE_REJECTED",
]);

/** Whether a broker says with it that it does not take the certificate, or nobody by this one. */
function isRefusal(code: FailureCode): boolean {
  return code.startsWith("CERTIFICATE_") || code === "NOT_AUTHORIZED" || code === "BAD_USERNAME_OR_PASSWORD";
}

const LOGIN_REFUSALS: ReadonlySet<FailureCode> = new Set<FailureCode>([
  "NOT_AUTHORIZED",
  "BAD_USERNAME_OR_PASSWORD",
  "BAD_AUTHENTICATION_METHOD",
]);

/** Ends that do not say what was wrong. */
const SILENT: ReadonlySet<FailureCode> = new Set<FailureCode>(["CONNECTION_RESET", "CONNECTION_CLOSED", "TLS_FAILED"]);

/** What is behind the failure of an attempt, and how much it says against the certificate. */
export function judge(given: Failure, circumstances: Circumstances): Judgement {
  const { certificate, usesLogin, wasInUse, time } = circumstances;
  const hasEnded = certificate !== undefined && time.provedMs() > certificate.notAfterMs;
  if (wasInUse) return { reason: given, evidence: "none", isLoginRefused: false };
  if (!certificate) {
    const isLoginRefused = usesLogin && LOGIN_REFUSALS.has(given.code);
    return { reason: given, evidence: evidenceOf(given, circumstances, false), isLoginRefused };
  }
  // Some brokers close TLS without an alert, or refuse without a reason: a certificate that has certainly ended is then the likeliest
  // cause.
  if (hasEnded && (SILENT.has(given.code) || LOGIN_REFUSALS.has(given.code)))
    return { reason: endedFailure(certificate), evidence: "verdict", isLoginRefused: false };
  const reason =
    !hasEnded && LOGIN_REFUSALS.has(given.code) && time.nowMs() > certificate.notAfterMs ? withItsEnd(given, certificate) : given;
  if (usesLogin && LOGIN_REFUSALS.has(given.code)) return { reason, evidence: "none", isLoginRefused: true };
  return { reason, evidence: evidenceOf(given, circumstances, hasEnded), isLoginRefused: false };
}

/** The wall clock may be wrong, so the refusal keeps its code; whoever reads it learns what is likely. */
function withItsEnd(given: Failure, certificate: CertificateInfo): Failure {
  return { ...given, message: `${given.message}; by this clock ${endedFailure(certificate).message}` };
}

function evidenceOf(
  { code, alert }: Failure,
  { certificate, isServerProved, time, believeUnprotected }: Circumstances,
  hasEnded: boolean,
): Evidence {
  const hasEndedByClock = certificate !== undefined && time.nowMs() > certificate.notAfterMs;
  if (alert === undefined && KNOWN_HERE.has(code)) return "certain";
  if (SILENT.has(code))
    return hasEndedByClock || (believeUnprotected && alert !== undefined && namesCertificate(alert)) ? "suspicion" : "none";
  if (!isRefusal(code)) return "none";
  if (!isServerProved) return "suspicion";
  return code === "CERTIFICATE_REVOKED" || hasEnded || (code === "CERTIFICATE_EXPIRED" && hasEndedByClock) ? "verdict" : "refusal";
}

function endedFailure({ serial, notAfterMs }: CertificateInfo): Failure {
  return failure("CERTIFICATE_EXPIRED", `the device's certificate ${serial} expired ${new Date(notAfterMs).toISOString()}`);
}
