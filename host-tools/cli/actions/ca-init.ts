/** Makes a CA directory. */
import { join } from "node:path";
import { initCa } from "../../ca/init.js";
import { openCaReadOnly, trustAnchorFile } from "../../ca/read-only.js";
import type { Context } from "../command-runner.js";
import { caPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaInitOptions extends PassphraseOptions {
  dir: string;
  name: string;
  brokerHost?: readonly string[];
  json?: boolean;
}

export async function makeCa(options: CaInitOptions, { terminal, env }: Context): Promise<void> {
  const passphrase = await caPassphrase(options, env, true);
  await initCa(options.dir, { name: options.name, passphrase, ...(options.brokerHost === undefined ? {} : { brokerHosts: options.brokerHost }) });
  const { name, brokerHosts } = openCaReadOnly(options.dir);
  const root = trustAnchorFile(options.dir);
  terminal.result({ dir: options.dir, name, brokerHosts, root }, [
    `The CA "${name}" is in ${options.dir}, with a broker certificate for ${brokerHosts.join(", ")}.`,
    `Next: hawser provision --dir ${options.dir} --id ID --vault ${join(".", "ID.vault")}`,
  ]);
}
