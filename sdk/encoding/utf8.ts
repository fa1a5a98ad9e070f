/** UTF-8 (RFC 3629) by hand: XS has no TextEncoder, and the SDK uses no engine's own way. */

/**
 * XS finds a character by counting from the string's start, so that reading a long text by index takes quadratic time there (0.2 s for
 * 4,000 characters):
 * texts are read in pieces of this many UTF-16 units.
 */
const PIECE_UNITS = 128;

/** The bytes that `text` takes in UTF-8. A lone surrogate counts as U+FFFD. */
export function utf8Length(text: string): number {
  const { length } = text;
  if (length <= PIECE_UNITS) return pieceLength(text);
  let bytes = 0;
  for (let at = 0; at < length;) {
    const piece = pieceAt(text, at);
    bytes += pieceLength(piece);
    at += piece.length;
  }
  return bytes;
}

/**
 * Writes `text` at `offset`; the caller has made room by {@link utf8Length}.
 * @returns the offset behind the last byte written
 */
export function writeUtf8(text: string, target: Uint8Array, offset: number): number {
  const { length } = text;
  if (length <= PIECE_UNITS) return writePiece(text, target, offset);
  let end = offset;
  for (let at = 0; at < length;) {
    const piece = pieceAt(text, at);
    end = writePiece(piece, target, end);
    at += piece.length;
  }
  return end;
}

/** The next piece of a text, which does not end between the halves of a surrogate pair. */
function pieceAt(text: string, at: number): string {
  const piece = text.slice(at, at + PIECE_UNITS);
  const isCut = at + piece.length < text.length && isHighSurrogate(piece.charCodeAt(piece.length - 1));
  return isCut ? text.slice(at, at + PIECE_UNITS - 1) : piece;
}

function pieceLength(text: string): number {
  const units = text.length;
  let bytes = units;
  for (let i = 0; i < units; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (isHighSurrogate(unit) && i + 1 < units && isLowSurrogate(text.charCodeAt(i + 1))) {
      bytes += 2;
      i++;
    } else bytes += 2;
  }
  return bytes;
}

function writePiece(text: string, target: Uint8Array, offset: number): number {
  const units = text.length;
  let at = offset;
  for (let i = 0; i < units; i++) {
    let unit = text.charCodeAt(i);
    if (unit < 0x80) {
      target[at++] = unit;
      continue;
    }
    if (unit < 0x800) {
      target[at++] = 0xc0 | (unit >> 6);
      target[at++] = 0x80 | (unit & 0x3f);
      continue;
    }
    if (isHighSurrogate(unit) && i + 1 < units && isLowSurrogate(text.charCodeAt(i + 1))) {
      const point = 0x10000 + ((unit - 0xd800) << 10) + (text.charCodeAt(++i) - 0xdc00);
      target[at++] = 0xf0 | (point >> 18);
      target[at++] = 0x80 | ((point >> 12) & 0x3f);
      target[at++] = 0x80 | ((point >> 6) & 0x3f);
      target[at++] = 0x80 | (point & 0x3f);
      continue;
    }
    if (isHighSurrogate(unit) || isLowSurrogate(unit)) unit = 0xfffd;
    target[at++] = 0xe0 | (unit >> 12);
    target[at++] = 0x80 | ((unit >> 6) & 0x3f);
    target[at++] = 0x80 | (unit & 0x3f);
  }
  return at;
}

export function encodeUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(utf8Length(text));
  writeUtf8(text, bytes, 0);
  return bytes;
}

/** Units made into text by one call: an engine's stack bounds the arguments. */
const CALL_UNITS = 256;

/**
 * The text in `bytes[start..end)`, or undefined where it is not well-formed UTF-8: overlong forms, surrogates and cut sequences are
 * refused.
 */
export function decodeUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string | undefined {
  for (let i = start; i < end; i++) if ((bytes[i] as number) >= 0x80) return decodeAny(bytes, start, end);
  if (end - start <= CALL_UNITS) return fromUnits(bytes.subarray(start, end));
  const pieces: string[] = [];
  for (let at = start; at < end; at += CALL_UNITS) pieces.push(fromUnits(bytes.subarray(at, Math.min(end, at + CALL_UNITS))));
  return pieces.join("");
}

function decodeAny(bytes: Uint8Array, start: number, end: number): string | undefined {
  const pieces: string[] = [];
  let units: number[] = [];
  for (let i = start; i < end;) {
    const lead = bytes[i] as number;
    if (lead < 0x80) {
      units.push(lead);
      i++;
    } else {
      const length = sequenceLength(lead);
      const point = length === 0 || i + length > end ? -1 : codePoint(bytes, i, length);
      if (point < 0) return undefined;
      if (point < 0x10000) units.push(point);
      else units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
      i += length;
    }
    if (units.length >= CALL_UNITS) {
      pieces.push(fromUnits(units));
      units = [];
    }
  }
  pieces.push(fromUnits(units));
  return pieces.join("");
}

function fromUnits(units: ArrayLike<number>): string {
  return String.fromCharCode.apply(undefined, units as number[]);
}

const SMALLEST_OF_LENGTH = [0, 0, 0x80, 0x800, 0x10000];

function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

function codePoint(bytes: Uint8Array, at: number, length: number): number {
  let point = (bytes[at] as number) & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = bytes[at + i] as number;
    if ((next & 0xc0) !== 0x80) return -1;
    point = (point << 6) | (next & 0x3f);
  }
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  return surrogate || point > 0x10ffff || point < (SMALLEST_OF_LENGTH[length] as number) ? -1 : point;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
