/** The dynamic security plugin's JSON file. */
import type { Place } from "../finding.js";
import { matchesPbkdf2, WELL_KNOWN_PASSWORDS } from "./credential-files.js";

export interface DynsecAcl {
  readonly type: string;
  readonly topic: string;
  readonly allow: boolean;
}

export interface DynsecClient {
  readonly name: string;
  readonly place: Place;
  readonly roles: readonly string[];
  readonly isDisabled: boolean;
  readonly guessed?: string;
}

export interface DynsecFile {
  readonly file: string;
  readonly defaults: Readonly<Record<"publishClientSend" | "publishClientReceive" | "subscribe", boolean>>;
  /** The line of the default that allows sending, or subscribing. */
  readonly defaultsPlace: Place;
  readonly clients: readonly DynsecClient[];
  readonly anonymousGroup: string | undefined;
  readonly anonymousRoles: readonly string[];
  readonly roles: ReadonlyMap<string, readonly DynsecAcl[]>;
  /** The roles that clients get through groups, by client name. */
  readonly groupRoles: ReadonlyMap<string, readonly string[]>;
  placeOf(pattern: RegExp): Place;
}

type Obj = Readonly<Record<string, unknown>>;
const objects = (value: unknown): Obj[] =>
  Array.isArray(value) ? value.filter((item): item is Obj => typeof item === "object" && item !== null) : [];
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const rolesOf = (value: unknown): string[] => objects(value).map(({ rolename }) => text(rolename));

/** Undefined when it is no JSON object: then the broker does not start. */
export function parseDynsec(file: string, content: string): DynsecFile | undefined {
  let tree: Obj;
  try {
    tree = JSON.parse(content) as Obj;
  } catch {
    return undefined;
  }
  if (typeof tree !== "object" || tree === null || Array.isArray(tree)) return undefined;
  const lines = content.split("\n");
  const placeOf = (pattern: RegExp): Place => {
    const line = lines.findIndex((entry) => pattern.test(entry));
    return { file, line: line + 1, text: (lines[line] ?? "").trim().slice(0, 120) };
  };
  const access = (tree["defaultACLAccess"] ?? {}) as Obj;
  const groups = objects(tree["groups"]);
  const anonymousGroup = text(tree["anonymousGroup"]) || undefined;
  const groupRoles = new Map<string, string[]>();
  for (const group of groups) {
    for (const client of objects(group["clients"]))
      groupRoles.set(text(client["username"]), [...(groupRoles.get(text(client["username"])) ?? []), ...rolesOf(group["roles"])]);
  }
  return {
    file,
    // What is not there: sending and subscribing denied, receiving allowed (the plugin's own defaults).
    defaults: {
      publishClientSend: access["publishClientSend"] === true,
      publishClientReceive: access["publishClientReceive"] !== false,
      subscribe: access["subscribe"] === true,
    },
    defaultsPlace: placeOf(access["publishClientSend"] === true ? /"publishClientSend"\s*:/ : /"subscribe"\s*:/),
    clients: objects(tree["clients"]).map((client) => dynsecClient(client, placeOf)),
    anonymousGroup,
    anonymousRoles: rolesOf(groups.find(({ groupname }) => groupname === anonymousGroup)?.["roles"]),
    roles: new Map(
      objects(tree["roles"]).map((role) => [
        text(role["rolename"]),
        objects(role["acls"]).map((acl) => ({ type: text(acl["acltype"]), topic: text(acl["topic"]), allow: acl["allow"] === true })),
      ]),
    ),
    groupRoles,
    placeOf,
  };
}

function dynsecClient(client: Obj, placeOf: (pattern: RegExp) => Place): DynsecClient {
  const name = text(client["username"]);
  const [password, salt, rounds] = [text(client["password"]), text(client["salt"]), Number(client["iterations"])];
  const guessed =
    password === "" ? undefined : [name, "", ...WELL_KNOWN_PASSWORDS].find((guess) => matchesPbkdf2(guess, salt, rounds, password));
  const place = placeOf(new RegExp(`"username"\\s*:\\s*"${name.replace(/[^A-Za-z0-9_-]/g, "\\$&")}"`));
  return {
    name,
    place,
    roles: rolesOf(client["roles"]),
    isDisabled: client["disabled"] === true,
    ...(guessed === undefined ? {} : { guessed }),
  };
}

/** Whether these roles let a client send to the broker's control topics. */
export function mayControl(dynsec: DynsecFile, roles: readonly string[]): boolean {
  return roles.some((role) =>
    (dynsec.roles.get(role) ?? []).some(
      ({ type, topic, allow }) =>
        allow && type === "publishClientSend" && /^\$CONTROL\/(#|dynamic-security\/(#|v1|\+)|\+\/.*)$/.test(topic),
    ),
  );
}

/** Roles that give every ordinary topic, to send or to receive. */
export function givesEverything(dynsec: DynsecFile, roles: readonly string[], types: readonly string[]): boolean {
  return roles.some((role) =>
    (dynsec.roles.get(role) ?? []).some(({ type, topic, allow }) => allow && types.includes(type) && /^(\+\/)*#$/.test(topic)),
  );
}
