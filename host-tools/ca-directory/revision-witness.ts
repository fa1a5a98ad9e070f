/**
 * Remembers outside of a CA directory how new it was: a directory that was put back as a whole proves itself soundly, so only another place can tell. One small file
 * a CA directory, by its path, in this user's state directory; without one (no home, a new machine) nothing is noticed, and nothing stops.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { temporaryPath, unlinkIfThere } from "../../sim/node/files/atomic-file.js";
import { parseObject } from "./registry-entry.js";
import type { CaState } from "./sealed-state.js";

/** Where this user's state is: `HAWSER_STATE_DIR`, else `hawser` in `XDG_STATE_HOME` or `~/.local/state`. */
export function stateHome(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const own = env["HAWSER_STATE_DIR"];
  if (own !== undefined && own !== "") return own;
  const base = env["XDG_STATE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".local", "state"), "hawser");
}

/** The file that remembers the CA in `directory`. By the path as it was given: a link that leads to an older copy now must not change it. */
export function witnessFile(directory: string): string {
  return join(stateHome(), "ca", `${createHash("sha256").update(resolve(directory)).digest("hex").slice(0, 32)}.json`);
}

/**
 * @throws HawserError `CA_ROLLED_BACK` when this user has seen a later revision of this CA at this path
 */
export function checkNotOlder(directory: string, state: CaState): void {
  const seen = readWitness(directory);
  if (seen === undefined || seen.instance !== state.instance || seen.revision <= state.revision) return;
  throw rolledBack(directory, state.revision, seen.revision);
}

export function rolledBack(directory: string, revision: number, seen: number): HawserError {
  return new HawserError(
    "CA_ROLLED_BACK",
    `the CA in ${directory} is older than it was: change ${revision}, where change ${seen} was seen. What was revoked since then would be valid again`,
    `Find out who put it back. If it was you, from a backup: hawser ca restore --dir ${directory}`,
  );
}

/** Never throws: a state directory that cannot be written keeps no CA from working. */
export function rememberRevision(directory: string, { instance, revision }: CaState): void {
  const path = witnessFile(directory);
  const temporary = temporaryPath(path);
  try {
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    // Not synced: after a power cut it may be one behind, which is true as well.
    writeFileSync(temporary, `${JSON.stringify({ v: 1, path: resolve(directory), instance, revision })}\n`, { flag: "wx", mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    unlinkIfThere(temporary);
  }
}

function readWitness(directory: string): { instance: string; revision: number } | undefined {
  try {
    const { instance, revision } = parseObject(readFileSync(witnessFile(directory), "utf8")) ?? {};
    return typeof instance === "string" && typeof revision === "number" ? { instance, revision } : undefined;
  } catch {
    return undefined;
  }
}
