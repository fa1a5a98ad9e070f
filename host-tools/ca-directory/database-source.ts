/** Where the database of a CA's registry is, as this machine knows: by the environment, else by the file that the CA directory names. */
import { HawserError } from "../../sdk/errors.js";
import type { CaDirectory } from "./ca-directory.js";
import type { OpenLog } from "./change-log.js";
import { parseDatabaseUrl } from "./database-address.js";
import type { DatabaseAddress } from "./database-address.js";
import { readDatabaseFile, readUrlFile } from "./database-file.js";
import { PostgresLog } from "./postgres-log.js";

/** Taken out of the environment by commands, which start brokers. */
export const REGISTRY_URL_VARIABLE = "HAWSER_REGISTRY_URL";

let kept: string | undefined;

/** Remembers the URL in an environment, out of which a command takes it: it starts brokers. */
export function takeRegistryUrl(environment: Readonly<Record<string, string | undefined>>): void {
  kept = environment[REGISTRY_URL_VARIABLE] ?? kept;
}

/**
 * @param urlFile given by whoever asks
 * @throws HawserError `REGISTRY_UNKNOWN`, `BAD_URL`, `REGISTRY_URL_EXPOSED`, `STORAGE_FAILED`
 */
export function databaseAddress(directory: CaDirectory, urlFile?: string): DatabaseAddress {
  if (urlFile !== undefined) return parseDatabaseUrl(readUrlFile(urlFile));
  const url = kept ?? process.env[REGISTRY_URL_VARIABLE];
  if (url !== undefined && url !== "") return parseDatabaseUrl(url);
  const known = readDatabaseFile(directory)?.urlFile;
  if (known !== undefined) return parseDatabaseUrl(readUrlFile(known));
  throw new HawserError(
    "REGISTRY_UNKNOWN",
    `where the database with the registry of ${directory} is, is not known`,
    `Set ${REGISTRY_URL_VARIABLE}, or name a file with its URL once: hawser registry connect --dir ${directory} --registry-url-file FILE`,
  );
}

/** The log of the CA in this directory. */
export function logsOf(directory: CaDirectory): OpenLog {
  return (log) => new PostgresLog(databaseAddress(directory), log);
}

/** For programs that did not ask to be told: never silent. */
export function warnOfAway({ message, nextStep, code }: HawserError): void {
  const text = `${message}. What is read may be older than what other machines have changed. ${nextStep}`;
  process.emitWarning(text, { type: "HawserWarning", code });
}
