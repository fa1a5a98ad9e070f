/** The little of DER (X.690) that virtual certificates and requests need: writing, and walking over elements just written. */
import { utf8Encode } from "../../../sdk/encoding/text.js";

export const Tag = {
  integer: 0x02,
  bitString: 0x03,
  objectId: 0x06,
  utf8String: 0x0c,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
} as const;

export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  let at = head.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => element(Tag.sequence, ...parts);

export const bitString = (bytes: Uint8Array): Uint8Array => element(Tag.bitString, Uint8Array.of(0), bytes);

export const objectId = (...encoded: readonly number[]): Uint8Array => element(Tag.objectId, Uint8Array.from(encoded));

/** A positive INTEGER of big-endian bytes. */
export function integer(bytes: Uint8Array): Uint8Array {
  return element(Tag.integer, (bytes[0] ?? 0) >= 0x80 ? Uint8Array.of(0, ...bytes) : bytes);
}

export function generalizedTime(atMs: number): Uint8Array {
  const text = new Date(atMs)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:T]/g, "");
  return element(Tag.generalizedTime, utf8Encode(text));
}

/** A name of one attribute, the common name. */
export function commonName(text: string): Uint8Array {
  return sequence(element(Tag.set, sequence(objectId(0x55, 4, 3), element(Tag.utf8String, utf8Encode(text)))));
}

export interface Element {
  tag: number;
  content: Uint8Array;
  /** Tag and length included. */
  whole: Uint8Array;
}

/** The elements inside `bytes`, one after the other; undefined when they are not well formed. */
export function elements(bytes: Uint8Array): Element[] | undefined {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0;
    let head = 2;
    if (length === 0x81) [length, head] = [bytes[at + 2] ?? 0, 3];
    else if (length === 0x82) [length, head] = [((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0), 4];
    else if (length >= 0x80) return undefined;
    const end = at + head + length;
    if (end > bytes.length) return undefined;
    found.push({ tag, content: bytes.subarray(at + head, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return found;
}
