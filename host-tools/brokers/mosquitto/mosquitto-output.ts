/**
 * A mosquitto configuration on disk: checked, written file by file without a moment in which one is half there, and told to the running
 * broker.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode, storageError, syncDirectory, temporaryPath, unlinkIfThere, writeNewFile } from "../../../sim/node/files/atomic-file.js";
import { problemWithDirectory, readFileOnly, whoCouldReplace } from "../../../sim/node/files/safe-path.js";
import { compileMosquitto, MOSQUITTO_FILES, pluginState } from "./mosquitto-config.js";
import type { BrokerFacts } from "./mosquitto-config.js";
import { ownerFor } from "./broker-user.js";
import type { SystemUser } from "./broker-user.js";
import { findMosquitto } from "./mosquitto-process.js";
import { tryConfiguration } from "./mosquitto-trial.js";
import type { Output } from "../../ca-directory/outputs-file.js";

const HEADER = "# Written by hawser";

/**
 * Makes `out` ready to take a configuration. Its parents are made where they are missing.
 *
 * @returns its real path, and whether it was made now
 * @throws HawserError `OUT_EXISTS` when something else is there, `STORAGE_FAILED`
 */
export function prepareDirectory(out: string): { directory: string; made: boolean } {
  const path = resolve(out);
  // It stands in the configuration, where a line feed would begin another setting.
  if (/\p{Cc}/u.test(path))
    throw new HawserError(
      "OUT_EXISTS",
      `mosquitto cannot read the path ${JSON.stringify(path)}`,
      "Choose a directory without control characters in its path.",
    );
  try {
    mkdirSync(dirname(path), { recursive: true });
    const made = makeIfMissing(path);
    const directory = realpathSync(path);
    if (!made) checkOurs(directory);
    // Empty: nobody can have planted anything yet.
    if (!made && readdirSync(directory).length === 0) chmodSync(directory, 0o700);
    return { directory, made };
  } catch (error) {
    throw storageError(error, "make", path);
  }
}

