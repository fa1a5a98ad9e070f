/** Makes a CA directory. */
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { DEFAULT_LIFETIMES } from "../../ca-directory/ca-record.js";
import { readFileSync } from "node:fs";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { readParentFile } from "../../ca/parent-chain.js";
import { beginUnderParent, finishUnderParent } from "../../ca/pending-ca.js";
import { tokenSigners } from "../../pkcs11/token-signer.js";
import { day } from "../dates.js";
import type { RegistryPlace } from "../../ca-directory/registry-kinds.js";
import { databaseAddress } from "../../ca-directory/database-source.js";
import type { Unlocked } from "../../ca-directory/proved-reading.js";
import { logNames } from "../../ca-directory/postgres-log.js";
import { openUnlocked } from "../../ca/certificate-authority.js";
import { createCa } from "../../ca/ca-creation.js";
import type { InitOptions } from "../../ca/ca-creation.js";
import { openCaParts, trustAnchorFile } from "../../ca/ca-without-passphrase.js";
import type { KeyType } from "../../pki/signer.js";
import type { Context } from "../command-runner.js";
import { DIRECTORIES } from "../../ca-directory/directory-layout.js";
import { caPassphrase, rootPassphrase, tokenPins } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { checkSigner, tokenKeyMaker } from "../policy/token-keys.js";

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
  root: "here" | "offline" | "parent";
  csr?: string;
  chain?: readonly string[];
  crl?: readonly string[];
  existingKey?: boolean;
  crlUrl?: string;
  registry: RegistryPlace;
  registryUrlFile?: string;
  json?: boolean;
}

export async function makeCa(options: CaInitOptions, context: Context): Promise<void> {
  const { terminal, env } = context;
  const lifetimesMs = checkedLifetimes(options);
  for (const uri of [options.signer, options.rootSigner]) checkSigner(uri);
  checkParentOptions(options);
  const passphrase = await caPassphrase(options, env, options.chain === undefined);
  const offlineRoot =
    options.root === "offline" ? { passphrase: await rootPassphrase(options, env, "the offline root", passphrase) } : undefined;
  if (options.chain !== undefined) return finish(options, options.chain, passphrase, context);
  const make = tokenKeyMaker(options, context);
  const { name, rootName, issuingName, rootKey, issuingKey, brokerHost: brokerHosts } = options;
  const signers = { ...named("root", make(options.rootSigner, rootKey)), ...named("issuing", make(options.signer, issuingKey)) };
  const names: Partial<InitOptions> = {
    ...named("rootName", rootName),
    ...named("issuingName", issuingName),
    ...named("brokerHosts", brokerHosts),
    ...named("crlBase", options.crlUrl),
    registry: options.registry === "postgres" ? "files" : options.registry,
  };
  if (options.registry === "postgres") await checkDatabase(options);
  if (options.csr !== undefined) {
    const request = await beginUnderParent(
      options.dir,
      { name, ...names, passphrase, lifetimesMs, keyTypes: { issuing: issuingKey }, signers },
      tokenSigners(tokenPins(options, env, terminal)),
    );
    writeFileAtomic(options.csr, request);
    terminal.result({ dir: options.dir, csr: options.csr }, [
      `The request for the issuing CA is in ${options.csr}: have the parent PKI sign it as a subordinate CA (path length 0).`,
      `Then: hawser ca init --dir ${options.dir} --chain CERTIFICATES --crl REVOCATION-LISTS`,
    ]);
    return;
  }
  const created = await createCa(options.dir, {
    name,
    ...names,
    passphrase,
    lifetimesMs,
    keyTypes: { root: rootKey, issuing: issuingKey },
    signers,
    ...named("offlineRoot", offlineRoot),
  });
  if (options.registry === "postgres") await share(created, options, context);
  const view = openCaParts(options.dir);
  const root = trustAnchorFile(options.dir);
  const keys = {
    root: offlineRoot !== undefined ? "offline" : signers.root === undefined ? "file" : "token",
    issuing: signers.issuing === undefined ? "file" : "token",
  };
  terminal.result({ dir: options.dir, name: view.name, brokerHosts: view.brokerHosts, root, keys }, [
    `The CA "${view.name}" is in ${options.dir}, with a broker certificate for ${view.brokerHosts.join(", ")}.`,
    ...(keys.issuing === "token"
      ? [`The issuing key is in the token${keys.root === "token" ? ", and so is the root's" : "; the root's is in a sealed file"}.`]
      : []),
    ...(offlineRoot === undefined ? [] : [offlineAdvice(options.dir, offlineRoot.passphrase === passphrase)]),
    `Next: hawser provision --dir ${options.dir} --id ID --vault ${join(".", "ID.vault")}`,
  ]);
}

/** Before anything is made. */
async function checkDatabase({ dir, csr, registryUrlFile }: CaInitOptions): Promise<void> {
  if (csr !== undefined)
    throw new HawserError(
      "USAGE",
      "a CA that waits for its parent is not shared yet",
      "When it is made, run: hawser registry move --to postgres",
    );
  await logNames(databaseAddress(new CaDirectory(dir), registryUrlFile));
}

async function share(created: Unlocked, { registryUrlFile, pinFile }: CaInitOptions, { terminal, env }: Context): Promise<void> {
  const ca = await openUnlocked(created, {
    signerFor: tokenSigners(tokenPins({ ...named("pinFile", pinFile) }, env, terminal)),
  });
  await ca.moveRegistry("postgres", named("urlFile", registryUrlFile));
}

/** @throws HawserError `USAGE` */
function checkParentOptions({ root, csr, chain, rootSigner }: CaInitOptions): void {
  const wrong = (what: string): HawserError => new HawserError("USAGE", what, "See hawser ca init --help.");
  if ((root === "parent") !== (csr !== undefined)) throw wrong("--root parent and --csr belong together");
  if (chain !== undefined && csr !== undefined) throw wrong("--chain is for the second run, when the parent has signed");
  if (csr !== undefined && rootSigner !== undefined) throw wrong("the root is the parent's: --root-signer makes no sense");
}

async function finish(options: CaInitOptions, chain: readonly string[], passphrase: string, { terminal, env }: Context): Promise<void> {
  const parts = [...chain, ...(options.crl ?? [])].map((file) => readParentFile(readFileSync(file), file));
  const answer = { certificates: parts.flatMap(({ certificates }) => certificates), lists: parts.flatMap(({ lists }) => lists) };
  await finishUnderParent(options.dir, answer, { passphrase, signerFor: tokenSigners(tokenPins(options, env, terminal)) });
  const { name, brokerHosts, rootCrl } = openCaParts(options.dir);
  terminal.result({ dir: options.dir, name, brokerHosts, root: trustAnchorFile(options.dir), keys: { root: "parent" } }, [
    `The CA "${name}" is in ${options.dir}, under its parent, with a broker certificate for ${brokerHosts.join(", ")}.`,
    ...(rootCrl === undefined
      ? []
      : [
          `Import newer revocation lists of the parent before ${day(rootCrl.nextUpdateMs)}: hawser ca answer --dir ${options.dir} --answer FILE`,
        ]),
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
    throw new HawserError(
      "BAD_DURATION",
      `--${life}-life is longer than --${issuer}-life: no certificate outlives its issuer`,
      "Shorten the one or lengthen the other.",
    );
  };
  check("issuing", "root");
  for (const life of ["device", "client", "broker"] as const) check(life, "issuing");
  return Object.fromEntries(lives.map((life) => [life, options[`${life}Life`]])) as Record<Life, number>;
}

function named<Name extends string, Value>(name: Name, value: Value | undefined): Partial<Record<Name, Value>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, Value>);
}
