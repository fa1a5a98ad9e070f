/** The file that says whom `hawser monitor` tells of events, read into hooks that are ready to run. */
import { dirname, isAbsolute, resolve } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parseDocument } from "yaml";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { readRegularFile } from "../../../sim/node/files/safe-path.js";
import { CommandHook } from "../../monitor/hooks/command-hook.js";
import { EVENT_KINDS, SEVERITIES } from "../../monitor/hooks/event-severity.js";
import type { Severity } from "../../monitor/hooks/event-severity.js";
import { HookQueue } from "../../monitor/hooks/hook-queue.js";
import type { HookResult } from "../../monitor/hooks/hook-queue.js";
import { Webhook } from "../../monitor/hooks/webhook.js";
import type { MonitorEvent } from "../../monitor/log-monitor.js";
import { ALERT_RULES } from "../../monitor/alert.js";
import type { AlertRule } from "../../monitor/alert.js";
import { readNamedSecretFile } from "../secret-files.js";
import { parsePositiveDurationMs } from "../flag-values.js";

interface HookEntry {
  readonly name: string;
  readonly url?: string;
  readonly "secret-file"?: string;
  readonly "ca-file"?: string;
  readonly command?: readonly [string, ...string[]];
  readonly events?: readonly MonitorEvent["kind"][];
  readonly severity?: Severity;
  readonly rules?: readonly AlertRule[];
  readonly "per-minute"?: number;
  readonly timeout?: string;
}

const MAX_BYTES = 64 * 1024;
const MAX_CA_BYTES = 1024 * 1024;
const MAX_ALIASES = 20;
const MIN_SECRET_BYTES = 16;
const DEFAULT_PER_MINUTE = 10;
const DEFAULT_TIMEOUT = "10s";
/** A stop of the monitor waits no longer than this for a hook. */
const MAX_TIMEOUT_MS = 5 * 60_000;
const LOOPBACK: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

