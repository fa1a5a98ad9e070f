/** `policy serve`: the decision point, following its files. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import { proveCa } from "../../ca/ca-without-passphrase.js";
import { startDecisionServer } from "../../decision-point/decision-server.js";
import { PolicyEngine } from "../../policy/policy-engine.js";
import { checkPolicy, policyErrors } from "../../policy/policy-check.js";
import { parsePolicy } from "../../policy/policy-file.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Context } from "../command-runner.js";
import { caPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { BUILT_IN, loadPolicy, needNames, policyText } from "./policy-place.js";
import type { PolicySources } from "./policy-place.js";
import { readSecretFile, readSecretLine } from "../secret-files.js";
import type { Terminal } from "../terminal.js";

export interface ServeOptions extends PolicySources, PassphraseOptions {
  port: number;
  host: string;
  tlsCert?: string;
  tlsKey?: string;
  secretFile?: string;
  cacheSeconds?: number;
}

/** Files that nothing announces are looked at that often. */
const LOOK_MS = 1000;

export async function serve(options: ServeOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  const passphrase = await passphraseFor(options, context);
  if (options.dir !== undefined && passphrase === undefined) {
    terminal.warning(
      new HawserError(
        "NOT_PROVED",
        "without the CA's passphrase nothing proves that policy and names are what the CA wrote",
        "Give --ca-passphrase-file, or see to it that nobody else can write to the CA directory.",
      ),
    );
  }
  let engine = await load(options, passphrase);
  const counts = { questions: 0, denied: 0 };
  const server = await startDecisionServer(() => engine, {
    port: options.port,
    host: options.host,
    ...tlsOf(options),
    ...(options.secretFile === undefined ? {} : { secret: readSecretLine(options.secretFile) }),
    ...(options.cacheSeconds === undefined ? {} : { cacheSeconds: options.cacheSeconds }),
    onAnswer: (_path, { allowed }) => {
      counts.questions += 1;
      if (!allowed) counts.denied += 1;
    },
  });
  const reload = (): void => {
    load(options, passphrase).then(
      (next) => {
        engine = next;
        terminal.event("reloaded", {}, "the policy or its names changed");
      },
      (error: unknown) => reportReload(terminal, error),
    );
  };
  const unwatch = follow(options, reload);
  try {
    const { port } = server;
    terminal.event("ready", { host: options.host, port }, `decision point on ${options.host}:${port}`, "green");
    await stop.asked;
  } finally {
    unwatch();
    await server.close();
  }
  terminal.event("stopped", counts, `${counts.questions} questions, ${counts.denied} denied`);
}

/** A policy with errors is never served: the tenants' wall is proved, or nothing is answered. */
async function load(options: PolicySources, passphrase: string | undefined): Promise<PolicyEngine> {
  const view = options.dir !== undefined && passphrase !== undefined ? await proveCa(options.dir, passphrase) : undefined;
  const policy =
    view === undefined || options.policy !== undefined
      ? loadPolicy(options)
      : parsePolicy(view.policyText(), join(view.directory, "policy.yaml"));
  const names = view?.names() ?? needNames(options);
  const errors = policyErrors(checkPolicy(policy, names));
  if (errors.length > 0) throw new PolicyError(policyText(options).file, errors);
  return new PolicyEngine(policy, names);
}

/** Of the CA, where it is given or in the environment; nobody is asked for it. */
async function passphraseFor(options: ServeOptions, { env }: Context): Promise<string | undefined> {
  const isGiven =
    options.caPassphraseFile !== undefined ||
    options.passphraseFile !== undefined ||
    env["HAWSER_CA_PASSPHRASE"] !== undefined ||
    env["HAWSER_PASSPHRASE"] !== undefined;
  return options.dir !== undefined && isGiven ? caPassphrase({ ...options, dir: options.dir }, env) : undefined;
}

function reportReload(terminal: Terminal, error: unknown): void {
  terminal.event(
    "reload-failed",
    { code: errorCode(error), message: errorMessage(error) },
    `${errorCode(error)}: ${errorMessage(error)}; the last good state counts`,
    "red",
  );
}

function follow(options: ServeOptions, changed: () => void): () => void {
  const files = [policyText(options).file, options.inventory].filter((file): file is string => file !== undefined && file !== BUILT_IN);
  let seen = stateOf(files);
  const timer = setInterval(() => {
    const now = stateOf(files);
    if (now === seen) return;
    seen = now;
    changed();
  }, LOOK_MS);
  const unwatch = options.dir === undefined ? undefined : watchCa(options.dir, changed);
  return () => {
    clearInterval(timer);
    unwatch?.();
  };
}

function stateOf(files: readonly string[]): string {
  return files
    .map((file) => {
      const found = statSync(file, { throwIfNoEntry: false });
      return found === undefined ? "gone" : `${found.mtimeMs} ${found.size} ${found.ino}`;
    })
    .join("|");
}

function tlsOf({ tlsCert, tlsKey }: ServeOptions): { tls?: { certPem: string; keyPem: string } } {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new HawserError("USAGE", "--tls-cert and --tls-key must be used together", "Give both, or neither.");
  return tlsCert === undefined || tlsKey === undefined
    ? {}
    : { tls: { certPem: readFileSync(tlsCert, "utf8"), keyPem: readSecretFile(tlsKey).toString("utf8") } };
}
