/** Flags that several commands have in common, worded the same everywhere. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { parseDurationMs } from "./flag-values.js";

export interface CaOptions {
  dir: string;
  json?: boolean;
  passphraseFile?: string;
  caPassphraseFile?: string;
}

/** An empty one, from a variable that is not set, would be the current directory. */
export function parsePath(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

export function caDirectory(command: Command): Command {
  return command.requiredOption("--dir <dir>", "CA directory created by `hawser ca init`", parsePath);
}

export function caPassphrase(command: Command): Command {
  return command
    .option(
      "--passphrase-file <file>",
      "file whose first line is the passphrase (default: $HAWSER_PASSPHRASE or the file $HAWSER_PASSPHRASE_FILE, else a prompt)",
    )
    .option("--ca-passphrase-file <file>", "the same, for the CA directory only (default: $HAWSER_CA_PASSPHRASE)")
    .option(
      "--pin-file <file>",
      "file whose first line is the PIN of the CA's token, if it has one (default: pin-source of its URI, $HAWSER_PIN, the file $HAWSER_PIN_FILE, else a prompt)",
    );
}

export function vaultPassphrase(command: Command): Command {
  return command.option("--vault-passphrase-file <file>", "the same, for the vault only (default: $HAWSER_VAULT_PASSPHRASE)");
}

/** For commands that make something a new passphrase protects. */
export function weakPassphrase(command: Command): Command {
  return command.option("--allow-weak-passphrase", "accept a new passphrase that is short or easy to guess");
}

export function json(command: Command): Command {
  return command.option("--json", "print JSON for scripts: results on stdout, errors on stderr");
}

export function connectTimeout(command: Command): Command {
  const option = new Option("--connect-timeout <duration>", "give up if the first connection takes longer; 0 retries forever");
  return command.addOption(option.argParser(parseDurationMs).default(15_000, "15s"));
}

/** Where a registry that machines share is; see database-source.ts. */
export function registryUrlFile(command: Command): Command {
  return command.option(
    "--registry-url-file <file>",
    "file with the URL of the PostgreSQL database, which nobody else may read; the CA directory remembers its path (default: $HAWSER_REGISTRY_URL)",
    parsePath,
  );
}
