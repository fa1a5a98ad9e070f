/** `policy compile`: writes a broker's files, all of them or none. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { findControlPlugin } from "../../brokers/mosquitto/mosquitto-process.js";
import { compilePolicy } from "../../brokers/policy-compilers.js";
import type { CompilerOptions } from "../../brokers/policy-compilers.js";
import { checkPolicy, policyErrors } from "../../policy/policy-check.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { PolicyError } from "../../policy/policy-text.js";
import { CompileInput } from "../../policy/policy-target.js";
import type { Policy } from "../../policy/policy-model.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { loadPolicy, needNames, policyText } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";

export interface CompileOptions extends PolicySources, PassphraseOptions {
  for: string;
  out: string;
  at?: string;
  tls?: string;
  listener?: string[];
  plugin?: string;
  user?: string;
  keys?: boolean;
}

const MARK = "written-by-hawser";

export async function compile(options: CompileOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const keys = await keysFor(options, context);
  const policy = only(loadPolicy(options), options.listener);
  const names = needNames(options);
  const errors = policyErrors(checkPolicy(policy, names));
  if (errors.length > 0) throw new PolicyError(policyText(options).file, errors);
  const at = resolve(options.at ?? options.out);
  if (/[\p{Cc}"\\ ]/u.test(at))
    throw new HawserError(
      "OUT_EXISTS",
      `${JSON.stringify(at)} cannot be used in a broker's configuration`,
      "Choose a path without spaces, quotes or control characters.",
    );
  const tls = resolve(options.tls ?? at);
  const paths = {
    anchors: join(tls, "ca.crt.pem"),
    chain: join(tls, "broker.crt.pem"),
    key: join(tls, "broker.key.pem"),
    crl: join(tls, "crl.pem"),
    psk: join(tls, "psk.txt"),
  };
  const {
    files,
    risks,
    directories = [],
    initial = new Map<string, string>(),
  } = compilePolicy(options.for, new CompileInput(new PolicyEngine(policy, names), at, paths), compilerOptions(options));
  const out = resolve(options.out);
  writeTogether(out, new Map([...files, ...keys]));
  for (const name of directories) mkdirSync(join(out, name), { recursive: true, mode: 0o700 });
  for (const [name, text] of initial) if (!existsSync(join(out, name))) writeFileSync(join(out, name), text, { mode: 0o600 });
  const list = [...files.keys(), ...keys.keys()];
  terminal.result({ for: options.for, out: options.out, files: list, risks: [...risks] }, [
    ...list.map((file) => `Wrote ${join(options.out, file)}`),
    ...(risks.length === 0 ? [] : ["What remains:", ...risks.map((risk) => `- ${risk}`)]),
  ]);
}

/** @throws HawserError `USAGE`, and those of opening a CA */
async function keysFor(options: CompileOptions, context: Context): Promise<ReadonlyMap<string, string>> {
  const { keys = false, dir, tls } = options;
  if (!keys) return new Map();
  if (dir === undefined || tls !== undefined)
    throw new HawserError("USAGE", "--keys copies the broker's keys from a CA directory into OUT", "Give --dir, and leave out --tls.");
  const ca = await openCaOf({ ...options, dir }, context);
  return ca.brokerFiles();
}

/** @throws HawserError `USAGE` */
function compilerOptions({ for: target, plugin, user }: CompileOptions): CompilerOptions {
  if (!target.startsWith("mosquitto")) {
    if (plugin !== undefined || user !== undefined)
      throw new HawserError("USAGE", "--plugin and --user are for mosquitto", "Leave them out.");
    return {};
  }
  if (user !== undefined && !/^[A-Za-z_][A-Za-z0-9_-]*$/.test(user))
    throw new HawserError("USAGE", `invalid user name ${JSON.stringify(user)}`, "Give the user mosquitto runs as on the broker's machine.");
  const isPath = plugin === undefined || plugin === "none" || (isAbsolute(plugin) && !/[\p{Cc} ]/u.test(plugin));
  if (!isPath)
    throw new HawserError(
      "USAGE",
      `invalid plugin path ${JSON.stringify(plugin)}`,
      "Give the absolute path of mosquitto_dynamic_security.so on the broker's machine, or none.",
    );
  const path = plugin === "none" ? undefined : (plugin ?? findControlPlugin());
  return { ...(user === undefined ? {} : { user }), ...(path === undefined ? {} : { plugin: path }) };
}

/** The policy with these listeners alone: one broker of several may have fewer. */
function only(policy: Policy, listeners: readonly string[] | undefined): Policy {
  if (listeners === undefined) return policy;
  for (const name of listeners)
    if (!policy.listeners.has(name))
      throw new HawserError("USAGE", `the policy has no listener ${name}`, `Choose one of ${[...policy.listeners.keys()].join(", ")}.`);
  return { ...policy, listeners: new Map([...policy.listeners].filter(([name]) => listeners.includes(name))) };
}

/** Into a directory beside, which then takes the place of the old one: a broker never sees half a configuration. */
function writeTogether(out: string, files: ReadonlyMap<string, string>): void {
  const beside = join(dirname(out), `.${basename(out)}.new`);
  const old = join(dirname(out), `.${basename(out)}.old`);
  for (const path of [out, beside, old]) requireOurs(path);
  finish(out, old);
  rmSync(beside, { recursive: true, force: true });
  for (const [name, text] of [[MARK, ""] as const, ...files]) {
    mkdirSync(dirname(join(beside, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(beside, name), text, { mode: 0o600 });
  }
  if (existsSync(out)) renameSync(out, old);
  renameSync(beside, out);
  finish(out, old);
}

/**
 * Brings an exchange to its end, one that a kill or a full disk cut off too: what was not written by this command is in `old` then, and
 * nowhere else.
 */
function finish(out: string, old: string): void {
  if (!existsSync(old)) return;
  if (!existsSync(out)) {
    renameSync(old, out);
    return;
  }
  // Keys, the administrator's lines, a broker's data. What is there already was written by this command.
  const written = new Set(readdirSync(out));
  for (const name of readdirSync(old)) if (!written.has(name)) renameSync(join(old, name), join(out, name));
  rmSync(old, { recursive: true, force: true });
}

function requireOurs(out: string): void {
  let names: string[];
  try {
    names = readdirSync(out);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (names.length === 0 || (names.includes(MARK) && readFileSync(join(out, MARK), "utf8") === "")) return;
  throw new HawserError("OUT_EXISTS", `${out} exists and was not written by this command`, "Choose another directory, or empty it.");
}
