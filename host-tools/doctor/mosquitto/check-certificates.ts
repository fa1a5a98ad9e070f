/** The broker's certificate, the authorities it trusts and their revocation lists (HW045..HW050). */
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  certificatesOf,
  certificatesOfDirectory,
  groupBitsOf,
  isPublicAuthority,
  keyProblem,
  revocationListsOf,
} from "../certificate-files.js";
import type { CertificateFacts, RevocationFacts } from "../certificate-files.js";
import { serverCertificateProblems } from "../server-certificate.js";
import type { AuditContext } from "./audit-context.js";
import { removeLine } from "./audit-context.js";
import { capital } from "./check-access.js";
import { readText } from "./conf-reader.js";
import type { Directive } from "./conf-reader.js";
import { demandsCertificate, isWebSocket, nameOf, transportOf } from "./model.js";
import type { Listener } from "./model.js";

const DAY_MS = 86_400_000;
const SYSTEM_TRUST = /^\/etc\/ssl\/certs(\/(ca-certificates\.crt)?)?$|^\/usr\/(local\/)?share\/ca-certificates|^\/etc\/pki\/(tls|ca-trust)/;

export function checkCertificates(ctx: AuditContext): void {
  for (const listener of ctx.model.listeners) {
    if (transportOf(listener) !== "certificate") continue;
    checkServerCertificate(ctx, listener);
    checkKeyExchange(ctx, listener);
    checkAnchors(ctx, listener);
    const trusted = trustedAuthorities(ctx, listener);
    if (demandsCertificate(listener)) checkAuthorities(ctx, listener, trusted);
    checkRevocation(ctx, listener, trusted);
  }
}

function checkServerCertificate(ctx: AuditContext, listener: Listener): void {
  const line = listener.settings.get("certfile");
  const key = listener.settings.get("keyfile");
  if (line === undefined || key === undefined) return;
  const pem = ctx.read(line.value);
  const leaf = pem === undefined ? undefined : certificatesOf(pem)?.[0];
  if (pem !== undefined && leaf === undefined)
    return ctx.find("HW002", `certfile ${line.value} holds no certificate: the broker does not start.`, { place: line.place });
  if (leaf === undefined) return;
  for (const problem of serverCertificateProblems(leaf, ctx.nowMs)) {
    ctx.find("HW045", `The certificate of ${nameOf(listener)} ${problem.what}.`, { place: line.place, severity: problem.severity });
  }
  const keyPem = listener.settings.get("tls_engine") === undefined ? ctx.read(key.value) : undefined;
  const problem = keyPem === undefined ? undefined : keyProblem(leaf.certificate, keyPem);
  if (problem === undefined) return;
  const what = {
    another: `is not the key of certfile ${line.value}: the broker does not start`,
    encrypted: "is encrypted: the broker asks for its passphrase at every start, and cannot run as a service",
    "no key": "holds no private key: the broker does not start",
  }[problem];
  ctx.find("HW002", `keyfile ${key.value} ${what}.`, {
    place: key.place,
    ...(problem === "encrypted" ? { fix: [`openssl pkey -in ${key.value} -out ${key.value}.plain`] } : {}),
  });
}

/** OpenSSL takes no Diffie-Hellman group below 2048 bits at security level 2, the default of Debian and of OpenSSL 3.2. */
const SAFE_GROUP_BITS = 2048;

function checkKeyExchange(ctx: AuditContext, { settings }: Listener): void {
  const line = settings.get("dhparamfile");
  const pem = line === undefined ? undefined : ctx.read(line.value);
  if (line === undefined || pem === undefined) return;
  const { place, value } = line;
  const bits = groupBitsOf(pem);
  const edits = [removeLine(place)];
  if (bits === undefined)
    ctx.find("HW002", `dhparamfile ${value} holds no Diffie-Hellman group: the broker does not start.`, { place, edits });
  else if (bits < SAFE_GROUP_BITS) {
    const isLowered = /@SECLEVEL=[01]\b/i.test(settings.text("ciphers") ?? "");
    const what = `The Diffie-Hellman group in ${value} has ${bits} bits`;
    if (isLowered) ctx.find("HW044", `${what}, which can be broken, and @SECLEVEL lets it pass.`, { place, edits });
    else ctx.find("HW002", `${what}, which OpenSSL refuses as too small: the broker does not start.`, { place, edits });
  }
}

