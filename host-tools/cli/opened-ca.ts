/** Opens the CA directory a command names: what is wrong with the directory comes before the question for a passphrase. */
import { resolve } from "node:path";
import { openCa } from "../ca/certificate-authority.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { openCaReadOnly } from "../ca/read-only.js";
import type { Context } from "./command-runner.js";
import { caPassphrase } from "./passphrases.js";
import type { PassphraseOptions } from "./passphrases.js";

/**
 * @param unsaid codes of problems with broker configurations that the command does not want to be told of
 * @throws HawserError as `openCa` and `readPassphrase`
 */
export async function openCaOf(options: PassphraseOptions & { dir: string }, { terminal, env }: Context, unsaid: readonly string[] = []): Promise<CertificateAuthority> {
  openCaReadOnly(options.dir);
  const passphrase = await caPassphrase(options, env);
  terminal.startProgress("working on the CA");
  return openCa(resolve(options.dir), passphrase, {
    onOutput: ({ problem }) => {
      if (problem !== undefined && !unsaid.includes(problem.code)) terminal.warning(problem);
    },
  });
}
