/** Moves the registry of a CA to another home. */
import { HawserError } from "../../../sdk/errors.js";
import type { RegistryPlace } from "../../ca-directory/registry-kinds.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface MoveRegistryOptions extends PassphraseOptions {
  dir: string;
  to: RegistryPlace;
  registryUrlFile?: string;
  withoutDatabase?: boolean;
  force?: boolean;
  json?: boolean;
}

/** As sentences call them. */
const HOMES: Readonly<Record<RegistryPlace, string>> = {
  files: "one file for each name",
  sqlite: "an SQLite database",
  postgres: "a PostgreSQL database",
};

export async function moveRegistry(options: MoveRegistryOptions, context: Context): Promise<void> {
  const { registryUrlFile: urlFile, withoutDatabase = false, force: isForced = false } = options;
  if (withoutDatabase && options.to === "postgres")
    throw new HawserError(
      "USAGE",
      "--without-database leaves a database, and none is left with --to postgres",
      "Use --to files or --to sqlite.",
    );
  const ca = await openCaOf(options, context, [], withoutDatabase);
  context.terminal.startProgress("moving the registry");
  const { from, to, names, isTidied } = await ca.moveRegistry(options.to, {
    ...(urlFile === undefined ? {} : { urlFile }),
    withoutDatabase,
    isForced,
  });
  const home = `The registry of ${options.dir} (${names} ${names === 1 ? "name" : "names"})`;
  context.terminal.result({ dir: options.dir, from, to, names }, [
    from === to ? `${home} is in ${HOMES[to]} already.` : `${home} was moved from ${HOMES[from]} to ${HOMES[to]}.`,
    ...(isTidied && to !== "postgres" ? ["What an interrupted move had left of the other one was removed."] : []),
    ...(from !== to && to === "postgres" ? ["Other machines join with: hawser registry join"] : []),
  ]);
}
