/** A list of byte blocks as one record: each block with its length before it, 32 bits, big-endian. */
import { HawserError } from "../errors.js";

export function joinBlocks(blocks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(blocks.reduce((sum, block) => sum + 4 + block.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const block of blocks) {
    view.setUint32(at, block.length);
    bytes.set(block, at + 4);
    at += 4 + block.length;
  }
  return bytes;
}

/** @throws HawserError `BAD_ENCODING` when a length goes past the end */
export function splitBlocks(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const sizeBytes = at + 4 <= bytes.length ? view.getUint32(at) : Infinity;
    if (at + 4 + sizeBytes > bytes.length) {
      throw new HawserError("BAD_ENCODING", "a list of byte blocks is truncated", "The record is damaged: provision the device again.");
    }
    blocks.push(bytes.slice(at + 4, at + 4 + sizeBytes));
    at += 4 + sizeBytes;
  }
  return blocks;
}