function trustedAuthorities(ctx: AuditContext, { settings }: Listener): readonly CertificateFacts[] {
  const file = settings.text("cafile");
  const folder = settings.text("capath");
  const pem = file === undefined || SYSTEM_TRUST.test(file) ? undefined : ctx.read(file);
  return [
    ...(pem === undefined ? [] : (certificatesOf(pem) ?? [])),
    ...(folder === undefined || SYSTEM_TRUST.test(folder) ? [] : (certificatesOfDirectory(ctx.pathOf(folder)) ?? [])),
  ];
}

/** What is not a CA's certificate, and not its own issuer, vouches for nobody. */
function checkAnchors(ctx: AuditContext, listener: Listener): void {
  const line = listener.settings.get("cafile");
  const pem = line === undefined ? undefined : ctx.read(line.value);
  if (line === undefined || pem === undefined) return;
  const held = certificatesOf(pem) ?? [];
  if (held.length === 0) ctx.find("HW002", `cafile ${line.value} holds no certificate: the broker does not start.`, { place: line.place });
  else if (
    demandsCertificate(listener) &&
    listener.settings.get("capath") === undefined &&
    !held.some((one) => one.isCa || one.isSelfIssued)
  )
    ctx.find("HW025", `cafile ${line.value} holds no certificate of a CA: every client certificate is refused.`, { place: line.place });
}

function checkAuthorities(ctx: AuditContext, listener: Listener, trusted: readonly CertificateFacts[]): void {
  for (const line of [listener.settings.get("cafile"), listener.settings.get("capath")]) {
    if (line === undefined || !SYSTEM_TRUST.test(line.value)) continue;
    ctx.find(
      "HW050",
      `${capital(nameOf(listener))} accepts client certificates of every public authority of this system (${line.value}): who orders one with the name of your console is your console.`,
      { place: line.place, fix: ["cafile /path/to/your-ca.crt"] },
    );
  }
  const foreign = trusted.filter((authority) => authority.isCa && isPublicAuthority(authority));
  const line = listener.settings.get("capath", "cafile");
  if (foreign.length === 0 || line === undefined) return;
  const holder =
    [listener.settings.get("cafile"), listener.settings.get("capath")].find(
      (option) => option !== undefined && holds(ctx, option, foreign[0]),
    ) ?? line;
  const what = `${capital(nameOf(listener))} accepts client certificates of ${foreign.map(({ commonName }) => commonName).join(", ")}, a public authority (${holder.name} ${holder.value}): who orders one with the name of your console is your console.`;
  ctx.find("HW050", what, { place: holder.place, fix: ["cafile /path/to/your-ca.crt"] });
}

function holds(ctx: AuditContext, option: Directive, authority: CertificateFacts | undefined): boolean {
  const held = option.name === "cafile" ? certificatesOf(ctx.read(option.value) ?? "") : certificatesOfDirectory(ctx.pathOf(option.value));
  return held?.some(({ fingerprint }) => fingerprint === authority?.fingerprint) ?? false;
}

