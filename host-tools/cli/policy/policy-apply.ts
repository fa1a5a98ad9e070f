/** `policy apply`: gives a CA another policy. */
import { readFileSync } from "node:fs";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface ApplyOptions extends PassphraseOptions {
  dir: string;
  file: string;
  force?: boolean;
  json?: boolean;
}

export async function apply(options: ApplyOptions, context: Context): Promise<void> {
  const text = readFileSync(options.file, "utf8");
  const ca = await openCaOf(options, context);
  const { name, sha256, changed } = await ca.applyPolicy(text, { force: options.force === true });
  context.terminal.result({ policy: name, sha256, changed }, [
    changed ? `The policy ${name} counts now.` : `The CA has this policy already.`,
  ]);
}
