/** Whose the files of a broker configuration are: mosquitto started as root becomes another user, who must still be able to read them. */
import { readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { nameOfThisUser } from "./mosquitto-trial.js";

export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface ChosenUser {
  readonly name: string;
  /** Something the operator should know about the choice. */
  readonly note?: string;
}

/** The user Debian's package makes. */
const MOSQUITTO_USER = "mosquitto";

/**
 * Chooses the user mosquitto is to become for files in `directory`, which exists.
 *
 * @throws HawserError `UNKNOWN_USER` when `wanted` is no user of this system
 */
export function chooseUser(directory: string, wanted?: string): ChosenUser {
  if (wanted !== undefined) {
    if (findUser(wanted) === undefined)
      throw new HawserError(
        "UNKNOWN_USER",
        `unknown system user ${JSON.stringify(wanted)}`,
        "Name an existing user, or omit it to let hawser choose.",
      );
    return { name: wanted };
  }
  if (process.getuid?.() !== 0) return { name: nameOfThisUser() };
  const user = findUser(MOSQUITTO_USER);
  if (user === undefined)
    return { name: "root", note: "there is no user mosquitto: the broker will keep running as root when it is started as root" };
  const closed = firstClosedParent(directory, user);
  if (closed === undefined) return { name: user.name };
  return {
    name: "root",
    note: `the user mosquitto may not enter ${closed}: the broker will keep running as root; write the configuration elsewhere (for example /var/lib/hawser) to let it drop root`,
  };
}

/** The owner that files for `name` must have; undefined when this process cannot give files away, and its own will do. */
export function ownerFor(name: string): SystemUser | undefined {
  return process.getuid?.() === 0 ? findUser(name) : undefined;
}

function findUser(name: string): SystemUser | undefined {
  try {
    for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
      const [user, , uid, gid] = line.split(":");
      if (user === name) return { name, uid: Number(uid), gid: Number(gid) };
    }
  } catch {
    // A system without /etc/passwd has no users we could find.
  }
  return undefined;
}

function firstClosedParent(directory: string, user: SystemUser): string | undefined {
  const parents: string[] = [];
  for (let path = dirname(directory); ; path = dirname(path)) {
    parents.unshift(path);
    if (path === dirname(path)) break;
  }
  return parents.find((path) => !mayEnter(path, user));
}

function mayEnter(path: string, user: SystemUser): boolean {
  const { mode, uid, gid } = statSync(path);
  const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
  return (mode & bit) !== 0;
}
