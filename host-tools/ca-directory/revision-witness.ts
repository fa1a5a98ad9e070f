/**
 * Remembers outside of a CA directory how new it was: a directory that was put back as a whole proves itself soundly, so only another place
 * can tell. In this user's state directory there is one small file a CA directory, by its path, and one a CA, wherever its directory was.
 * Without them (no home, a new machine) nothing is noticed, and nothing stops.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { temporaryPath, unlinkIfThere } from "../../sim/node/files/atomic-file.js";
import type { CaDirectory } from "./ca-directory.js";
import { parseObject } from "./registry-entry.js";
import type { CaState } from "./sealed-state.js";

/** Where this user's state is: `HAWSER_STATE_DIR`, else `hawser` in `XDG_STATE_HOME` or `~/.local/state`. */
export function stateHome(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const own = env["HAWSER_STATE_DIR"];
  if (own !== undefined && own !== "") return own;
  const base = env["XDG_STATE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".local", "state"), "hawser");
}

/**
 * The file that remembers the CA at a path. By the path as it was given: a link that leads to an older copy now must not change it.
 */
export function witnessFile(path: string, env?: Readonly<Record<string, string | undefined>>): string {
  return join(stateHome(env), "ca", `${createHash("sha256").update(resolve(path)).digest("hex").slice(0, 32)}.json`);
}

/**
 * @throws HawserError `CA_ROLLED_BACK` when this user has seen a later revision of this CA at this path
 */
export function checkNotOlder(directory: CaDirectory, state: CaState): void {
  const seen = readWitness(directory.path);
  if (seen === undefined || seen.instance !== state.instance || seen.revision <= state.revision) return;
  throw rolledBack(directory, state.revision, seen.revision);
}

/** A CA of which this user has seen a later revision elsewhere: this directory is a copy, and older. Undefined when it is not. */
export function olderCopy(directory: CaDirectory, state: CaState): HawserError | undefined {
  const newest = readWitnessFile(copyFile(state.instance));
  if (newest === undefined || newest.revision <= state.revision || newest.path === resolve(directory.path)) return undefined;
  return new HawserError(
    "CA_OLDER_COPY",
    `${directory} is an older copy of the CA in ${newest.path}: it is at change ${state.revision}, the other at change ${newest.revision}. Certificates revoked since then are still valid in it`,
    "Use only the newest one, and remove the copy.",
  );
}

function copyFile(instance: string): string {
  return join(stateHome(), "ca", `instance-${instance}.json`);
}

export function rolledBack(directory: CaDirectory, revision: number, seen: number): HawserError {
  return new HawserError(
    "CA_ROLLED_BACK",
    `the CA in ${directory} is older than it was: it is at change ${revision}, after change ${seen} was seen. Certificates revoked since then would be valid again`,
    `Find out who put it back. If it was you, remove ${witnessFile(directory.path)} and revoke again what was revoked since`,
  );
}

/** Never throws: a state directory that cannot be written keeps no CA from working. What was seen of a CA is never forgotten for less. */
export function rememberRevision(directory: CaDirectory, { instance, revision }: CaState): void {
  const text = `${JSON.stringify({ v: 1, path: resolve(directory.path), instance, revision })}\n`;
  const here = readWitness(directory.path);
  if (here?.instance !== instance || here.revision <= revision) keep(witnessFile(directory.path), text);
  if ((readWitnessFile(copyFile(instance))?.revision ?? 0) <= revision) keep(copyFile(instance), text);
}

/**
 * For a directory that is to be made at a place from what a database says.
 *
 * @throws HawserError `REGISTRY_ROLLED_BACK` when this user has seen a later revision of this CA, wherever it was
 */
export function checkNothingLost(directory: CaDirectory, { instance, revision }: CaState, database: string): void {
  const witnesses = [
    [readWitness(directory.path), witnessFile(directory.path)],
    [lastSeen(instance), copyFile(instance)],
  ] as const;
  const newer = witnesses.flatMap(([seen, file]) => (seen?.instance === instance && seen.revision > revision ? [{ ...seen, file }] : []));
  const [seen] = newer.sort((a, b) => b.revision - a.revision);
  if (seen === undefined) return;
  throw new HawserError(
    "REGISTRY_ROLLED_BACK",
    `the registry's database ${database} is older than the CA that was seen here: it ends with change ${revision}, and ${seen.path} was at change ${seen.revision}. What was revoked since would be valid again`,
    `Find out who put it back, and continue with the newest directory: see docs/registry.md, When the database is lost. If it is lost, remove ${newer.map(({ file }) => file).join(" and ")}, join, and revoke again what was revoked since.`,
  );
}

/** For a CA that is removed for good, with its directory. */
export function forgetRevision(path: string): void {
  const seen = readWitness(path);
  if (seen) unlinkIfThere(copyFile(seen.instance));
  unlinkIfThere(witnessFile(path));
}

function keep(path: string, text: string): void {
  const temporary = temporaryPath(path);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Not synced: after a power cut it may be one behind, which is true as well.
    writeFileSync(temporary, text, { flag: "wx", mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    unlinkIfThere(temporary);
  }
}

/** The newest state of this CA that this user has seen, wherever it was. */
export function lastSeen(instance: string): Seen | undefined {
  return readWitnessFile(copyFile(instance));
}

/** A CA was restored elsewhere as another instance: the old one is an older copy from now on. Never throws. */
export function rememberSuccessor(instance: string, path: string, revision: number): void {
  keep(copyFile(instance), `${JSON.stringify({ v: 1, path: resolve(path), instance, revision })}\n`);
}

export interface Seen {
  readonly path: string;
  readonly instance: string;
  readonly revision: number;
}

function readWitness(path: string): Seen | undefined {
  return readWitnessFile(witnessFile(path));
}

function readWitnessFile(file: string): Seen | undefined {
  try {
    const { path, instance, revision } = parseObject(readFileSync(file, "utf8")) ?? {};
    return typeof path === "string" && typeof instance === "string" && typeof revision === "number"
      ? { path, instance, revision }
      : undefined;
  } catch {
    return undefined;
  }
}
