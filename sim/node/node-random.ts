/** Random bytes from the operating system. */
import { randomBytes } from "node:crypto";
import type { Random } from "../../sdk/platform.js";

export const nodeRandom: Random = {
  bytes: (sizeBytes) => new Uint8Array(randomBytes(sizeBytes)),
  fraction: () => Math.random(),
};
