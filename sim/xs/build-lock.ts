/** Lets one process build what several want: test workers start together and ask for the same host. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 100;

/** Runs `work` while holding the lock file; a lock left by a process that has died is taken over. */
export async function withBuildLock<T>(lockFile: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(lockFile), { recursive: true });
  while (!tryLock(lockFile)) await delay(POLL_MS);
  try {
    return await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

function tryLock(lockFile: string): boolean {
  try {
    const file = openSync(lockFile, "wx");
    writeSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if (!holderLives(lockFile)) rmSync(lockFile, { force: true });
    return false;
  }
}

function holderLives(lockFile: string): boolean {
  try {
    const holder = Number(readFileSync(lockFile, "utf8"));
    // Just created and not yet written: it lives.
    if (holder === 0) return true;
    process.kill(holder, 0);
    return true;
  } catch {
    return false;
  }
}
