/**
 * Who a server is, judged as devices judge it: Node's OpenSSL has checked signatures, chain and dates, and this holds it to the rules of
 * the engine on the chip (`firmware/native/tls-verify.c`), so that a broker passes here exactly if it passes there, and fails for the same
 * reason. `test/cross-engine/broker-certificates.test.ts` holds both to one table.
 */
import { X509Certificate } from "node:crypto";
import { isIP, SocketAddress } from "node:net";
import type { DetailedPeerCertificate } from "node:tls";
import { readCertificate } from "../../sdk/identity/certificate.js";
import { certificateProfile, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME } from "../../sdk/identity/certificate-profile.js";
import type { CertificateProfile } from "../../sdk/identity/certificate-profile.js";
import { isIssuedBy } from "./node-chain-verifier.js";
import type { FailureCode } from "../../sdk/failure.js";

export interface ServerVerdict {
  code: FailureCode;
  /** One clause about the server's certificate. */
  words: string;
}

interface Shown {
  certificate: X509Certificate;
  profile: CertificateProfile;
  /** Nobody checks the signature of an anchor. */
  isAnchor?: true;
}

/** No chain is longer, and none takes more bytes: what the engine on a chip has room for. */
const LONGEST_CHAIN = 8;
const CHAIN_BYTES_MAX = 16_384;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;
const SERVER_AUTH_DER = Buffer.from("06082b06010505070301", "hex");
const DIGITAL_SIGNATURE = 0x80;

/**
 * Why a server is refused; undefined when nothing is wrong with it.
 * @param peer what it showed, linked by `issuerCertificate`
 * @param serverName a DNS name, without a final dot, or an address
 */
export function judgeServer(
  peer: DetailedPeerCertificate,
  serverName: string,
  anchors: readonly X509Certificate[],
  nowMs = Date.now(),
): ServerVerdict | undefined {
  const shown = shownBy(peer);
  if (!Array.isArray(shown)) return shown;
  const path = pathToAnchor(shown, anchors, nowMs);
  if (!(path ?? shown).every((link) => link.isAnchor || link.profile.isSignedStrongly))
    return { code: "SERVER_CERTIFICATE_INVALID", words: "a certificate that it shows is signed weakly" };
  if (path === undefined) return { code: "SERVER_CA_UNKNOWN", words: "no chain from its certificate to a trusted CA" };
  const dates = path.map(({ certificate }) => readCertificate(certificate.raw));
  if (dates.some(({ notAfterMs }) => nowMs > notAfterMs))
    return { code: "SERVER_CERTIFICATE_EXPIRED", words: "its certificate has expired" };
  if (dates.some(({ notBeforeMs }) => nowMs < notBeforeMs))
    return { code: "SERVER_CERTIFICATE_NOT_YET_VALID", words: "its certificate is not valid yet" };
  if (!maySign(path[0] as Shown) || !path.every(mayServe))
    return { code: "SERVER_CERTIFICATE_INVALID", words: "its certificate is not for servers" };
  return isFor(path[0] as Shown, serverName)
    ? undefined
    : { code: "SERVER_NAME_MISMATCH", words: `its certificate is not for ${serverName}` };
}

/** The certificates in the order in which each vouches for the one before, or what makes them unusable. */
function shownBy(peer: DetailedPeerCertificate): Shown[] | ServerVerdict {
  const unusable = (what: string): ServerVerdict => ({ code: "SERVER_CERTIFICATE_INVALID", words: `a certificate that it shows ${what}` });
  const shown: Shown[] = [];
  let sizeBytes = 0;
  for (let link: DetailedPeerCertificate | undefined = peer; link !== undefined && shown.length <= LONGEST_CHAIN;) {
    sizeBytes += link.raw.length;
    if (sizeBytes > CHAIN_BYTES_MAX) return unusable("is too large");
    try {
      const profile = certificateProfile(link.raw);
      if (profile.problem !== undefined) return unusable(profile.problem);
      shown.push({ certificate: new X509Certificate(link.raw), profile });
    } catch {
      return unusable("cannot be read");
    }
    const issuer: DetailedPeerCertificate | undefined = link.issuerCertificate;
    link = issuer === link ? undefined : issuer;
  }
  return shown;
}

