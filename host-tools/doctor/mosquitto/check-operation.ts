/** How the broker is run (HW003, HW004, HW006..HW009), and what a reader of the configuration should know. */
import { lstatSync } from "node:fs";
import { relative } from "node:path";
import { insertAfter, removeLine, replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import type { Directive } from "./conf-reader.js";
import { nameOf, securityOf } from "./model.js";
import type { MosquittoModel } from "./model.js";

export function checkOperation(ctx: AuditContext): void {
  checkUser(ctx);
  checkLogging(ctx);
  checkLimits(ctx);
  checkDirectories(ctx);
  checkDeadLines(ctx);
  noteVersion(ctx);
}

function checkUser(ctx: AuditContext): void {
  const user = ctx.model.global.get("user");
  if (user?.value === "root")
    ctx.find("HW004", "The broker runs as root: a flaw in it or in a plugin gives the machine away.", {
      place: user.place,
      edits: [removeLine(user.place)],
    });
}

function checkLogging(ctx: AuditContext): void {
  const { logDestinations, logTypes, global } = ctx.model;
  const destination = logDestinations.at(-1);
  const type = logTypes.at(-1);
  const types = ["log_type error", "log_type warning", "log_type notice", "log_type information"];
  if (destination?.words[0] === "none") {
    ctx.find("HW006", "The broker logs nowhere (log_dest none): refused passwords and takeovers leave no trace.", {
      place: destination.place,
      edits: [replaceLine(destination.place, "log_dest stderr")],
    });
  } else if (type?.words[0] === "none") {
    ctx.find("HW006", "The broker logs nothing (log_type none): refused passwords and takeovers leave no trace.", {
      place: type.place,
      edits: [replaceLine(type.place, ...types)],
    });
  }
  for (const { place, words } of destination?.words[0] === "none" ? [] : forgeableLogTypes(ctx.model)) {
    const what =
      words[0] === "all"
        ? "log_type all includes the types subscribe and unsubscribe: their lines begin"
        : `Lines of log_type ${words[0] ?? ""} begin`;
    ctx.find("HW012", `${what} with the client's id, so any client can write a line that looks like the broker's.`, {
      place,
      edits: [words[0] === "all" ? replaceLine(place, ...types) : removeLine(place)],
    });
  }
  const connections = global.get("connection_messages");
  if (connections !== undefined && global.flag("connection_messages") === false) {
    ctx.find("HW006", "The log says nothing of connections (connection_messages false): who came and who was refused is not seen.", {
      place: connections.place,
      severity: "low",
      edits: [removeLine(connections.place)],
    });
  }
}

/** The lines that let clients write into the log: lines of these types begin with the client's text. */
export function forgeableLogTypes({ logTypes }: MosquittoModel): readonly Directive[] {
  const reset = logTypes.map(({ words }) => words[0]).lastIndexOf("none");
  return logTypes.slice(reset + 1).filter(({ words }) => ["all", "subscribe", "unsubscribe"].includes(words[0] ?? ""));
}

function checkLimits(ctx: AuditContext): void {
  const { global } = ctx.model;
  for (const name of ["max_queued_messages", "max_inflight_messages"]) {
    const line = global.get(name);
    if (line === undefined || (global.number(name) ?? 0) > 0) continue;
    if (name === "max_queued_messages" && (global.number("max_queued_bytes") ?? 0) > 0) continue;
    ctx.find("HW007", `${name} 0 means no limit: one subscriber that stays away fills the memory.`, {
      place: line.place,
      edits: [removeLine(line.place)],
    });
  }
}

function checkDirectories(ctx: AuditContext): void {
  const { model } = ctx;
  for (const listener of model.listeners) {
    const line = listener.settings.get("http_dir");
    if (line === undefined) continue;
    const security = securityOf(model, listener).settings;
    const named = [...listener.settings.all(), ...security.all()].filter(({ name }) =>
      /^(keyfile|password_file|psk_file|acl_file|certfile)$/.test(name),
    );
    const published = named.filter(({ value }) => isBelow(ctx.pathOf(line.value), ctx.pathOf(value)));
    const isConfig = isBelow(ctx.pathOf(line.value), ctx.conf.directory);
    const secrets = published.map(({ name }) => name).join(", ");
    const severity = published.some(({ name }) => /keyfile|password_file|psk_file/.test(name)) ? "critical" : isConfig ? "high" : "medium";
    const what =
      secrets !== ""
        ? `http_dir ${line.value} publishes ${secrets} to everybody who reaches ${nameOf(listener)}.`
        : `Everybody who reaches ${nameOf(listener)} may read the files below ${line.value}, without a password.`;
    ctx.find("HW008", what, { place: line.place, severity, edits: [removeLine(line.place)] });
  }
  for (const name of ["persistence_location", "pid_file"]) {
    const line = model.global.get(name);
    if (line === undefined || !isOpenToAll(line.value)) continue;
    const edit = name === "pid_file" ? removeLine(line.place) : replaceLine(line.place, "persistence_location /var/lib/mosquitto/");
    ctx.find("HW009", `${name} ${line.value} lies in a directory that every local user can write.`, {
      place: line.place,
      severity: name === "pid_file" ? "low" : "medium",
      edits: [edit],
    });
  }
}

/** In a directory for everybody, and not below one there that only its owner writes. */
function isOpenToAll(path: string): boolean {
  const [, common = "", first = ""] = /^((?:\/var)?\/tmp|\/dev\/shm)(?:\/+([^/]+))?/.exec(path) ?? [];
  if (common === "") return false;
  try {
    const { mode } = lstatSync(`${common}/${first}`);
    return (mode & 0o002) !== 0 || (mode & 0o170000) !== 0o040000;
  } catch {
    return true;
  }
}

function isBelow(directory: string, path: string): boolean {
  const way = relative(directory, path);
  return !way.startsWith("..") && !way.startsWith("/");
}

function checkDeadLines(ctx: AuditContext): void {
  const { model } = ctx;
  for (const { directive, scope } of model.deadLines) {
    const { name, words, place } = directive;
    // HW025 and HW060 tell of these where they matter; a false that is the default anyway changes nothing.
    if (name === "allow_anonymous" || name === "acl_file") continue;
    const target = model.listeners.find((listener) => !listener.isDefault);
    const where =
      scope === "security"
        ? "with per_listener_settings it applies to the default listener alone, which is not there"
        : "it stands above the first listener and applies to none";
    ctx.find("HW003", `${name} ${words.join(" ")} has no effect: ${where}.`, {
      place,
      edits: target === undefined ? [] : [removeLine(place), insertAfter(target.place, place.text)],
    });
  }
}

function noteVersion(ctx: AuditContext): void {
  const { model } = ctx;
  const { version } = model;
  if (!version.atLeast(2, 0, 21)) {
    ctx.note(
      `mosquitto ${version.text} lacks fixes of later releases (CVE-2023-28366, CVE-2023-0809, CVE-2023-3592 in 2.0.16; CVE-2021-34434 in 2.0.12). Debian carries some of them in its package: keep it up to date.`,
    );
  }
  if (!version.atLeast(2, 0, 12)) {
    for (const { settings } of model.listeners) {
      const limit = settings.get("max_connections");
      if (limit !== undefined)
        ctx.note(`max_connections counts wrongly in mosquitto up to 2.0.11: after some disconnects it limits nothing.`, limit.place);
    }
  }
  if (version.atLeast(2, 1)) {
    for (const name of ["acl_file", "password_file"]) {
      const line =
        model.security.settings.get(name) ??
        model.listeners.map(({ security }) => security.settings.get(name)).find((found) => found !== undefined);
      if (line !== undefined) ctx.note(`${name} is deprecated in 2.1: a plugin takes its place in 3.0.`, line.place);
    }
    const per = model.global.get("per_listener_settings");
    if (per !== undefined) ctx.note("per_listener_settings is deprecated in 2.1, and gone in 3.0.", per.place);
  }
}
