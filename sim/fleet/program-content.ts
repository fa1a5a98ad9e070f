/** What a message of a product's program is told apart by: nothing is added to it, so its content has to do. */
import { createHash } from "node:crypto";

/** A digest's 48 bits and a level of two above them: exact in a number. */
const LEVEL = 2 ** 48;

/** 48 bits that stand for a message: the watcher, who knows nothing of the device, gets the same from what it received. */
export function contentOf(topic: string, payload: Uint8Array | string): number {
  return createHash("sha1").update(topic).update("\0").update(payload).digest().readUIntBE(0, 6);
}

/** The level of a message that the program published, and was not told that it was accepted. */
export const TRIED = 3;

/** An entry of `ProgramAccount.published`: a QoS or {@link TRIED}, and a content. */
export function entryOf(level: number, content: number): number {
  return level * LEVEL + content;
}

/** Both parts of an entry of `ProgramAccount.published`. */
export function levelAndContent(entry: number): { level: number; content: number } {
  const level = Math.floor(entry / LEVEL);
  return { level, content: entry - level * LEVEL };
}
