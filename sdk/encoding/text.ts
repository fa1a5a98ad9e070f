/** UTF-8 with typed errors, base64 and hex, for engines that have no TextEncoder, Buffer or atob (XS 13.3 has none of them). */
import { HawserError } from "../errors.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";

/** UTF-8 bytes of a string; a lone surrogate becomes U+FFFD, as the Encoding standard says. */
export const utf8Encode = encodeUtf8;

/**
 * The string of well-formed UTF-8 (RFC 3629).
 * @throws HawserError `BAD_ENCODING` on overlong forms, surrogates, cut-off or stray bytes
 */
export function utf8Decode(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw badEncoding("UTF-8");
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
  return new HawserError("BAD_ENCODING", `the data is not valid ${form}`, "Send it again. If it fails again, the sender is faulty.");
}
