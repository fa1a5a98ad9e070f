/** Makes a CA directory. */
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { DEFAULT_LIFETIMES } from "../../ca-directory/ca-record.js";
import { initCa } from "../../ca/init.js";
import type { InitOptions } from "../../ca/init.js";
import { openCaReadOnly, trustAnchorFile } from "../../ca/read-only.js";
import type { KeyType } from "../../pki/signer.js";
import type { Context } from "../command-runner.js";
import { DIRECTORIES } from "../../ca-directory/directory-layout.js";
import { caPassphrase, rootPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { checkSigner, tokenKeyMaker } from "../token-keys.js";

type Life = keyof typeof DEFAULT_LIFETIMES;

export interface CaInitOptions extends PassphraseOptions, Record<`${Life}Life`, number> {
  dir: string;
  name: string;
  brokerHost?: readonly string[];
  rootName?: string;
  issuingName?: string;
  rootKey: KeyType;
  issuingKey: KeyType;
  signer?: string;
  rootSigner?: string;
  root: "here" | "offline";
  existingKey?: boolean;
  json?: boolean;
}

export async function makeCa(options: CaInitOptions, context: Context): Promise<void> {
  const { terminal, env } = context;
  const lifetimesMs = checkedLifetimes(options);
  for (const uri of [options.signer, options.rootSigner]) checkSigner(uri);
  const passphrase = await caPassphrase(options, env, true);
  const offlineRoot = options.root === "offline" ? { passphrase: await rootPassphrase(options, env, "the offline root", passphrase) } : undefined;
  const make = tokenKeyMaker(options, context);
  const { name, rootName, issuingName, rootKey, issuingKey, brokerHost: brokerHosts } = options;
  const signers = { ...named("root", make(options.rootSigner, rootKey)), ...named("issuing", make(options.signer, issuingKey)) };
  const names: Partial<InitOptions> = { ...named("rootName", rootName), ...named("issuingName", issuingName), ...named("brokerHosts", brokerHosts) };
  await initCa(options.dir, { name, ...names, passphrase, lifetimesMs, keyTypes: { root: rootKey, issuing: issuingKey }, signers, ...named("offlineRoot", offlineRoot) });
  const view = openCaReadOnly(options.dir);
  const root = trustAnchorFile(options.dir);
  const keys = { root: offlineRoot !== undefined ? "offline" : signers.root === undefined ? "file" : "token", issuing: signers.issuing === undefined ? "file" : "token" };
  terminal.result({ dir: options.dir, name: view.name, brokerHosts: view.brokerHosts, root, keys }, [
    `The CA "${view.name}" is in ${options.dir}, with a broker certificate for ${view.brokerHosts.join(", ")}.`,
    ...(keys.issuing === "token" ? [`The issuing key is in the token${keys.root === "token" ? ", and so is the root's" : "; the root's is in a sealed file"}.`] : []),
    ...(offlineRoot === undefined ? [] : [offlineAdvice(options.dir, offlineRoot.passphrase === passphrase)]),
    `Next: hawser provision --dir ${options.dir} --id ID --vault ${join(".", "ID.vault")}`,
  ]);
}

function offlineAdvice(dir: string, isSamePassphrase: boolean): string {
  const same = isSamePassphrase ? " It has the CA's passphrase; another is better: --root-passphrase-file." : "";
  return `The root's key is in ${join(dir, DIRECTORIES.offlineRoot)} alone: move that folder to a safe, with a copy elsewhere.${same}`;
}

/** A certificate never outlives its issuer: a longer life would be cut short without a word. Throws `BAD_DURATION`. */
function checkedLifetimes(options: CaInitOptions): Record<Life, number> {
  const lives = Object.keys(DEFAULT_LIFETIMES) as Life[];
  const check = (life: Life, issuer: Life): void => {
    if (options[`${life}Life`] <= options[`${issuer}Life`]) return;
    throw new HawserError("BAD_DURATION", `--${life}-life is longer than --${issuer}-life: no certificate outlives its issuer`, "Shorten the one or lengthen the other.");
  };
  check("issuing", "root");
  for (const life of ["device", "client", "broker"] as const) check(life, "issuing");
  return Object.fromEntries(lives.map((life) => [life, options[`${life}Life`]])) as Record<Life, number>;
}

function named<Name extends string, Value>(name: Name, value: Value | undefined): Partial<Record<Name, Value>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, Value>);
}
