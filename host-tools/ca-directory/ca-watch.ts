/**
 * Tells when a CA directory changed: by the system's word, and by looking now and then where that word does not come (network file
 * systems).
 */
import { readFileSync, watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { join } from "node:path";
import { FILES } from "./directory-layout.js";

export interface WatchOptions {
  /** Changes that come within this time of each other's first are told together. */
  readonly gatherMs?: number;
  /** How often to look without being told. */
  readonly pollMs?: number;
  /** Look at this file of the CA alone. */
  readonly file?: string;
}

/**
 * Calls `onChange` after each finished change of the CA, until the returned function is called. Never calls it before returning, and never
 * for the state that was there at the start.
 */
export function watchCa(
  directory: string,
  onChange: () => void,
  { gatherMs = 50, pollMs = 5000, file = FILES.revision }: WatchOptions = {},
): () => void {
  const path = join(directory, file);
  let seen = readText(path);
  let pending: NodeJS.Timeout | undefined;
  const look = (): void => {
    pending = undefined;
    const now = readText(path);
    // A directory that is gone has not changed: whoever serves from it goes on with what it knows.
    if (now === undefined || now === seen) return;
    seen = now;
    onChange();
  };
  const lookSoon = (): void => {
    pending ??= setTimeout(look, gatherMs);
  };
  const watcher = startWatching(directory, file, lookSoon);
  const poll = setInterval(lookSoon, pollMs);
  return () => {
    watcher?.close();
    clearInterval(poll);
    clearTimeout(pending);
  };
}

function startWatching(directory: string, watched: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(directory, (_event, file) => {
      if (file === null || file === watched) onEvent();
    });
    // The poll goes on where watching fails (too many watches, directory moved).
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