const TEXT = { type: "string", minLength: 1, maxLength: 4096, pattern: "^[^\\u0000]*$" } as const;
const HOOK_SCHEMA = {
  type: "object",
  required: ["name"],
  additionalProperties: false,
  properties: {
    name: { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$" },
    url: TEXT,
    "secret-file": TEXT,
    "ca-file": TEXT,
    command: { type: "array", minItems: 1, maxItems: 64, items: TEXT },
    events: { type: "array", minItems: 1, items: { enum: EVENT_KINDS } },
    severity: { enum: SEVERITIES },
    rules: { type: "array", minItems: 1, items: { enum: ALERT_RULES } },
    "per-minute": { type: "integer", minimum: 1, maximum: 600 },
    timeout: TEXT,
  },
} as const;
const validate = new Ajv2020({ strict: false }).compile<{ hooks: readonly HookEntry[] }>({
  type: "object",
  required: ["hooks"],
  additionalProperties: false,
  properties: { hooks: { type: "array", minItems: 1, maxItems: 16, items: HOOK_SCHEMA } },
});

export interface HooksOwner {
  /** A hook went wrong: its name, and how. */
  failed(hook: string, reason: string): void;
  settled(result: HookResult): void;
}

/**
 * @throws HawserError `HOOKS_INVALID`; `PASSPHRASE_FILE_EXPOSED` for a secret that everybody can read; `NOT_A_FILE` for a pipe or device;
 *   the system's errors
 */
export function readHookFile(file: string, owner: HooksOwner): HookQueue[] {
  const { hooks } = valuesOf(file);
  const names = new Set<string>();
  return hooks.map((entry) => {
    const { name, events, severity, rules } = entry;
    if (names.has(name)) throw invalid(file, `two hooks are called ${name}`, "Give each hook another name.");
    names.add(name);
    const filter = { events: events ?? (severity === undefined ? ["alert" as const] : undefined), severity, rules };
    const limits = { perMinute: entry["per-minute"] ?? DEFAULT_PER_MINUTE };
    return new HookQueue(targetOf(entry, file), filter, limits, {
      failed: (reason) => owner.failed(name, reason),
      settled: (result) => owner.settled(result),
    });
  });
}

function targetOf({ name, url, command, timeout = DEFAULT_TIMEOUT, ...files }: HookEntry, file: string): Webhook | CommandHook {
  const timeoutMs = parsePositiveDurationMs(timeout);
  if (timeoutMs > MAX_TIMEOUT_MS) throw invalid(file, `${name}: timeout ${timeout} is too long`, "Use at most 5m.");
  if ((url === undefined) === (command === undefined))
    throw invalid(file, `${name} needs either url or command`, "Give one of them, and not both.");
  if (command !== undefined) {
    if (files["secret-file"] !== undefined || files["ca-file"] !== undefined)
      throw invalid(file, `${name}: secret-file and ca-file need url`, "Remove them.");
    if (!isAbsolute(command[0]))
      throw invalid(file, `${name}: the program of command must be an absolute path`, "Write /usr/bin/NAME: no shell looks it up.");
    return new CommandHook({ command, timeoutMs });
  }
  const at = (path: string): string => resolve(dirname(file), path);
  const { "secret-file": secretFile, "ca-file": caFile } = files;
  const secret = secretFile === undefined ? undefined : withoutLineEnd(readNamedSecretFile(at(secretFile)));
  if (secret !== undefined && secret.length < MIN_SECRET_BYTES)
    throw invalid(file, `${name}: the secret has fewer than ${MIN_SECRET_BYTES} bytes`, "Make one: openssl rand -hex 32.");
  const ca = caFile === undefined ? undefined : readRegularFile(at(caFile), MAX_CA_BYTES).bytes.toString("utf8");
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----"))
    throw invalid(file, `${name}: ca-file holds no PEM certificate`, "Name the CA certificate that the server's chain ends in.");
  return new Webhook({ url: addressOf(url ?? "", name, file), timeoutMs, secret, ca, userAgent: `hawser/${HAWSER_VERSION}` });
}

/** The address is not repeated: it often holds a token. */
function addressOf(text: string, name: string, file: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const next = "Use https://HOST/PATH; http only to localhost.";
  if (url === undefined || !(url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.has(url.hostname))))
    throw invalid(file, `${name}: the url is not https`, next);
  if (url.username !== "" || url.password !== "") throw invalid(file, `${name}: the url holds a user name or password`, next);
  return url;
}

function valuesOf(file: string): { readonly hooks: readonly HookEntry[] } {
  const { bytes, mode } = readRegularFile(file, MAX_BYTES);
  // Who can write it can run programs as the monitor's user.
  if ((mode & 0o002) !== 0) throw invalid(file, "all users may write this file", `Run: chmod 600 ${file}`);
  const text = bytes.toString("utf8");
  const next = "docs/monitoring.md has an example.";
  const document = parseDocument(text, { uniqueKeys: true, version: "1.2", merge: false });
  const problem = document.errors[0];
  if (problem !== undefined) throw invalid(file, problem.message.split("\n")[0] ?? "it is not YAML", next);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw invalid(file, errorMessage(error), next);
  }
  if (validate(value)) return value;
  const { instancePath = "", message = "is not valid", params = {} } = validate.errors?.[0] ?? {};
  const detail = [params["additionalProperty"], params["allowedValues"]].find((found) => found !== undefined);
  throw invalid(file, `${instancePath.slice(1) || "the file"} ${message}${detail === undefined ? "" : `: ${String(detail)}`}`, next);
}

function withoutLineEnd(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1").replace(/\r?\n$/, "");
  return Buffer.from(text, "latin1");
}

function invalid(file: string, what: string, next: string): HawserError {
  return new HawserError("HOOKS_INVALID", `${file}: ${what}`, next);
}
