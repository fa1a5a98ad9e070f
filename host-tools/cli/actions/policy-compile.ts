/** `policy compile`: writes a broker's files, all of them or none. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { compilePolicy } from "../../brokers/policy-compilers.js";
import { checkPolicy, policyErrors } from "../../policy/policy-check.js";
import { PolicyEngine } from "../../policy/engine.js";
import { PolicyError } from "../../policy/policy-text.js";
import { CompileInput } from "../../policy/target.js";
import type { Policy } from "../../policy/policy-model.js";
import type { Context } from "../command-runner.js";
import { loadPolicy, needNames, policyText } from "../policy-place.js";
import type { PolicySources } from "../policy-place.js";

export interface CompileOptions extends PolicySources {
  for: string;
  out: string;
  at?: string;
  tls?: string;
  listener?: string[];
}

const MARK = "written-by-hawser";

export async function compile(options: CompileOptions, { terminal }: Context): Promise<void> {
  const policy = only(loadPolicy(options), options.listener);
  const names = needNames(options);
  const errors = policyErrors(checkPolicy(policy, names));
  if (errors.length > 0) throw new PolicyError(policyText(options).file, errors);
  const at = resolve(options.at ?? options.out);
  if (/[\p{Cc}"\\ ]/u.test(at)) throw new HawserError("OUT_EXISTS", `${JSON.stringify(at)} cannot be used in a broker's configuration`, "Choose a path without spaces, quotes or control characters.");
  const tls = resolve(options.tls ?? at);
  const paths = { anchors: join(tls, "ca.crt.pem"), chain: join(tls, "broker.crt.pem"), key: join(tls, "broker.key.pem"), crl: join(tls, "crl.pem"), psk: join(tls, "psk.txt") };
  const { files, risks, directories = [] } = compilePolicy(options.for, new CompileInput(new PolicyEngine(policy, names), at, paths));
  writeTogether(resolve(options.out), files);
  for (const name of directories) mkdirSync(join(resolve(options.out), name), { recursive: true, mode: 0o700 });
  const list = [...files.keys()];
  terminal.result({ for: options.for, out: options.out, files: list, risks: [...risks] }, [...list.map((file) => `Wrote ${join(options.out, file)}`), ...(risks.length === 0 ? [] : ["What remains:", ...risks.map((risk) => `- ${risk}`)])]);
}

/** The policy with these listeners alone: one broker of several may have fewer. */
function only(policy: Policy, listeners: readonly string[] | undefined): Policy {
  if (listeners === undefined) return policy;
  for (const name of listeners) if (!policy.listeners.has(name)) throw new HawserError("USAGE", `the policy has no listener ${name}`, `Choose one of ${[...policy.listeners.keys()].join(", ")}.`);
  return { ...policy, listeners: new Map([...policy.listeners].filter(([name]) => listeners.includes(name))) };
}

/** Into a directory beside, which then takes the place of the old one: a broker never sees half a configuration. */
function writeTogether(out: string, files: ReadonlyMap<string, string>): void {
  requireOurs(out);
  const beside = join(dirname(out), `.${basename(out)}.new`);
  const old = join(dirname(out), `.${basename(out)}.old`);
  for (const path of [beside, old]) rmSync(path, { recursive: true, force: true });
  for (const [name, text] of [...files, [MARK, ""] as const]) {
    mkdirSync(dirname(join(beside, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(beside, name), text, { mode: 0o600 });
  }
  let hadOne = true;
  try {
    renameSync(out, old);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    hadOne = false;
  }
  renameSync(beside, out);
  if (hadOne) keepForeign(old, out, files);
  rmSync(old, { recursive: true, force: true });
}

/** What others put there (keys, the administrator's lines, a broker's data) moves along. */
function keepForeign(old: string, out: string, files: ReadonlyMap<string, string>): void {
  const ours = new Set([...files.keys(), MARK].map((file) => file.split("/")[0]));
  for (const name of readdirSync(old)) if (!ours.has(name)) renameSync(join(old, name), join(out, name));
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
