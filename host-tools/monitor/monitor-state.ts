/** What a monitor remembers between runs: the scores of offenders, and what is normal for each role. One file, bounded and checked. */
import { errorMessage, HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { lockNow } from "../../sim/node/files/process-lock.js";
import type { ProcessLock } from "../../sim/node/files/process-lock.js";
import { readRegularFile } from "../../sim/node/files/safe-path.js";
import { OffenderWatch } from "./offender-watch.js";
import { BehaviourWatch, MAX_ROLES } from "./profiles/behaviour-watch.js";
import type { Roles } from "./profiles/behaviour-watch.js";
import { RoleProfile } from "./profiles/role-profile.js";

const VERSION = 1;
/** Far more than the most that is ever written. */
const MAX_BYTES = 64 * 1024 * 1024;
/** What a kill loses at most. */
const SAVE_MS = 60_000;
const MOST_NAME = 256;

export class MonitorState {
  readonly #path: string;
  readonly #lock: ProcessLock;
  readonly offenders = new OffenderWatch();
  readonly behaviour: BehaviourWatch;
  #savedMs = performance.now();
  #saved = "";

  /**
   * Reads the file; one that is not there is made with the first save.
   * @throws HawserError `MONITOR_STATE_INVALID`, `EVENTS_IN_USE`, `STORAGE_FAILED`
   */
  constructor(path: string, roles: Roles) {
    this.#path = path;
    this.#lock = lockNow(
      `${path}.lock`,
      (pid) => new HawserError("EVENTS_IN_USE", `process ${pid ?? "?"} writes ${path}`, "Stop it, or name another file."),
    );
    try {
      const text = readIfThere(path);
      const profiles = text === undefined ? undefined : this.#read(text);
      this.behaviour = new BehaviourWatch(roles, profiles);
    } catch (error) {
      this.#lock.release();
      throw error;
    }
  }

  /** Writes what changed, once a minute at most. Throws `STORAGE_FULL`, `STORAGE_FAILED`. */
  saveNowAndThen(): void {
    if (performance.now() - this.#savedMs >= SAVE_MS) this.save();
  }

  /** Writes what changed: all of it, or nothing. Throws as {@link saveNowAndThen}. */
  save(): void {
    this.#savedMs = performance.now();
    const text = `${JSON.stringify({ v: VERSION, offenders: this.offenders.stored, roles: this.behaviour.stored })}\n`;
    if (text === this.#saved) return;
    writeFileAtomic(this.#path, text);
    this.#saved = text;
  }

  close(): void {
    this.#lock.release();
  }

  #read(text: string): Map<string, RoleProfile> {
    try {
      const { v, offenders, roles } = JSON.parse(text) as Readonly<Record<string, unknown>>;
      if (v !== VERSION) throw new RangeError(`its version is ${String(v)}`);
      this.offenders.restore(offenders);
      const entries = Object.entries(roles as Readonly<Record<string, unknown>>);
      if (entries.length > MAX_ROLES + 1 || entries.some(([role]) => role.length > MOST_NAME)) throw new RangeError("too many roles");
      return new Map(entries.map(([role, stored]) => [role, RoleProfile.read(stored)]));
    } catch (error) {
      throw invalid(this.#path, errorMessage(error));
    }
  }
}

function readIfThere(path: string): string | undefined {
  try {
    const { bytes, mode } = readRegularFile(path, MAX_BYTES);
    // Who can write it decides what is normal.
    if ((mode & 0o022) !== 0) throw new HawserError("NOT_A_FILE", "others may write it", "Run: chmod 600 FILE");
    return bytes.toString("utf8");
  } catch (error) {
    if (error instanceof HawserError) throw invalid(path, error.message);
    if (errnoCode(error) === "ENOENT") return undefined;
    throw storageError(error, "read", path);
  }
}

function invalid(path: string, what: string): HawserError {
  return new HawserError(
    "MONITOR_STATE_INVALID",
    `${path} is not what hawser monitor wrote: ${what}`,
    "Restore it from a backup, or move it away: the monitor then learns again.",
  );
}
