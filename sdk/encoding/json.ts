/** JSON from outside, read so that its form alone cannot end a small machine. */
import { utf8Decode } from "./text.js";

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * `{`, `[` and `,` in a message; the largest of ours has fewer than 20. On XS each may take many times its byte of memory, or of stack, and
 * running out of either ends the machine, not the parse.
 */
const MAX_PARTS = 48;

/** The object that `bytes` hold; undefined for whatever is none, and for one with more structure than any message has. */
export function parseObject(bytes: Uint8Array): JsonObject | undefined {
  if (parts(bytes) > MAX_PARTS) return undefined;
  try {
    const value: unknown = JSON.parse(utf8Decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parts(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte === 0x2c || byte === 0x5b || byte === 0x7b) count++;
  return count;
}
