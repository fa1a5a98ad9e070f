/** Writes DER (X.690): what is signed or kept is made of it. */

/** One element: tag, length, contents (X.690 sections 8.1 and 10.1), of less than 4 GiB. */
export function derOf(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const sizeBytes = contents.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([Buffer.of(tag, ...lengthOf(sizeBytes)), ...contents]);
}

/** Short form below 128, else as many bytes as it takes. */
function lengthOf(sizeBytes: number): number[] {
  if (sizeBytes < 0x80) return [sizeBytes];
  const bytes = [24, 16, 8, 0].map((shift) => (sizeBytes >>> shift) & 0xff);
  const used = bytes.slice(bytes.findIndex((byte) => byte !== 0));
  return [0x80 | used.length, ...used];
}

/** An INTEGER that is not negative, of big-endian bytes with or without zeros before them. */
export function derUnsigned(bytes: Uint8Array): Buffer {
  let first = 0;
  while (first < bytes.length - 1 && bytes[first] === 0) first++;
  const rest = bytes.subarray(first);
  return derOf(0x02, ...((rest[0] ?? 0x80) >= 0x80 ? [Buffer.of(0)] : []), rest);
}

/** Time as RFC 5280 section 4.1.2.5 wants it: UTCTime until 2049, GeneralizedTime from 2050, whole seconds. */
export function derTimeOf(timeMs: number): Buffer {
  const text = digitsOf(timeMs);
  return Number(text.slice(0, 4)) < 2050 ? derOf(0x17, Buffer.from(text.slice(2), "latin1")) : derGeneralizedTimeOf(timeMs);
}

/** GeneralizedTime in whole seconds, whatever the year. */
export function derGeneralizedTimeOf(timeMs: number): Buffer {
  return derOf(0x18, Buffer.from(digitsOf(timeMs), "latin1"));
}

/** YYYYMMDDHHMMSSZ */
function digitsOf(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/[-:T]|\.\d{3}/g, "");
}
