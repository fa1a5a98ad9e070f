/** Proves a backup, and makes a CA of it again where a directory is given. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { openBackup, readBackupHeader } from "../../ca-directory/backup-file.js";
import type { OpenedBackup } from "../../ca-directory/backup-file.js";
import { lastSeen } from "../../ca-directory/revision-witness.js";
import { rehearseRestore, restoreCa } from "../../ca/restore.js";
import { tokenSigners } from "../../pkcs11/token-signer.js";
import type { Context } from "../command-runner.js";
import { isoTime } from "../dates.js";
import { EXIT } from "../exit-codes.js";
import { caPassphrase, tokenPins } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaRestoreOptions extends PassphraseOptions {
  backup: string;
  dir?: string;
  crl?: string[];
  /** False with `--without-crl`. */
  withoutCrl?: boolean;
  json?: boolean;
}

export async function restore(options: CaRestoreOptions, context: Context): Promise<void> {
  const { backup: file, dir, crl = [], withoutCrl = false } = options;
  if (dir === undefined && (crl.length > 0 || withoutCrl))
    throw new HawserError("USAGE", "--crl and --without-crl are for --dir", "Add --dir DIR.");
  if (crl.length > 0 && withoutCrl) throw new HawserError("USAGE", "--crl and --without-crl exclude each other", "Use one of them.");
  const lists = new Map(crl.map((path) => [path, readFileSync(path, "utf8")]));
  const bytes = readFileSync(file);
  readBackupHeader(bytes, file);
  const passphrase = await caPassphrase({ ...options, dir: file }, context.env);
  context.terminal.startProgress("verifying the backup");
  const opened = openBackup(bytes, passphrase, file);
  if (dir === undefined) await rehearse(opened, file, passphrase, context);
  else await restoreAt(opened, dir, { passphrase, lists, withoutLists: withoutCrl }, options, context);
}

async function rehearse(opened: OpenedBackup, file: string, passphrase: string, { terminal }: Context): Promise<void> {
  const { header } = opened;
  const { problems, names, certificates, revision } = await rehearseRestore(opened, passphrase);
  const newer = (lastSeen(header.instance)?.revision ?? 0) - revision;
  terminal.result(
    {
      backup: file,
      name: header.name,
      madeAt: isoTime(header.madeAtMs),
      revision,
      names,
      certificates,
      problems,
      changesSince: Math.max(newer, 0),
    },
    [
      `${file}: the CA ${header.name} as of ${isoTime(header.madeAtMs)}, change ${revision}, ${names} names, ${certificates} certificates.`,
      ...(newer > 0 ? [`${newer} changes that this user has seen since are not in it.`] : []),
      ...(problems.length === 0 ? ["It can be restored. Nothing was changed."] : problems),
    ],
  );
  if (problems.length > 0) process.exitCode = EXIT.failed;
}

async function restoreAt(
  opened: OpenedBackup,
  dir: string,
  request: { passphrase: string; lists: ReadonlyMap<string, string>; withoutLists: boolean },
  options: CaRestoreOptions,
  { terminal, env }: Context,
): Promise<void> {
  const signerFor = tokenSigners(tokenPins(options, env, terminal));
  const { verification, repeated, shutOut, lost, outputs } = await restoreCa(opened, dir, { ...request, signerFor });
  const { revision, names } = verification;
  terminal.result({ dir, revision, names, repeated, shutOut, lost, formerBrokers: outputs }, [
    `${dir} is the CA now, at change ${revision}, with ${names} names.`,
    ...(repeated.length === 0 ? [] : [`Revoked again: ${repeated.length} certificates.`]),
    ...(shutOut.length === 0 ? [] : [`Shut out with them: ${shutOut.join(", ")}.`]),
    ...(lost === 0 ? [] : [`Still on the revocation list: ${lost} certificates that were issued after the backup.`]),
    ...outputs.map((output) => `Not configured any more: ${output}. Run hawser broker config for it.`),
    "Names that were provisioned after the backup are unknown: provision them again. Start every service on this directory.",
  ]);
}
