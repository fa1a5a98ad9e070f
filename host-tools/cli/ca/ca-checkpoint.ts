/** Writes a checkpoint of the audit trail, to be kept elsewhere. */
import { existsSync, readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import type { Context } from "../command-runner.js";
import { isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaCheckpointOptions extends PassphraseOptions {
  dir: string;
  out: string;
  json?: boolean;
}

export async function writeCheckpoint(options: CaCheckpointOptions, context: Context): Promise<void> {
  const { out } = options;
  if (existsSync(out) && !readFileSync(out, "utf8").startsWith("A checkpoint of"))
    throw new HawserError("OUT_EXISTS", `${out} is there already and is something else`, "Choose another file.");
  const ca = await openCaOf(options, context);
  const { text, checkpoint } = await ca.makeCheckpoint();
  writeFileAtomic(out, text);
  const { revision, madeAtMs, sizeBytes, sha256 } = checkpoint;
  context.terminal.result({ checkpoint: out, revision, madeAt: isoTime(madeAtMs), sizeBytes, sha256 }, [
    `${out}: the audit trail up to change ${revision}. Keep it where nobody who can change the CA can change it.`,
  ]);
}
