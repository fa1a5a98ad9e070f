/** UTF-8, base64 and hex, for engines that have no TextEncoder, Buffer or atob (XS 13.3 has none of them). */
import { HawserError } from "../errors.js";

/** UTF-8 bytes of a string; a lone surrogate becomes U+FFFD, as the Encoding standard says. */
export function utf8Encode(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 3);
  let length = 0;
  for (const character of text) {
    let code = character.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) {
      bytes[length++] = code;
    } else if (code < 0x800) {
      bytes[length++] = 0xc0 | (code >> 6);
      bytes[length++] = 0x80 | (code & 0x3f);
    } else if (code < 0x10000) {
      bytes[length++] = 0xe0 | (code >> 12);
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f);
      bytes[length++] = 0x80 | (code & 0x3f);
    } else {
      bytes[length++] = 0xf0 | (code >> 18);
      bytes[length++] = 0x80 | ((code >> 12) & 0x3f);
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f);
      bytes[length++] = 0x80 | (code & 0x3f);
    }
  }
  return bytes.slice(0, length);
}

/** The smallest code point a sequence of 1, 2 or 3 continuation bytes may carry: anything lower is an overlong form (RFC 3629 section 3). */
const SMALLEST = [0, 0x80, 0x800, 0x10000];

/**
 * The string of well-formed UTF-8 (RFC 3629).
 * @throws HawserError `BAD_ENCODING` on overlong forms, surrogates, cut-off or stray bytes
 */
export function utf8Decode(bytes: Uint8Array): string {
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at++] ?? 0;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || at + more > bytes.length) throw badEncoding("UTF-8");
    let code = first & (0x3f >> more);
    for (let i = 0; i < more; i++) {
      const next = bytes[at++] ?? 0;
      if ((next & 0xc0) !== 0x80) throw badEncoding("UTF-8");
      code = (code << 6) | (next & 0x3f);
    }
    if (code < (SMALLEST[more] ?? 0) || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw badEncoding("UTF-8");
    text += String.fromCodePoint(code);
  }
  return text;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Standard base64 with padding (RFC 4648 section 4). */
export function base64Encode(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const b = bytes[at + 1];
    const c = bytes[at + 2];
    const group = ((bytes[at] ?? 0) << 16) | ((b ?? 0) << 8) | (c ?? 0);
    text += BASE64.charAt(group >> 18) + BASE64.charAt((group >> 12) & 63);
    text += b === undefined ? "=" : BASE64.charAt((group >> 6) & 63);
    text += c === undefined ? "=" : BASE64.charAt(group & 63);
  }
  return text;
}

/** base64url without padding (RFC 4648 section 5), as JWT wants it. */
export function base64UrlEncode(bytes: Uint8Array): string {
  return base64Encode(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * Bytes of standard base64 with padding; strict: no white space, no stray bits after the end.
 * @throws HawserError `BAD_ENCODING`
 */
export function base64Decode(text: string): Uint8Array {
  if (text.length % 4 !== 0) throw badEncoding("base64");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let bitCount = 0;
  let length = 0;
  for (let i = 0; i < text.length - padding; i++) {
    const value = BASE64.indexOf(text.charAt(i));
    if (value < 0) throw badEncoding("base64");
    bits = ((bits << 6) | value) & 0xffffff;
    bitCount += 6;
    if (bitCount >= 8) {
      bitCount -= 8;
      bytes[length++] = (bits >> bitCount) & 0xff;
    }
  }
  if ((bits & ((1 << bitCount) - 1)) !== 0) throw badEncoding("base64");
  return bytes;
}

/** Lower-case hex, two digits a byte. */
export function hexEncode(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
  return text;
}

function badEncoding(form: string): HawserError {
  return new HawserError("BAD_ENCODING", `the data is not valid ${form}`, "Send it again; if it comes back, the sender is broken.");
}