function checkRevocation(ctx: AuditContext, listener: Listener, trusted: readonly CertificateFacts[]): void {
  const line = listener.settings.get("crlfile");
  if (line === undefined) {
    if (demandsCertificate(listener))
      ctx.note(
        `${capital(nameOf(listener))} has no crlfile: a stolen device's certificate cannot be shut out before it expires, except by the ACL.`,
        listener.place,
      );
    return;
  }
  const { place } = line;
  if (isWebSocket(listener) && !ctx.model.version.atLeast(2, 1)) {
    return ctx.find("HW047", `${capital(nameOf(listener))} is a WebSocket listener, which ignores crlfile: revoked certificates get in.`, {
      place,
      severity: demandsCertificate(listener) ? "high" : "low",
      edits: [removeLine(place)],
    });
  }
  const pem = ctx.read(line.value);
  const lists = pem === undefined ? undefined : revocationListsOf(pem);
  if (pem !== undefined && lists === undefined)
    return ctx.find("HW002", `crlfile ${line.value} holds no revocation list: the broker does not start.`, { place });
  if (!demandsCertificate(listener))
    return ctx.find(
      "HW003",
      `crlfile has no effect on ${nameOf(listener)}: without require_certificate true no certificate is looked at.`,
      { place },
    );
  for (const list of lists ?? []) checkList(ctx, line, list);
  if (lists !== undefined) {
    checkCoverage(ctx, line, lists, trusted);
    checkRevokedAuthorities(ctx, line, lists, trusted);
  }
}

function checkList(ctx: AuditContext, { value, place }: Directive, { issuer, nextUpdateMs }: RevocationFacts): void {
  if (nextUpdateMs === undefined) return;
  const day = new Date(nextUpdateMs).toISOString().slice(0, 10);
  const fix = ["# make a new list, put it there, and: kill -HUP $(pidof mosquitto)"];
  if (nextUpdateMs <= ctx.nowMs)
    ctx.find("HW046", `The revocation list of ${issuer} in ${value} expired on ${day}: every client of that CA is refused.`, {
      place,
      fix,
    });
  else if (nextUpdateMs - ctx.nowMs < 2 * DAY_MS)
    ctx.find("HW046", `The revocation list of ${issuer} in ${value} expires on ${day}: from then on every client of that CA is refused.`, {
      place,
      fix,
      severity: "medium",
    });
}

function checkCoverage(
  ctx: AuditContext,
  { value, place }: Directive,
  lists: readonly RevocationFacts[],
  trusted: readonly CertificateFacts[],
): void {
  const authorities = trusted.filter(({ isCa }) => isCa);
  const uncovered = authorities.filter(({ subject }) => !lists.some(({ issuer }) => issuer === subject));
  for (const authority of uncovered) {
    const isAbove = authorities.some((other) => other !== authority && other.issuer === authority.subject);
    // A root whose issuing CA is in the file usually issues no client certificates itself.
    if (isAbove)
      ctx.note(
        `${value} has no revocation list of ${authority.commonName}; clients with a certificate directly of that CA are refused.`,
        place,
      );
    else ctx.find("HW048", `${value} has no revocation list of ${authority.commonName}: every client of that CA is refused.`, { place });
  }
}

function checkRevokedAuthorities(
  ctx: AuditContext,
  { value, place }: Directive,
  lists: readonly RevocationFacts[],
  trusted: readonly CertificateFacts[],
): void {
  const known = new Map(
    [...trusted, ...neighbours(ctx.pathOf(value))].filter(({ isCa }) => isCa).map((facts) => [facts.fingerprint, facts] as const),
  );
  for (const authority of known.values()) {
    if (authority.isSelfIssued || !lists.some(({ issuer, serials }) => issuer === authority.issuer && serials.has(authority.serial)))
      continue;
    // Without a list of its own its clients are refused anyway.
    if (!lists.some(({ issuer }) => issuer === authority.subject)) continue;
    ctx.find(
      "HW049",
      `${authority.commonName} is revoked in ${value}, but mosquitto checks only the client's own certificate: certificates of that CA still get in.`,
      { place },
    );
  }
}

/** Authorities beside the list: a revoked issuing CA need not be in cafile, clients bring it along. */
function neighbours(path: string): CertificateFacts[] {
  const folder = dirname(path);
  try {
    const names = readdirSync(folder).filter((name) => /\.(crt|pem|cer)$/.test(name));
    return names.slice(0, 200).flatMap((name) => certificatesOf(readText(join(folder, name)) ?? "") ?? []);
  } catch {
    return [];
  }
}
