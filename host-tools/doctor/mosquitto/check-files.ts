/** The files a configuration names: there, well-formed, and secret where they should be (HW001, HW002, HW005, HW026, HW027, HW029). */
import { statSync } from "node:fs";
import { othersMayRead } from "../certificate-files.js";
import type { Place } from "../finding.js";
import { replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import type { Directive } from "./conf-reader.js";
import { isDeviceName } from "./acl-file.js";
import { parsePsks } from "./credential-files.js";
import { pluginOf, transportOf } from "./model.js";

interface NamedFile {
  readonly directive: Directive;
  /** What a reader of it could do; left out for files that are no secret. */
  readonly secret?: string;
  readonly isDirectory?: boolean;
}

export function checkFiles(ctx: AuditContext): void {
  for (const file of namedFiles(ctx)) checkOne(ctx, file);
  for (const listener of ctx.model.listeners) checkAclSyntax(ctx, ctx.aclLine(listener)?.value, ctx.acl(listener)?.errors ?? []);
  checkPasswords(ctx);
  checkPsks(ctx);
  checkDynsecSyntax(ctx);
}

function namedFiles(ctx: AuditContext): readonly NamedFile[] {
  const { model } = ctx;
  const files = new Map<string, NamedFile>();
  const add = (directive: Directive | undefined, secret?: string, isDirectory?: boolean): void => {
    if (directive !== undefined)
      files.set(`${directive.name} ${directive.value}`, {
        directive,
        ...(secret === undefined ? {} : { secret }),
        ...(isDirectory === undefined ? {} : { isDirectory }),
      });
  };
  const securities = model.perListener ? model.listeners.map(({ security }) => security) : [model.security];
  for (const { settings } of securities) {
    add(settings.get("acl_file"));
    add(settings.get("password_file"), "guess the passwords from their hashes");
    add(settings.get("psk_file"), "use the pre-shared keys");
  }
  for (const listener of model.listeners) {
    for (const plugin of ["aclFile", "passwordFile", "dynamicSecurity"] as const) {
      const options = pluginOf(ctx.plugins(listener), plugin)?.options;
      add(options?.get("acl_file"));
      add(options?.get("password_file"), "guess the passwords from their hashes");
      add(options?.get("config_file"), "guess the passwords from their hashes");
    }
    if (transportOf(listener) !== "certificate") continue;
    const { settings } = listener;
    for (const name of ["certfile", "cafile", "crlfile", "dhparamfile"]) add(settings.get(name));
    if (settings.get("tls_engine") === undefined) add(settings.get("keyfile"), "be the broker");
    add(settings.get("capath"), undefined, true);
  }
  for (const { settings } of model.bridges) {
    for (const name of ["bridge_cafile", "bridge_certfile"]) add(settings.get(name));
    add(settings.get("bridge_keyfile"), "be this bridge");
  }
  return [...files.values()];
}

function checkOne(ctx: AuditContext, { directive, secret, isDirectory }: NamedFile): void {
  const { name, value, place } = directive;
  const state = ctx.stateOf(value);
  const isBridge = name.startsWith("bridge_");
  if (state === "missing") {
    const bare = value.replace(/\s+#.*$/, "");
    const isComment = bare !== value;
    const why = isComment ? "; the comment behind the name is part of it" : "";
    // With a missing CA file the bridge keeps trying; the broker itself runs.
    const effect = isBridge ? "the bridge does not connect" : "the broker does not start";
    ctx.find("HW002", `${name} ${value} is not there${why}: ${effect}.`, {
      place,
      edits: isComment ? [replaceLine(place, `${name} ${bare}`)] : [],
    });
  } else if (state === "elsewhere") ctx.note(`${name} ${value} is not on this machine, and was not looked at.`, place);
  else if (state === "special") ctx.note(`${name} ${value} is a pipe or a device, and was not looked at.`, place);
  else if (isDirectory !== true && !isBridge && isFolder(ctx.pathOf(value)))
    ctx.find("HW002", `${name} ${value} is a directory: the broker does not start.`, { place });
  if (state !== "present" || secret === undefined || isDirectory === true || othersMayRead(ctx.pathOf(value)) !== true) return;
  if (name === "plugin_opt_config_file") {
    // So mosquitto_ctrl leaves it (2.0.11 under umask 022): a fact of every installation, not a slip of this one.
    ctx.note(`${value} is readable by every user of the machine, who can ${secret}: chmod 600 ${value}`, place);
    return;
  }
  const severity = name.endsWith("keyfile") || name === "psk_file" ? "high" : "medium";
  ctx.find("HW005", `${value} (${name}) is readable by every user of the machine, who can ${secret}.`, {
    place,
    severity,
    fix: [`chown mosquitto: ${value}`, `chmod 600 ${value}`],
  });
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function checkAclSyntax(
  ctx: AuditContext,
  file: string | undefined,
  errors: readonly { what: string; place: Place; meant?: string }[],
): void {
  for (const { what, place, meant } of errors) {
    const edits = meant === undefined ? [replaceLine(place, `# ${place.text}`)] : [replaceLine(place, meant)];
    ctx.find(
      "HW001",
      `${file ?? ""}: ${what}: the broker does not start; and when it is reloaded with this file, mosquitto 2.0 allows everything.`,
      { place, edits },
    );
  }
}

function checkPasswords(ctx: AuditContext): void {
  const files = new Set(ctx.model.listeners.map((listener) => ctx.passwordLine(listener)?.value).filter((name) => name !== undefined));
  for (const file of files) {
    for (const { user, place, problem, guessed } of ctx.passwords(file)) {
      if (problem !== undefined) {
        const isFatal = ctx.model.version.atLeast(2, 1);
        ctx.find(
          isFatal ? "HW001" : "HW027",
          `${user} ${problem}: mosquitto ${isFatal ? "does not start" : "takes no password of this user"}${problem.includes("not hashed") ? ", and it stands there for every reader" : ""}.`,
          { place, fix: [`mosquitto_passwd ${file} ${user}`] },
        );
      }
      if (guessed !== undefined)
        ctx.find("HW026", `The user ${user} has the password ${JSON.stringify(guessed)}.`, {
          place,
          severity: isDeviceName(user) ? "high" : "critical",
          fix: [`mosquitto_passwd ${file} ${user}`],
        });
    }
  }
}

function checkPsks(ctx: AuditContext): void {
  const { model } = ctx;
  const securities = model.perListener ? model.listeners.map(({ security }) => security) : [model.security];
  for (const { settings } of securities) {
    const line = settings.get("psk_file");
    const text = line === undefined ? undefined : ctx.read(line.value);
    if (line === undefined || text === undefined) continue;
    for (const { identity, place, error, weakness } of parsePsks(line.value, text)) {
      if (error !== undefined) ctx.find("HW001", `${line.value}: ${error}: the broker does not start.`, { place });
      if (weakness !== undefined)
        ctx.find("HW029", `The pre-shared key of ${identity} ${weakness}.`, { place, fix: [`${identity}:<openssl rand -hex 32>`] });
    }
  }
}

function checkDynsecSyntax(ctx: AuditContext): void {
  for (const listener of ctx.model.listeners) {
    const line = ctx.dynsecLine(listener);
    if (line === undefined || ctx.dynsec(listener) !== undefined) continue;
    const text = ctx.read(line.value);
    if (text !== undefined && text !== "")
      ctx.find("HW002", `${line.value} is not valid JSON: the broker does not start.`, { place: line.place });
  }
}
