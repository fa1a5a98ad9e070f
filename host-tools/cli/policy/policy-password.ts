/** `policy password`: a new password for a name, in a file that only its owner can read. */
import { HawserError } from "../../../sdk/errors.js";
import { writeFileSync } from "node:fs";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface PasswordOptions extends PassphraseOptions {
  dir: string;
  id: string;
  out: string;
  json?: boolean;
}

export async function password({ id, out, ...options }: PasswordOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  await ca.renewPassword(id, (secret) => keep(out, secret));
  context.terminal.result({ id, file: out }, [`${id} has a new password, in ${out}`]);
}

function keep(file: string, secret: string): void {
  try {
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new HawserError("OUT_EXISTS", `${file} exists`, "Choose another name, or remove it.");
  }
}
