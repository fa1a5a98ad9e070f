/** Makes a CA directory in a directory beside its place, moved there by one rename: there is never half a CA. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, realpathSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError, syncDirectory } from "../../sim/node/files/atomic-file.js";
import { lockNow } from "../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../sim/node/files/process-lock.js";
import { isOurDirectory } from "../../sim/node/files/safe-path.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { FILES } from "../ca-directory/directory-layout.js";

/**
 * @param fill writes the CA into the directory it is given; what it throws leaves nothing behind. The lock is the new CA's: who opens the
 *   CA there releases it before
 * @returns what `fill` resolves to, and the place, its path a real one
 * @throws HawserError `CA_EXISTS`, `OUT_EXISTS` (something else is there), `STORAGE_FAILED`, and what `fill` throws
 */
export async function makeInPlace<T>(
  directory: string,
  fill: (staging: CaDirectory, lock: ProcessLock) => Promise<T>,
): Promise<{ readonly made: T; readonly place: CaDirectory }> {
  const place = new CaDirectory(placeFor(directory));
  const staging = new CaDirectory(`${place}.staged-${randomBytes(8).toString("hex")}`);
  let lock: ProcessLock | undefined;
  try {
    removeLeftovers(place.path);
    makeDirectory(staging.path);
    lock = lockCa(staging);
    const made = await fill(staging, lock);
    moveIntoPlace(staging.path, place.path);
    lock.movedTo(place.pathOf(FILES.lock));
    return { made, place };
  } catch (error) {
    rmSync(staging.path, { recursive: true, force: true });
    throw error;
  } finally {
    lock?.release();
  }
}

/** The real path of a place that is free. */
export function placeFor(directory: string): string {
  const path = resolve(directory);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const real = realpathSync(path);
    checkFree(real);
    return real;
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return path;
    throw storageError(error, "make", path);
  }
}

function checkFree(path: string): void {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOTDIR")
      throw new HawserError("OUT_EXISTS", `${path} exists and is not a directory`, "Choose another directory.");
    throw storageError(error, "read", path);
  }
  if (names.includes(FILES.record)) throw new HawserError("CA_EXISTS", `${path} already holds a CA`, "Choose another directory.");
  if (names.length > 0) throw new HawserError("OUT_EXISTS", `${path} is not empty`, "Choose another directory, or empty it.");
}

function moveIntoPlace(staging: string, place: string): void {
  try {
    renameSync(staging, place);
    syncDirectory(dirname(place));
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errnoCode(error))) checkFree(place);
    if (errnoCode(error) === "EBUSY")
      throw new HawserError("STORAGE_FAILED", `${place} is a mount point, which cannot be replaced`, "Choose a directory below it.");
    throw storageError(error, "make", place);
  }
}

/** What a killed `ca init` for this place left beside it. */
function removeLeftovers(place: string): void {
  for (const name of readdirSync(dirname(place))) {
    if (!name.startsWith(`${basename(place)}.`) || !/^\.staged-[0-9a-f]{16}$/.test(name.slice(basename(place).length))) continue;
    const path = join(dirname(place), name);
    // A link, or a directory of somebody else, may have been planted for us to reach through.
    if (!isOurDirectory(path)) continue;
    try {
      lockCa(new CaDirectory(path));
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Another `ca init` is at work there, or it is gone already.
    }
  }
}

function lockCa(directory: CaDirectory): ProcessLock {
  return lockNow(
    directory.pathOf(FILES.lock),
    () => new HawserError("CA_BUSY", `another process is creating a CA in ${directory}`, "Wait for it to finish."),
  );
}

export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    throw storageError(error, "make", path);
  }
}
