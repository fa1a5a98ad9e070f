/** What a message of a product's program is told apart by: nothing is added to it, so its content has to do. */
import { createHash } from "node:crypto";

/** A digest's 48 bits and a level of two above them: exact in a number. */
const LEVEL = 2 ** 48;

/** 48 bits that stand for a message: the watcher, who knows nothing of the device, gets the same from what it received. */
export function contentOf(topic: string, payload: Uint8Array | string): number {
  return createHash("sha1").update(topic).update("\0").update(payload).digest().readUIntBE(0, 6);
}

/** An entry of `ProgramAccount.accepted`. */
export function entryOf(qos: number, content: number): number {
  return qos * LEVEL + content;
}

/** The QoS and the content of an entry of `ProgramAccount.accepted`. */
export function levelAndContent(entry: number): { qos: number; content: number } {
  const qos = Math.floor(entry / LEVEL);
  return { qos, content: entry - qos * LEVEL };
}
