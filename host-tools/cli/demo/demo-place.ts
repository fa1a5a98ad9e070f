/** The directory a demo plays in. A demo that was killed could not remove its own, with the keys in it; the next one does. */
import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { storageError } from "../../../sim/node/files/atomic-file.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";

const PREFIX = "hawser-demo-";
/** Shows that the demo is alive. */
const LOCK = "lock";

/** Makes a directory for this process; to be removed as a whole. Throws `STORAGE_FAILED`, `STORAGE_FULL`. */
export function demoDirectory(): string {
  const parent = tmpdir();
  try {
    clearDead(parent);
    const directory = mkdtempSync(join(parent, PREFIX));
    lock(directory);
    return directory;
  } catch (error) {
    throw storageError(error, "make a directory in", parent);
  }
}

function clearDead(parent: string): void {
  const directories = readdirSync(parent)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(parent, name));
  for (const directory of directories) {
    try {
      if (isOwn(directory) && existsSync(join(directory, LOCK))) clear(directory);
    } catch {
      // Its demo is alive, or it is gone already.
    }
  }
}

function clear(directory: string): void {
  lock(directory);
  rmSync(directory, { recursive: true, force: true });
}

/** In a folder that all users share, what another one made is not for us to touch. */
function isOwn(directory: string): boolean {
  const found = lstatSync(directory);
  return found.isDirectory() && found.uid === process.getuid?.();
}

function lock(directory: string): void {
  lockNow(join(directory, LOCK), () => new HawserError("PLACE_HELD", `another demo is running in ${directory}`, "Leave it alone."));
}
