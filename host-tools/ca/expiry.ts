/** What of a CA expires when, and what of it needs somebody's attention. */
import { X509Certificate } from "node:crypto";
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import { unprovedFiles } from "../ca-directory/ca-files.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { readCertificates } from "./context.js";
import { isAuthorityName } from "./reserved-names.js";
import { readRootCrlTimes } from "./revocation.js";
import type { ListedName } from "../ca-directory/registry.js";
import type { CaParts, CaView } from "./ca-without-passphrase.js";

const DAY_MS = 86_400_000;
/** Attention is asked for this long before the end, or in the last quarter of a shorter life. */
const SOON_MS = 60 * DAY_MS;
/** A device renews at two thirds of the life of its certificate, less a little. */
const OVERDUE = 0.9;

export interface Expiry {
  readonly what: "root" | "previous-root" | "issuing" | "broker" | "crl" | "root-crl" | "authority" | "device" | "client";
  /** Of a device or client. */
  readonly name?: string;
  readonly notAfterMs: number;
  readonly state: "ok" | "soon" | "expired";
}

export interface CaStatus {
  /** Root, during its rollover the root before, issuing CA, broker, revocation lists, and the authority where there was one. */
  readonly parts: readonly Expiry[];
  /** Devices and clients with a valid certificate, by their end. */
  readonly names: readonly Expiry[];
  /** False when something needs attention: a part, or a name whose certificate was not renewed in time. */
  readonly isWell: boolean;
}

/** When root, the root before during its rollover, issuing CA, broker's certificate and revocation lists end. */
export function partsExpiry(ca: CaParts, nowMs: number): Expiry[] {
  const [root, previousRoot] = ca.trustAnchors;
  const certificates = { root, "previous-root": previousRoot, issuing: ca.issuing, broker: ca.broker };
  const parts = Object.entries(certificates).flatMap(([what, der]) =>
    der === undefined ? [] : [certificateExpiry(what as Expiry["what"], der, nowMs)],
  );
  const crl: Expiry = { what: "crl", notAfterMs: ca.crlNextUpdateMs, state: stateOf(ca.crlThisUpdateMs, ca.crlNextUpdateMs, nowMs) };
  const rootCrl =
    ca.rootCrl === undefined
      ? []
      : [
          {
            what: "root-crl" as const,
            notAfterMs: ca.rootCrl.nextUpdateMs,
            state: stateOf(ca.rootCrl.thisUpdateMs, ca.rootCrl.nextUpdateMs, nowMs),
          },
        ];
  return [...parts, crl, ...rootCrl];
}

export function statusOf(view: CaView, nowMs: number): CaStatus {
  const parts = partsExpiry(view, nowMs);
  const names = view.list().flatMap((name) => nameExpiry(name, nowMs));
  // The authority's certificate lives for a day and is made anew by each that starts: one that ended says only that none runs.
  const authority = names.filter(({ what }) => what === "authority");
  const others = names.filter(({ what }) => what !== "authority").sort((a, b) => a.notAfterMs - b.notAfterMs);
  const isWell = [...parts, ...others].every(({ state }) => state === "ok");
  return { parts: [...parts, ...authority], names: others, isWell };
}

/** Past nine tenths of its certificate's life without a renewal, or without a certificate that is in date. */
export function isOverdue(certificate: { readonly notBeforeMs: number; readonly notAfterMs: number } | undefined, nowMs: number): boolean {
  return certificate === undefined || nowMs > certificate.notBeforeMs + OVERDUE * (certificate.notAfterMs - certificate.notBeforeMs);
}

/**
 * When the root, the root before during its rollover, the issuing CA or the root's revocation list ends first; undefined where the files
 * cannot be read now. Reads no registry: cheap enough to look often.
 */
export function caEndsMs(directory: CaDirectory): number | undefined {
  try {
    const files = unprovedFiles(directory);
    const rootFiles = files.has(FILES.previousRoot) ? [FILES.root, FILES.previousRoot] : [FILES.root];
    const certificates = [...rootFiles, FILES.issuing].flatMap((file) => readCertificates(files, file).slice(0, 1));
    const ends = certificates.map((der) => Date.parse(new X509Certificate(der).validTo));
    return Math.min(...ends, readRootCrlTimes(files)?.nextUpdateMs ?? Infinity);
  } catch {
    return undefined;
  }
}

function certificateExpiry(what: Expiry["what"], der: Uint8Array, nowMs: number): Expiry {
  const { validFrom, validTo } = new X509Certificate(der);
  return { what, notAfterMs: Date.parse(validTo), state: stateOf(Date.parse(validFrom), Date.parse(validTo), nowMs) };
}

function nameExpiry({ name, kind, state, notBeforeMs, notAfterMs }: ListedName, nowMs: number): Expiry[] {
  if (state !== "active" || notBeforeMs === undefined || notAfterMs === undefined) return [];
  return [{ what: isAuthorityName(name) ? "authority" : kind, name, notAfterMs, state: stateOf(notBeforeMs, notAfterMs, nowMs) }];
}

function stateOf(notBeforeMs: number, notAfterMs: number, nowMs: number): Expiry["state"] {
  if (notAfterMs <= nowMs) return "expired";
  return notAfterMs - nowMs < Math.min(SOON_MS, (notAfterMs - notBeforeMs) / 4) ? "soon" : "ok";
}
