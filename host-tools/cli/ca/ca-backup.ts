/** Backs a CA up into one encrypted file. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DIRECTORIES } from "../../ca-directory/directory-layout.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaBackupOptions extends PassphraseOptions {
  dir: string;
  out: string;
  json?: boolean;
}

export async function backUp(options: CaBackupOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  const { file, revision, names, sizeBytes } = await ca.backUp(options.out);
  const isRootHere = existsSync(join(options.dir, DIRECTORIES.offlineRoot));
  context.terminal.result({ backup: file, revision, names, sizeBytes }, [
    `${file} holds the CA as change ${revision} left it, with ${names} names. It opens with the CA's passphrase of today.`,
    ...(isRootHere ? [`Not in it: the offline root in ${join(options.dir, DIRECTORIES.offlineRoot)}.`] : []),
  ]);
}
