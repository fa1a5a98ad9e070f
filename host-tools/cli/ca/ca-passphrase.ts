/** Changes the passphrase of a CA. */
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import { newCaPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaPassphraseOptions extends PassphraseOptions {
  dir: string;
  newPassphraseFile?: string;
  json?: boolean;
}

export async function changePassphrase(options: CaPassphraseOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  context.terminal.stopProgress();
  const passphrase = await newCaPassphrase(options, context.env);
  context.stop.check();
  context.terminal.startProgress("resealing everything");
  await ca.changePassphrase(passphrase);
  context.terminal.result({ dir: options.dir, changed: true }, [
    `The CA in ${options.dir} opens with the new passphrase alone.`,
    "Start services that run on it again with the new one. Copies and backups from before still open with the old one.",
  ]);
}
