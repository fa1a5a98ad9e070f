/**
 * Another root of the same CA (RFC 4210 section 4.4), offered with the links that lead to it: each is a certificate of a newer root's key,
 * signed by the root before. No number is needed against replays: there are no links back to an older root.
 */
import { hexEncode } from "../encoding/text.js";
import { HawserError } from "../errors.js";
import type { ChainVerifier } from "../platform.js";
import { checkUsable } from "./certificate-profile.js";
import { certificateParts } from "./certificate.js";

export interface AnchorOffer {
  /** The anchors to trust now, DER. */
  anchors: readonly Uint8Array[];
  /** What vouches for them, DER. */
  links: readonly Uint8Array[];
}

export interface JudgedOffer {
  /** Anchors that the device did not have, the newest first. */
  added: readonly Uint8Array[];
  /** Present ones, older than one of the offer, that the offer no longer names. */
  superseded: readonly Uint8Array[];
}

/**
 * Judges an offer by the present anchors, of one CA's the newest first.
 *
 * A link counts only if a present anchor, or a link that counts, has signed it itself, and only if it is its own issuer by name: what an
 * issuing CA signs or is makes no anchor.
 * @throws HawserError `UNTRUSTED_ANCHOR` (nothing is taken of the offer then), `BAD_CERTIFICATE`, `UNSUPPORTED_CERTIFICATE`
 */
export function judgeOffer(present: readonly Uint8Array[], { anchors, links }: AnchorOffer, chains: ChainVerifier): JudgedOffer {
  const [known, offered] = [present.map(hexEncode), anchors.map(hexEncode)];
  const strangers = anchors.filter((_, index) => !known.includes(offered[index] ?? ""));
  for (const der of strangers) checkUsable(der, "a trust anchor");
  const vouched = linksThatCount(present, links, chains);
  const added: Uint8Array[] = [];
  for (const link of vouched) added.unshift(...strangers.filter((der) => !added.includes(der) && isRootOf(der, link, chains)));
  if (added.length < strangers.length) {
    throw new HawserError(
      "UNTRUSTED_ANCHOR",
      "a trust anchor was offered that no present one vouches for",
      "Find out who answers the device's certificate requests.",
    );
  }
  return { added, superseded: supersededOf(present, known, offered, added) };
}

/** From the oldest to the newest. */
function linksThatCount(present: readonly Uint8Array[], links: readonly Uint8Array[], chains: ChainVerifier): Uint8Array[] {
  const counting: Uint8Array[] = [];
  let left = links.filter((link) => subjectOf(link) === issuerOf(link));
  for (;;) {
    const next = left.find((link) => chains.leadsTo([link], [...present, ...counting]));
    if (next === undefined) return counting;
    counting.push(next);
    left = left.filter((link) => link !== next);
  }
}

/** Whether it is the self-signed certificate of the key that the link is for. */
function isRootOf(anchor: Uint8Array, link: Uint8Array, chains: ChainVerifier): boolean {
  return subjectOf(anchor) === subjectOf(link) && keyOf(anchor) === keyOf(link) && chains.leadsTo([anchor], [link]);
}

/**
 * An old offer that comes again names none that is newer, and supersedes nothing. Anchors of other names are of other CAs and no matter of
 * this one's.
 */
function supersededOf(
  present: readonly Uint8Array[],
  known: readonly string[],
  offered: readonly string[],
  added: readonly Uint8Array[],
): Uint8Array[] {
  const addedNames = added.map(subjectOf);
  return present.filter((anchor, index) => {
    if (offered.includes(known[index] ?? "")) return false;
    const name = subjectOf(anchor);
    const isNewerNamed = present.some((newer, at) => at < index && offered.includes(known[at] ?? "") && subjectOf(newer) === name);
    return isNewerNamed || addedNames.includes(name);
  });
}

function subjectOf(der: Uint8Array): string {
  const { subject } = certificateParts(der);
  return hexEncode(der.subarray(subject.start, subject.end));
}

function issuerOf(der: Uint8Array): string {
  const { issuer } = certificateParts(der);
  return hexEncode(der.subarray(issuer.start, issuer.end));
}

function keyOf(der: Uint8Array): string {
  const { publicKey } = certificateParts(der);
  return hexEncode(der.subarray(publicKey.start, publicKey.end));
}
