/** The address below which revocation lists are found. It needs no certificates, which the command line loads only when a command does. */
import { HawserError } from "../../sdk/errors.js";

/** With it, a certificate of a device still fits where it fitted before. */
const MAX_BASE_LENGTH = 100;

/** Returns the base without a slash at its end. Throws `BAD_URL`. */
export function checkCrlBase(text: string): string {
  const base = text.replace(/\/$/, "");
  const next = "Use http://HOST[:PORT][/PATH], e.g. http://crl.example.com:8880.";
  // Whoever checks the server of https:// needs a revocation list first (RFC 5280 section 8).
  if (/^https:/i.test(base))
    throw new HawserError("BAD_URL", "revocation lists are signed, and are fetched over plain http:// to find them at all", next);
  const host = String.raw`(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])`;
  if (base.length > MAX_BASE_LENGTH || !new RegExp(String.raw`^http://${host}(?::\d{1,5})?(?:/[A-Za-z0-9._~-]+)*$`).test(base))
    throw new HawserError("BAD_URL", `${JSON.stringify(text)} cannot be where revocation lists are found`, next);
  return base;
}
