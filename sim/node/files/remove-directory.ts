/** Removing a directory that a program which is ending still writes into. */
import { rmSync } from "node:fs";

const WAIT_MS = 100;
const TRIES = 100;

/**
 * Removes a directory with all that is in it, and what others put there meanwhile: a broker whose parent was killed saves its sessions
 * before it ends. `rmSync` with `maxRetries` does not: it tries again to remove the directory, and not the file that came into it late.
 * Blocks for 10 s at most; a directory that is not there is no error.
 * @throws the system's error when it does not come to rest by then, or for any other reason
 */
export function removeDirectory(directory: string): void {
  for (let left = TRIES; ; left--) {
    try {
      rmSync(directory, { recursive: true, force: true });
      return;
    } catch (error) {
      if (left === 0 || (error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}