function makeIfMissing(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errnoCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** A directory we may write into is empty or has a configuration of ours: its files change hands and are replaced. */
function checkOurs(directory: string): void {
  const names = statSync(directory).isDirectory() ? readdirSync(directory) : ["it is a file"];
  if (names.length === 0 || (readText(join(directory, MOSQUITTO_FILES.config)) ?? "").startsWith(HEADER)) return;
  throw new HawserError(
    "OUT_EXISTS",
    `${directory} exists and holds no broker configuration made by hawser`,
    "Choose another directory, or empty it.",
  );
}

/**
 * Brings the files up to date.
 *
 * @param trialPlace where they are tried first, see {@link tryConfiguration}
 * @param beforeWriting called when a file is to be written, and all can be loaded
 * @returns the names of those that changed
 * @throws HawserError `OUTPUT_REFUSED` when mosquitto cannot load them (nothing was written then), `STORAGE_FAILED`, `STORAGE_FULL`
 */
export async function writeConfiguration(
  { directory, settings, agent }: Output,
  facts: BrokerFacts,
  trialPlace: string,
  beforeWriting: () => void = () => undefined,
): Promise<string[]> {
  // What an agent fetches belongs to who writes it here.
  const owner = agent === undefined ? ownerFor(settings.user) : undefined;
  const files = compileMosquitto(agent?.directory ?? directory, settings, facts);
  const stale = [...files].filter(([name, content]) => !isUpToDate(join(directory, name), content, owner));
  checkSafe(directory, owner);
  try {
    makeDirectories(directory, owner);
    if (settings.plugin !== undefined) makePluginState(join(directory, MOSQUITTO_FILES.plugin), owner);
    if (stale.length === 0) return [];
    const mosquitto = findMosquitto();
    const problem = mosquitto === undefined ? undefined : await tryConfiguration(mosquitto, trialPlace, settings, facts);
    if (problem !== undefined) {
      throw new HawserError(
        "OUTPUT_REFUSED",
        `mosquitto cannot load the new configuration for ${directory}: ${problem}`,
        "Nothing was written. Report this with the versions of hawser and mosquitto.",
      );
    }
    beforeWriting();
    for (const [name, content] of stale) replaceFile(join(directory, name), content, owner);
    syncDirectory(directory);
  } catch (error) {
    throw storageError(error, "write", directory);
  }
  return stale.map(([name]) => name);
}

/**
 * Puts the files of a configuration where a broker on this machine reads them, as its agent does.
 *
 * @param directory as {@link prepareDirectory} left it
 * @param user the user mosquitto becomes when it is started as root
 * @returns the names of those that changed
 * @throws HawserError `OUTPUT_EXPOSED`, `STORAGE_FAILED`, `STORAGE_FULL`
 */
export function placeFiles(directory: string, user: string, files: ReadonlyMap<string, string>): string[] {
  const owner = ownerFor(user);
  checkSafe(directory, owner);
  try {
    makeDirectories(directory, owner);
    makePluginState(join(directory, MOSQUITTO_FILES.plugin), owner);
    const stale = [...files].filter(([name, content]) => !isUpToDate(join(directory, name), content, owner));
    for (const [name, content] of stale) replaceFile(join(directory, name), content, owner);
    syncDirectory(directory);
    return stale.map(([name]) => name);
  } catch (error) {
    throw storageError(error, "write", directory);
  }
}

/**
 * Secrets go only where nobody but root, this user and the broker's user could read or replace them.
 *
 * @throws HawserError `OUTPUT_EXPOSED`
 */
function checkSafe(directory: string, owner: SystemUser | undefined): void {
  // Who runs sudo may write where he likes anyway.
  const trusted = [process.geteuid?.() ?? 0, Number(process.env["SUDO_UID"] ?? 0), owner?.uid ?? 0];
  const problem = problemWithDirectory(directory) ?? whoOwns(directory, trusted) ?? whoCouldReplace(directory, trusted);
  if (problem === undefined) return;
  throw new HawserError(
    "OUTPUT_EXPOSED",
    `keys are not written to ${directory}: ${problem}`,
    "Fix its owner and mode (chmod go-w), or write the configuration elsewhere.",
  );
}

function whoOwns(directory: string, trusted: readonly number[]): string | undefined {
  const { uid } = lstatSync(directory);
  return uid === 0 || trusted.includes(uid) ? undefined : `it belongs to user ${uid}`;
}

export function removeConfiguration(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

function makeDirectories(directory: string, owner: SystemUser | undefined): void {
  const data = join(directory, MOSQUITTO_FILES.data);
  makeIfMissing(data);
  for (const path of [directory, data]) {
    // Through a descriptor: the broker's user may write here, and a link it puts in our way must not lead us elsewhere.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      fchmodSync(descriptor, 0o700);
      if (owner !== undefined) fchownSync(descriptor, owner.uid, owner.gid);
    } finally {
      closeSync(descriptor);
    }
  }
}

/** Once it is there it belongs to mosquitto, which writes it at every command. */
function makePluginState(path: string, owner: SystemUser | undefined): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) replaceFile(path, pluginState(), owner);
}

/** A pipe or link that the broker's user put there is not waited for, nor followed: it is replaced. */
function isUpToDate(path: string, content: string, owner: SystemUser | undefined): boolean {
  try {
    const { mode, uid } = lstatSync(path);
    return (mode & 0o777) === 0o600 && uid === (owner?.uid ?? uid) && readFileOnly(path).toString("utf8") === content;
  } catch {
    return false;
  }
}

/** As `writeFileAtomic`, but the file has its owner before it has its name: the broker may look at any moment. */
function replaceFile(path: string, content: string, owner: SystemUser | undefined): void {
  const temporary = temporaryPath(path);
  try {
    writeNewFile(temporary, Buffer.from(content), 0o600);
    if (owner !== undefined) giveTo(temporary, owner);
    renameSync(temporary, path);
  } catch (error) {
    unlinkIfThere(temporary);
    throw error;
  }
}

function giveTo(path: string, owner: SystemUser): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    fchownSync(descriptor, owner.uid, owner.gid);
  } finally {
    closeSync(descriptor);
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileOnly(path).toString("utf8");
  } catch {
    return undefined;
  }
}
