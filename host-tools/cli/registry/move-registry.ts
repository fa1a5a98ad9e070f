/** Moves the registry of a CA to another kind of home. */
import type { RegistryKind } from "../../ca-directory/registry-kinds.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface MoveRegistryOptions extends PassphraseOptions {
  dir: string;
  to: RegistryKind;
  json?: boolean;
}

/** As sentences call them. */
const HOMES: Readonly<Record<RegistryKind, string>> = { files: "one file for each name", sqlite: "an SQLite database" };

export async function moveRegistry(options: MoveRegistryOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  context.terminal.startProgress("moving the registry");
  const { from, to, names, isTidied } = await ca.moveRegistry(options.to);
  const home = `The registry of ${options.dir} (${names} ${names === 1 ? "name" : "names"})`;
  context.terminal.result({ dir: options.dir, from, to, names }, [
    from === to ? `${home} is in ${HOMES[to]} already.` : `${home} was moved from ${HOMES[from]} to ${HOMES[to]}.`,
    ...(isTidied ? ["What an interrupted move had left of the other one was removed."] : []),
  ]);
}
