/**
 * Which byte is wrong, where a CRC-32 says that one is. A CRC is linear: a wrong byte changes it by an amount that depends only on the
 * byte's difference and its distance from the end, so each place can be asked whether a single wrong byte there explains the difference.
 */

const POLYNOMIAL = 0xedb88320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  return value >>> 0;
});
/** By its highest byte, which is different for every entry of the table: the way back. */
const BY_HIGHEST = new Map(Array.from(TABLE, (value, byte) => [value >>> 24, byte] as const));

export interface WrongByte {
  /** In the bytes the CRC covers. */
  readonly index: number;
  /** What it has to be changed by (exclusive or) for the CRC to be right. */
  readonly difference: number;
}

/**
 * The single byte whose change makes the CRC right, if there is exactly one such byte; undefined when several bytes are wrong, or the
 * stored CRC itself is.
 *
 * @param difference exclusive or of the CRC stored and the CRC computed
 * @param sizeBytes how many bytes the CRC covers
 */
export function locateWrongByte(difference: number, sizeBytes: number): WrongByte | undefined {
  const found: WrongByte[] = [];
  let state = difference >>> 0;
  for (let index = sizeBytes - 1; index >= 0; index--) {
    // A difference d in this byte leads to TABLE[d] after it, and on through zeros; undone here one byte at a time.
    const highest = BY_HIGHEST.get(state >>> 24) ?? 0;
    if (TABLE[highest] === state && highest !== 0) found.push({ index, difference: highest });
    state = (((state ^ (TABLE[highest] ?? 0)) << 8) | highest) >>> 0;
  }
  return found.length === 1 ? found[0] : undefined;
}
