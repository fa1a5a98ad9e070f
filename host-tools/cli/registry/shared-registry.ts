/** A registry that machines share: joining it, finding it again, and following it. */
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { readUnprovedState } from "../../ca-directory/ca-files.js";
import { writeDatabaseFile } from "../../ca-directory/database-file.js";
import { databaseAddress } from "../../ca-directory/database-source.js";
import { logNames } from "../../ca-directory/postgres-log.js";
import { outputsElsewhere } from "../../ca/broker-folder-binding.js";
import { joinRegistry, notShared } from "../../ca/shared-registry.js";
import type { Context } from "../command-runner.js";
import { keepReplica } from "../replica-service.js";
import { openCaOf } from "../opened-ca.js";
import { caPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface SharedRegistryOptions extends PassphraseOptions {
  dir: string;
  name?: string;
  registryUrlFile?: string;
  json?: boolean;
}

export async function join(options: SharedRegistryOptions, { terminal, env }: Context): Promise<void> {
  const { dir, name, registryUrlFile: urlFile } = options;
  const passphrase = await caPassphrase(options, env);
  terminal.startProgress("joining");
  const joined = await joinRegistry(dir, {
    passphrase,
    ...(urlFile === undefined ? {} : { urlFile }),
    ...(name === undefined ? {} : { name }),
  });
  for (const stray of outputsElsewhere(new CaDirectory(dir)).left) terminal.warning(stray);
  const { instance, revision, names } = joined;
  terminal.result({ dir, name: joined.name, instance, revision, names }, [
    `${dir} is this machine's directory of the CA "${joined.name}", at change ${revision}, with ${names} ${names === 1 ? "name" : "names"}.`,
    "Compare the number with another machine's: hawser ca verify",
  ]);
}

export async function connect({ dir, registryUrlFile }: SharedRegistryOptions, { terminal }: Context): Promise<void> {
  const directory = sharedDirectory(dir);
  await logNames(databaseAddress(directory, registryUrlFile));
  const { machine } = writeDatabaseFile(directory, registryUrlFile);
  terminal.result({ dir, machine }, [`${dir} is the directory of the machine ${machine.slice(0, 8)}, and its database answers.`]);
}

export async function snapshot(options: SharedRegistryOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  const { revision, sizeBytes } = await ca.addSnapshot();
  context.terminal.result({ dir: options.dir, revision, sizeBytes }, [
    `The database has a snapshot of change ${revision} (${sizeBytes} bytes).`,
  ]);
}

export async function follow(options: SharedRegistryOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  sharedDirectory(options.dir);
  const ca = await openCaOf(options, context);
  const unfollow = keepReplica(ca, terminal);
  terminal.event("ready", { dir: options.dir }, `${options.dir} follows the other machines`, "green");
  await stop.asked;
  unfollow();
  terminal.event("stopped", {}, "in an orderly way");
}

/** @throws HawserError `REGISTRY_NOT_FOUND`, `CA_CORRUPT` */
function sharedDirectory(dir: string): CaDirectory {
  const directory = new CaDirectory(dir);
  if (readUnprovedState(directory).log === undefined) throw notShared(directory);
  return directory;
}