/** From the leaf to an anchor, both included; of several anchors one whose dates hold. */
function pathToAnchor(shown: readonly Shown[], anchors: readonly X509Certificate[], nowMs: number): Shown[] | undefined {
  const path: Shown[] = [];
  const byDates = [...anchors].sort((one, other) => Number(isCurrent(other, nowMs)) - Number(isCurrent(one, nowMs)));
  for (const link of shown) {
    const { certificate } = link;
    if (path.length > 0 && !isIssuedBy((path.at(-1) as Shown).certificate, certificate)) return undefined;
    path.push(link);
    // A broker's own self-signed certificate may be its anchor; one that a CA has issued may not stand in for it.
    const isSelfSigned = certificate.checkIssued(certificate);
    if (isSelfSigned && anchors.some((anchor) => anchor.raw.equals(certificate.raw)))
      return [...path.slice(0, -1), { ...link, isAnchor: true }];
    const anchor = byDates.find((one) => isIssuedBy(certificate, one));
    if (anchor !== undefined) return [...path, { certificate: anchor, profile: certificateProfile(anchor.raw), isAnchor: true }];
  }
  return undefined;
}

function isCurrent(certificate: X509Certificate, nowMs: number): boolean {
  return nowMs >= Date.parse(certificate.validFrom) && nowMs <= Date.parse(certificate.validTo);
}

/**
 * Each handshake is signed by the server's key. RFC 5280 section 4.2.1.3: the first bit of the string, behind tag, length and unused bits.
 */
function maySign({ profile }: Shown): boolean {
  const usage = profile.extensions.get(KEY_USAGE);
  return usage === undefined || ((usage.value[3] ?? 0) & DIGITAL_SIGNATURE) !== 0;
}

/** A certificate that says what it is for, a CA's too, must say that it is for servers. */
function mayServe({ profile }: Shown): boolean {
  const usage = profile.extensions.get(EXTENDED_KEY_USAGE);
  return usage === undefined || Buffer.from(usage.value).includes(SERVER_AUTH_DER);
}

/** By its alternative names; by its common name only where it has none at all (RFC 9525 knows no common names any more). */
function isFor({ certificate, profile }: Shown, serverName: string): boolean {
  const names = profile.extensions.get(SUBJECT_ALT_NAME);
  const family = isIP(serverName);
  if (names === undefined) return family === 0 && nameMatches(readCertificate(certificate.raw).commonName, serverName);
  for (const [tag, value] of generalNames(names.value)) {
    if (
      family === 0
        ? tag === DNS_NAME && nameMatches(value.toString("latin1"), serverName)
        : tag === IP_ADDRESS && addressText(value) === canonical(serverName, family)
    )
      return true;
  }
  return false;
}

/** GeneralNames (RFC 5280 section 4.2.1.6): a sequence of short elements. */
function* generalNames(value: Uint8Array): Generator<[number, Buffer]> {
  const der = Buffer.from(value);
  const lengthBytes = (at: number): number => (((der[at] ?? 0) & 0x80) === 0 ? 0 : (der[at] ?? 0) & 0x7f);
  const length = (at: number): number => (lengthBytes(at) === 0 ? (der[at] ?? 0) : der.readUIntBE(at + 1, lengthBytes(at)));
  for (let at = 2 + lengthBytes(1); at + 1 < der.length;) {
    const start = at + 2 + lengthBytes(at + 1);
    const end = start + length(at + 1);
    yield [der[at] ?? 0, der.subarray(start, end)];
    at = end;
  }
}

/** A star is one whole label in front, and two stand behind it. */
function nameMatches(pattern: string, name: string): boolean {
  const [wanted, has] = [pattern.toLowerCase(), name.toLowerCase()];
  if (!wanted.startsWith("*.")) return wanted === has;
  const dot = has.indexOf(".");
  return dot > 0 && wanted.includes(".", 2) && wanted.slice(1) === has.slice(dot);
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return "";
  return canonical((bytes.toString("hex").match(/.{4}/g) ?? []).join(":"), 6);
}

function canonical(address: string, family: number): string {
  return family === 6 ? new SocketAddress({ address, family: "ipv6" }).address : address;
}
