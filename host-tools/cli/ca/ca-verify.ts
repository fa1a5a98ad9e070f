/** Proves that all of a CA agrees. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { outputsElsewhere } from "../../ca/broker-folder-binding.js";
import { openCaParts } from "../../ca/ca-without-passphrase.js";
import { verifyCa } from "../../ca/verification.js";
import type { Context } from "../command-runner.js";
import { caPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaVerifyOptions extends PassphraseOptions {
  dir: string;
  checkpoint?: readonly string[];
  json?: boolean;
}

export async function verify(options: CaVerifyOptions, { terminal, env }: Context): Promise<void> {
  openCaParts(options.dir);
  const { revision, instance, names, certificates, auditLines, problems, strangers } = await verifyCa(
    options.dir,
    await caPassphrase(options, env),
    {
      checkpoints: new Map((options.checkpoint ?? []).map((file) => [file, readFileSync(file, "utf8")])),
      onAway: (problem) => terminal.warning(problem),
    },
  );
  for (const stray of outputsElsewhere(new CaDirectory(options.dir)).left) terminal.warning(stray);
  const ok = problems.length === 0;
  terminal.result({ dir: options.dir, ok, instance, revision, names, certificates, auditLines, problems, strangers }, [
    ...problems,
    ...strangers.map((name) => `${name} is not part of the CA: remove it`),
    `${options.dir}: change ${revision}, ${names} names, ${certificates} certificates, ${auditLines} lines of audit trail: ${ok ? "all agree." : "they do not agree."}`,
  ]);
  if (!ok)
    throw new HawserError(
      "CA_CORRUPT",
      `the CA in ${options.dir} does not agree with itself: ${problems[0] ?? ""}`,
      "Restore the CA directory from a backup.",
    );
}
