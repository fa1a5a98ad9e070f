/** Makes a folder to start from: a CA, a broker configuration, a first device, and a page that says how to go on. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { storageError, writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { openUnlocked } from "../../ca/certificate-authority.js";
import { createCa } from "../../ca/ca-creation.js";
import type { Context } from "../command-runner.js";
import { caPassphrase, hasCaPassphrase, hasVaultPassphrase, vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { fleetPage } from "../doctor/fleet-page.js";
import { provisionVault } from "../devices/provision.js";

export interface InitOptions extends PassphraseOptions {
  dir: string;
  id: string;
  brokerHost?: readonly string[];
  mtlsPort: number;
  pskPort: number;
  json?: boolean;
}

const PASSPHRASE_BYTES = 20;
const READABLE = 0o644;

/** @throws HawserError `OUT_EXISTS`, `INVALID_ID`, and those of `hawser ca init`, `provision` and `broker config` */
export async function initFleet(options: InitOptions, context: Context): Promise<void> {
  checkId(options.id);
  if (options.mtlsPort === options.pskPort)
    throw new HawserError(
      "BAD_PORT",
      `both listeners use port ${options.mtlsPort}`,
      "Use separate ports for certificates and pre-shared keys.",
    );
  const existed = checkFree(options.dir);
  const secrets = await passphrases(options, context.env);
  context.terminal.startProgress("creating the fleet");
  try {
    await fillFolder(options, secrets, context);
  } catch (error) {
    if (!existed) rmSync(options.dir, { recursive: true, force: true });
    else for (const name of readdirSync(options.dir)) rmSync(join(options.dir, name), { recursive: true, force: true });
    throw error;
  }
}

/** @returns whether the directory is there, and empty */
function checkFree(directory: string): boolean {
  if (!existsSync(directory)) return false;
  if (!statSync(directory).isDirectory())
    throw new HawserError("OUT_EXISTS", `${directory} exists and is not a directory`, "Choose another directory.");
  if (readdirSync(directory).length > 0)
    throw new HawserError("OUT_EXISTS", `${directory} is not empty`, "Choose another directory, or empty it.");
  return true;
}

interface Secrets {
  readonly ca: string;
  readonly vault: string;
  /** A passphrase that no one gave: it has to be kept in a file. */
  readonly generated?: string;
}

/** Those that options or environment give; a random one in place of a prompt, so that the command asks nothing. */
async function passphrases(options: InitOptions, env: Context["env"]): Promise<Secrets> {
  const vaultPath = vaultOf(options);
  const generated = randomBytes(PASSPHRASE_BYTES).toString("base64url");
  const ca = hasCaPassphrase(options, env) ? await caPassphrase({ ...options, dir: join(options.dir, "ca") }, env, true) : generated;
  const vault = hasVaultPassphrase(options, env) ? await vaultPassphrase({ ...options, vault: vaultPath }, env, true) : generated;
  return { ca, vault, ...(ca === generated || vault === generated ? { generated } : {}) };
}

async function fillFolder(options: InitOptions, secrets: Secrets, { terminal, stop }: Context): Promise<void> {
  const { dir, id, brokerHost, mtlsPort, pskPort } = options;
  const caDirectory = join(dir, "ca");
  const passphraseFile = secrets.generated === undefined ? undefined : join(dir, "passphrase");
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw storageError(error, "create", dir);
  }
  if (passphraseFile !== undefined) writeFileAtomic(resolve(passphraseFile), `${secrets.generated ?? ""}\n`);
  const hosts = brokerHost === undefined ? {} : { brokerHosts: brokerHost };
  const ca = await openUnlocked(await createCa(caDirectory, { name: "Hawser", passphrase: secrets.ca, ...hosts }));
  await provisionVault(ca, { id, role: "sensor", vault: vaultOf(options) }, secrets.vault, stop);
  const { note } = await ca.writeBrokerConfig({ engine: "mosquitto", out: join(dir, "broker"), mtlsPort, pskPort });
  writeFileAtomic(resolve(dir, ".gitignore"), "*\n", READABLE);
  writeFileAtomic(
    resolve(dir, "README.md"),
    fleetPage({ id, host: brokerHost?.[0] ?? "localhost", mtlsPort, pskPort, hasPassphraseFile: passphraseFile !== undefined }),
    READABLE,
  );
  terminal.result(
    { dir, ca: caDirectory, broker: join(dir, "broker"), id, vault: vaultOf(options), mtlsPort, pskPort, passphraseFile, note },
    [
      `Created a CA, a broker configuration and the device ${id} in ${dir}.`,
      ...(passphraseFile === undefined ? [] : [`The passphrase is in ${passphraseFile}: move it elsewhere before production.`]),
      ...(note === undefined ? [] : [`Note: ${note}.`]),
      `Next (see ${join(dir, "README.md")}):`,
      `  cd ${dir}${passphraseFile === undefined ? "" : " && export HAWSER_PASSPHRASE_FILE=passphrase"}`,
      `  hawser broker run --dir ca --mtls-port ${mtlsPort} --psk-port ${pskPort}`,
    ],
  );
}

function vaultOf({ dir, id }: InitOptions): string {
  return join(dir, `${id}.vault`);
}
