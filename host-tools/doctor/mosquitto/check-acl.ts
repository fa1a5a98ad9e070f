/** What those who are in may do, by the ACL file (HW061..HW067, HW031). */
import { grantsRead, grantsWrite, hasName, isDeviceName } from "./acl-file.js";
import type { AclFile, AclRule } from "./acl-file.js";
import { insertAfter, replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import { hasUnknownPlugin, nameOf, takesAnonymous, takesIdentity } from "./model.js";
import type { Listener } from "./model.js";
import { covers, hasWildcard, isEverything, overlaps } from "./topic-sets.js";
import type { Edit } from "../finding.js";

const LOG_TOPIC = "$SYS/broker/log/N";
const CONTROL_TOPIC = "$CONTROL/dynamic-security/v1";

export function checkAcls(ctx: AuditContext): void {
  const seen = new Map<AclFile, Listener[]>();
  for (const listener of ctx.model.listeners) {
    const acl = ctx.acl(listener);
    if (acl !== undefined) seen.set(acl, [...(seen.get(acl) ?? []), listener]);
    else checkOpenLog(ctx, listener);
  }
  for (const [acl, listeners] of seen) {
    if (acl.errors.length > 0) continue;
    const checks = new AclChecks(ctx, acl, listeners);
    checks.run();
  }
}

function logsToTopic({ model }: AuditContext): boolean {
  const last = model.logDestinations.map(({ words }) => words[0]);
  return last.lastIndexOf("topic") > last.lastIndexOf("none");
}

/** Without an ACL everybody who is in reads $SYS. */
function checkOpenLog(ctx: AuditContext, listener: Listener): void {
  if (!logsToTopic(ctx) || ctx.aclLine(listener) !== undefined || ctx.plugins(listener).length > 0) return;
  const line = ctx.model.logDestinations.find(({ words }) => words[0] === "topic");
  ctx.find(
    "HW065",
    `The broker publishes its log to $SYS/broker/log, and without an ACL every client on ${nameOf(listener)} may read it: client ids, addresses, user names and topics of all.`,
    { place: line?.place, edits: line === undefined ? [] : [replaceLine(line.place, "log_dest stderr")] },
  );
}

/** A rule commented out: what it gave is gone. */
function disable(rule: AclRule): Edit {
  return replaceLine(rule.place, `# ${rule.place.text}`);
}

class AclChecks {
  readonly #wide = new Set<AclRule>();

  constructor(
    readonly ctx: AuditContext,
    readonly acl: AclFile,
    readonly listeners: readonly Listener[],
  ) {}

  run(): void {
    this.#names();
    this.#patterns();
    this.#narrowing();
    this.#denials();
    this.#devices();
    this.#brokerTopics();
    if (this.acl.users.size === 0 && this.acl.patterns.length === 0) {
      const line = this.listeners[0] === undefined ? undefined : this.ctx.aclLine(this.listeners[0]);
      this.ctx.find("HW003", `The ACL file ${this.acl.file} holds no rule: nobody may publish or receive anything.`, {
        place: line?.place,
        severity: "medium",
      });
    }
  }

  #names(): void {
    const { acl, ctx } = this;
    for (const [user, place] of acl.userLines) {
      const bare = user.replace(/\s+#.*$/, "");
      if (bare !== user) {
        ctx.find("HW067", `The comment is part of the name: these rules are for a user called ${JSON.stringify(user)}, not for ${bare}.`, {
          place,
          edits: [replaceLine(place, `user ${bare}`)],
        });
      } else if (/^(\*|#|\+|all|%u|any|everyone)$/i.test(user)) {
        ctx.find("HW067", `mosquitto knows no user for everybody: these rules are for a user who is called ${JSON.stringify(user)}.`, {
          place,
        });
      }
    }
    this.#strangers();
    const anonymous = acl.users.get(undefined) ?? [];
    const first = anonymous.find(({ access }) => access !== "deny");
    const isOpen = this.listeners.some((listener) => takesAnonymous(ctx.model, listener));
    if (first !== undefined && !isOpen)
      ctx.find(
        "HW067",
        `${first.place.text} stands above the first user line and so is for anonymous clients alone, who may not connect: it has no effect.`,
        { place: first.place, severity: "low", fix: [`pattern ${first.access} ${first.filter}`] },
      );
  }

  /** Users who cannot come under the name that stands here. */
  #strangers(): void {
    const { acl, ctx, listeners } = this;
    if (listeners.length === 0 || listeners.some((listener) => hasUnknownPlugin(ctx.plugins(listener)))) return;
    const isBySubject = listeners.every((one) => takesIdentity(one) && one.settings.flag("use_subject_as_username") === true);
    const known = listeners.flatMap((listener) => ctx.passwords(ctx.passwordLine(listener)?.value ?? "").map(({ user }) => user));
    const isByPassword = listeners.every((one) => !takesIdentity(one) && ctx.passwordLine(one) !== undefined);
    for (const [user, place] of acl.userLines) {
      if (isBySubject && !user.includes("=")) {
        ctx.find("HW067", `Names are subjects here (use_subject_as_username), such as CN=${user}: no client is called ${user}.`, {
          place,
          edits: [replaceLine(place, `user CN=${user}`)],
        });
      }
      const meant = known.find((name) => name !== user && name.toLowerCase() === user.toLowerCase());
      if (isByPassword && meant !== undefined && !known.includes(user))
        ctx.find("HW067", `Upper and lower case count: these rules are for ${user}, and the password file has ${meant}.`, {
          place,
          edits: [replaceLine(place, `user ${meant}`)],
        });
    }
  }

  #patterns(): void {
    const { acl, ctx } = this;
    for (const rule of acl.patterns) {
      if (rule.access === "deny" || rule.filter.startsWith("$")) continue;
      if (hasName(rule)) {
        this.#clientIds(rule);
        continue;
      }
      if (!hasWildcard(rule.filter) || acl.patterns.some((deny) => deny.access === "deny" && covers(deny.filter, rule.filter))) continue;
      const reaches = acl.patterns.find((other) => hasName(other) && other.access !== "deny" && overlaps(rule.filter, other.filter));
      if (!isEverything(rule.filter) && reaches === undefined && !grantsWrite(rule)) continue;
      this.#wide.add(rule);
      const doing = rule.access === "readwrite" ? "read and write" : rule.access;
      const victim = isEverything(rule.filter)
        ? "every topic; the rules beside it are void"
        : `${rule.filter}, the topics of all others included`;
      ctx.find("HW061", `The pattern without %u lets every user ${doing} ${victim}.`, {
        place: rule.place,
        fix: [`pattern ${rule.access} ${rule.filter.replace(/[#+]/, "%u/#").replace(/#\/.*/, "#")}`],
        edits: [disable(rule)],
      });
    }
  }

  #clientIds(rule: AclRule): void {
    if (!rule.filter.includes("%c") || rule.filter.includes("%u")) return;
    const free = this.listeners.filter(({ settings }) => settings.flag("use_username_as_clientid") !== true);
    if (free.length === 0) return;
    const what = `${rule.place.text} hangs on the client id, and a client chooses its own: it gets the topics of any other on ${free.map(nameOf).join(", ")}.`;
    this.ctx.find("HW066", what, { place: rule.place, edits: [replaceLine(rule.place, rule.place.text.replaceAll("%c", "%u"))] });
  }

  /** `readwrite` over a filter, and less over a part of it: the second line is there to narrow, and does not. */
  #narrowing(): void {
    const { acl, ctx } = this;
    const groups: [string, readonly AclRule[]][] = [...acl.users].map(([user, rules]) => [user ?? "anonymous", rules]);
    groups.push(["every user", acl.patterns]);
    for (const [who, rules] of groups) {
      for (const wide of rules) {
        if (wide.access !== "readwrite" || this.#wide.has(wide)) continue;
        const narrow = rules.find(
          (rule) => rule !== wide && (rule.access === "read" || rule.access === "write") && covers(wide.filter, rule.filter),
        );
        if (narrow === undefined || rules.some((deny) => deny.access === "deny" && covers(deny.filter, narrow.filter))) continue;
        const other = narrow.access === "read" ? "write" : "read";
        this.#wide.add(wide);
        const what = `${narrow.place.text} does not narrow ${wide.place.text}: ${who} may still ${other} ${narrow.filter}.`;
        ctx.find("HW062", what, { place: wide.place, fix: [`# ${wide.place.text}`, narrow.place.text], edits: [disable(wide)] });
      }
    }
  }

  #denials(): void {
    const { acl, ctx } = this;
    for (const deny of acl.patterns.filter(({ access }) => access === "deny")) {
      for (const [user, rules] of acl.users) {
        const denied = deniedTo(user, deny);
        if (denied === undefined) continue;
        const allow = rules.find((rule) => rule.access !== "deny" && overlaps(rule.filter, denied));
        if (allow === undefined || rules.some((own) => own.access === "deny" && covers(own.filter, denied))) continue;
        const line = user === undefined ? undefined : acl.userLines.get(user);
        const what = `${deny.place.text} does not hold for ${user ?? "anonymous clients"}: ${allow.place.text} is looked at first, and wins.`;
        ctx.find("HW063", what, {
          place: deny.place,
          fix: [`user ${user ?? ""}`, `topic deny ${denied}`],
          edits: line === undefined ? [] : [insertAfter(line, `topic deny ${denied}`)],
        });
      }
    }
    for (const deny of (acl.users.get(undefined) ?? []).filter(({ access }) => access === "deny")) {
      const allows = [...[...acl.users].filter(([user]) => user !== undefined).flatMap(([, rules]) => rules), ...acl.patterns].filter(
        ({ access }) => access !== "deny",
      );
      const allow = allows.find(({ filter }) => overlaps(filter, deny.filter));
      const isMeantForThem = (acl.users.get(undefined) ?? []).some(
        ({ access, filter }) => access !== "deny" && overlaps(filter, deny.filter),
      );
      if (allow === undefined || isMeantForThem) continue;
      ctx.find(
        "HW063",
        `${deny.place.text} stands above the first user line and so is for anonymous clients alone: ${allow.place.text} gives the topic to others all the same.`,
        { place: deny.place },
      );
    }
  }

  #devices(): void {
    const { acl, ctx } = this;
    for (const [user, rules] of acl.users) {
      if (user === undefined) continue;
      for (const rule of rules) {
        if (rule.access === "deny" || this.#wide.has(rule) || !hasWildcard(rule.filter)) continue;
        if (rules.some((deny) => deny.access === "deny" && covers(deny.filter, rule.filter))) continue;
        if (!isDeviceName(user)) {
          if (isEverything(rule.filter)) ctx.note(`${user} may ${rule.access} every topic.`, rule.place);
          continue;
        }
        const victim = isEverything(rule.filter) ? "every topic" : this.#victim(user, rule);
        if (victim !== undefined)
          ctx.find(
            "HW064",
            `The device ${user} may ${rule.access === "readwrite" ? "read and write" : rule.access} ${victim} (${rule.filter}).`,
            { place: rule.place, fix: [`topic ${rule.access} ${rule.filter.replace(/[#+].*/, `${user}/#`)}`], edits: [disable(rule)] },
          );
      }
    }
  }

  /** Whose topics a device's rule reaches. */
  #victim(user: string, rule: AclRule): string | undefined {
    const pattern = this.acl.patterns.find((other) => hasName(other) && other.access !== "deny" && coversNames(rule.filter, other.filter));
    if (pattern !== undefined) return "the topics of all others";
    for (const [other, rules] of this.acl.users) {
      if (other === undefined || other === user || !isDeviceName(other)) continue;
      const reached = rules.find(
        ({ access, filter }) => access !== "deny" && filter !== rule.filter && filter.includes(other) && covers(rule.filter, filter),
      );
      if (reached !== undefined) return `the topics of ${other} too`;
    }
    return undefined;
  }

  #brokerTopics(): void {
    const { acl, ctx } = this;
    const everybody = acl.patterns.filter((rule) => rule.access !== "deny");
    const anonymous = this.listeners.some((listener) => takesAnonymous(ctx.model, listener)) ? (acl.users.get(undefined) ?? []) : [];
    const devices = [...acl.users].filter(([user]) => user !== undefined && isDeviceName(user)).flatMap(([, rules]) => rules);
    const common = [...everybody, ...anonymous, ...devices];
    const isDenied = acl.patterns.some(({ access, filter }) => access === "deny" && covers(filter, LOG_TOPIC));
    const reader = common.find((rule) => grantsRead(rule) && overlaps(rule.filter, LOG_TOPIC));
    if (logsToTopic(ctx) && reader !== undefined && !(isDenied && everybody.includes(reader))) {
      const who = everybody.includes(reader) ? "every user" : anonymous.includes(reader) ? "anonymous clients" : "devices";
      const what = `The broker publishes its log to $SYS/broker/log, and the ACL lets ${who} read it (${reader.place.text}): client ids, addresses, user names and topics of all.`;
      ctx.find("HW065", what, {
        place: reader.place,
        fix: [`# ${reader.place.text}`, "user monitor", "topic read $SYS/#"],
        edits: [disable(reader)],
      });
    }
    const hasControl =
      this.listeners.some((listener) => ctx.dynsecLine(listener) !== undefined) || ctx.model.global.flag("enable_control_api") === true;
    const controller = common.find(
      (rule) =>
        grantsWrite(rule) &&
        rule.filter.startsWith("$CONTROL") &&
        (overlaps(rule.filter, CONTROL_TOPIC) || overlaps(rule.filter, "$CONTROL/broker/v1")),
    );
    if (controller === undefined) return;
    if (hasControl)
      ctx.find(
        "HW031",
        `${controller.place.text} lets ${everybody.includes(controller) ? "every user" : "devices"} administer the broker.`,
        { place: controller.place, edits: [disable(controller)] },
      );
    else
      ctx.find(
        "HW031",
        `${controller.place.text} gives rights over $CONTROL, which no plugin of this broker uses today; it would administer the broker.`,
        { place: controller.place, severity: "low", edits: [disable(controller)] },
      );
  }
}

/** Whether a filter reaches a pattern's topics whatever the name. */
function coversNames(filter: string, pattern: string): boolean {
  return covers(filter, pattern.replace(/%[uc]/g, "some-name"));
}

/** The topics that a deny for everybody is to keep from `user`. Its own ones are meant where the user is one of many; a console is not. */
function deniedTo(user: string | undefined, { filter }: AclRule): string | undefined {
  if (!/%[uc]/.test(filter)) return filter;
  return user !== undefined && isDeviceName(user) ? filter.replaceAll("%u", user).replaceAll("%c", "+") : undefined;
}
