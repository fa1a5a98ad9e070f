/** mosquitto's acl_file: read as mosquitto reads it, and what the rules come to for somebody. */
import type { Place } from "../finding.js";
import { isValidFilter } from "./topic-sets.js";

export type Access = "read" | "write" | "readwrite" | "deny";

export interface AclRule {
  readonly access: Access;
  readonly filter: string;
  readonly place: Place;
}

export interface AclFile {
  readonly file: string;
  /** Rules by user name; those above the first user line, for anonymous clients, under undefined. */
  readonly users: ReadonlyMap<string | undefined, readonly AclRule[]>;
  readonly userLines: ReadonlyMap<string, Place>;
  /** For everybody. */
  readonly patterns: readonly AclRule[];
  /** Lines with which the broker does not start. */
  readonly errors: readonly { readonly what: string; readonly place: Place; readonly meant?: string }[];
}

export function parseAcl(file: string, text: string): AclFile {
  const users = new Map<string | undefined, AclRule[]>();
  const userLines = new Map<string, Place>();
  const patterns: AclRule[] = [];
  const errors: { what: string; place: Place; meant?: string }[] = [];
  let user: string | undefined;
  text.split("\n").forEach((raw, index) => {
    const line = raw.replace(/\s+$/, "");
    if (line.startsWith("#") || /^ *$/.test(line)) return;
    const place: Place = { file, line: index + 1, text: line.trim() };
    const [, word = "", rest = ""] = /^ *([^ ]+) ?(.*)$/.exec(line) ?? [];
    if (word === "user") {
      user = rest.trim();
      if (user === "") errors.push({ what: "user has no name", place });
      else if (!userLines.has(user)) userLines.set(user, place);
      return;
    }
    if (word !== "topic" && word !== "pattern") {
      const isComment = word.startsWith("#");
      errors.push({
        what: isComment ? "A comment must begin in the first column" : `${JSON.stringify(word)} begins no rule (user, topic or pattern)`,
        place,
        ...(isComment ? { meant: line.trim() } : {}),
      });
      return;
    }
    const rule = ruleOf(rest, place);
    if (typeof rule === "string") errors.push({ what: rule, place });
    else if (word === "pattern") patterns.push(rule);
    else users.set(user, [...(users.get(user) ?? []), rule]);
  });
  return { file, users, userLines, patterns, errors };
}

/** The rule, or what is wrong with it. */
function ruleOf(rest: string, place: Place): AclRule | string {
  const [, first = "", second = ""] = /^ *([^ ]*) *(.*)$/.exec(rest) ?? [];
  if (first === "") return "the topic is missing";
  const filter = second === "" ? first : second.trim();
  const access = second === "" ? "readwrite" : first;
  if (access !== "read" && access !== "write" && access !== "readwrite" && access !== "deny")
    return `${JSON.stringify(access)} is not an access type (read, write, readwrite or deny)`;
  return isValidFilter(filter)
    ? { access, filter, place }
    : `${JSON.stringify(filter)} is not a topic filter${filter.includes(" #") ? " (a comment behind it is part of it)" : ""}`;
}

export function grantsRead({ access }: AclRule): boolean {
  return access === "read" || access === "readwrite";
}

export function grantsWrite({ access }: AclRule): boolean {
  return access === "write" || access === "readwrite";
}

export function hasName({ filter }: AclRule): boolean {
  return /%[uc]/.test(filter);
}

/** What a client without a user name may do. */
export function rulesOfAnonymous(acl: AclFile): readonly AclRule[] {
  return [...(acl.users.get(undefined) ?? []), ...acl.patterns.filter(({ filter }) => !filter.includes("%u"))].filter(
    ({ access }) => access !== "deny",
  );
}

/** What a client may do that can call itself as it likes. */
export function rulesOfAnybody(acl: AclFile): readonly AclRule[] {
  return [...[...acl.users.values()].flat(), ...acl.patterns].filter(({ access }) => access !== "deny");
}

/** A name that ends in a number is one of many. */
export function isDeviceName(name: string): boolean {
  return /\d$/.test(name);
}
