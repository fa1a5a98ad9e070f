/** What every command shares: its surroundings, how its work is loaded only when it is wanted, and how its errors end the process. */
import type { Command } from "commander";
import type { ErrorCode } from "../../sdk/error-codes.js";
import { errorCode, HawserError } from "../../sdk/errors.js";
import { REGISTRY_URL_VARIABLE, takeRegistryUrl } from "../ca-directory/database-source.js";
import { EXIT, EXIT_MEANINGS, exitCodeFor } from "./exit-codes.js";
import type { ExitCode } from "./exit-codes.js";
import type { PassphraseOptions } from "./passphrases.js";
import { stopOnProcessSignals } from "./stop-signal.js";
import type { StopSignal } from "./stop-signal.js";
import { Terminal } from "./terminal.js";

export interface Context {
  readonly terminal: Terminal;
  readonly stop: StopSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type Action<Options> = (options: Options, context: Context) => Promise<void>;

/** Turns an action, loaded when first needed, into a handler for commander. */
export type Run = <Options extends { json?: boolean }>(load: () => Promise<Action<Options>>) => (options: Options) => Promise<void>;

/** Secrets: taken out of the environment that child processes (mosquitto) are started with. */
export const PASSPHRASE_VARIABLES: readonly string[] = [
  "HAWSER_PASSPHRASE",
  "HAWSER_CA_PASSPHRASE",
  "HAWSER_VAULT_PASSPHRASE",
  "HAWSER_NEW_PASSPHRASE",
  "HAWSER_ROOT_PASSPHRASE",
  "HAWSER_PIN",
  "HAWSER_EST_PASSWORD",
  REGISTRY_URL_VARIABLE,
];

type OnCa = PassphraseOptions & { dir: string };

/** For a command on a CA: its passphrase, where it is given, becomes a key while the command's code is loaded. */
export function onCa<Options extends OnCa>(load: () => Promise<Action<Options>>): () => Promise<Action<Options>> {
  return async () => {
    const { deriveCaKeyAhead } = await import("./key-ahead.js");
    return async (options, context) => {
      deriveCaKeyAhead(options, context.env);
      await (
        await load()
      )(options, context);
    };
  };
}

export const runAction: Run = (load) => async (options) => {
  const terminal = new Terminal(options.json === true, process.stdout, process.stderr, process.env);
  const stop = stopOnProcessSignals();
  let outputEndedIt = false;
  terminal.onClosed(() => {
    outputEndedIt = !stop.requested;
    stop.request();
  });
  const env = { ...process.env };
  takeRegistryUrl(env);
  for (const name of PASSPHRASE_VARIABLES) delete process.env[name];
  try {
    await (
      await load()
    )(options, { terminal, stop, env });
  } catch (error) {
    const isCutOff = outputEndedIt && errorCode(error) === "INTERRUPTED";
    if (!isCutOff) process.exitCode = reportError(error, terminal);
    // Who closed the pipe knows; lost output is what has to be told.
    else if (terminal.outputFailure === undefined) process.exitCode = EXIT.interrupted;
  }
  await finishOutput(terminal);
};

/** Hands all output to the system. A command whose output was lost has failed; if it has for another reason, that one was told. */
export async function finishOutput(terminal: Terminal): Promise<void> {
  await terminal.flush();
  const lost = terminal.outputFailure;
  if (lost === undefined || (process.exitCode ?? EXIT.done) !== EXIT.done) return;
  process.exitCode = reportError(lost, terminal);
  await terminal.flush();
}

/** Shows an error, whatever was thrown, and returns what to exit with. */
export function reportError(error: unknown, terminal: Terminal): ExitCode {
  const known = toHawserError(error);
  terminal.error(known);
  if (process.env["HAWSER_DEBUG"] === "1") terminal.trace(error);
  return exitCodeFor(known.code);
}

const SYSTEM_ERRORS: Readonly<Record<string, readonly [code: ErrorCode, what: string, next: string]>> = {
  EACCES: ["PERMISSION_DENIED", "permission denied:", "Check its owner and mode."],
  EPERM: ["PERMISSION_DENIED", "permission denied:", "Check its owner and mode."],
  EROFS: ["PERMISSION_DENIED", "read-only file system:", "Choose a writable location."],
  ENOENT: ["NOT_FOUND", "no such file or directory:", "Check the path."],
  ENOTDIR: ["NOT_FOUND", "not a directory:", "Check the path."],
  EISDIR: ["NOT_FOUND", "is a directory:", "Check the path."],
  ENAMETOOLONG: ["NOT_FOUND", "the name is too long:", "Choose a shorter path."],
  ENOSPC: ["STORAGE_FULL", "the disk is full at", "Free some space and run the command again."],
  EDQUOT: ["STORAGE_FULL", "disk quota exceeded at", "Free some space and run the command again."],
};

/** File-system errors are a user's everyday; everything else that is not typed is a defect, and says so. */
function toHawserError(error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  const { code, path } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  const known = SYSTEM_ERRORS[code ?? ""];
  if (known !== undefined && path !== undefined) return new HawserError(known[0], `${known[1]} ${path}`, known[2]);
  const message = error instanceof Error ? error.message : "an unknown error";
  return new HawserError("INTERNAL", `unexpected error: ${message}`, "Run it again with HAWSER_DEBUG=1 and report the output.");
}

export interface HelpTexts {
  /** Command lines that work as they stand, with an explanation above each where it needs one. */
  readonly examples: readonly string[];
  /** What `--json` prints. */
  readonly json?: readonly string[];
  readonly notes?: readonly string[];
  /** The exit codes beside 0, 1 and 2 that this command can end with. */
  readonly exits: readonly ExitCode[];
}

/** Adds what every `--help` ends with. */
export function addHelp(command: Command, texts: HelpTexts): Command {
  // Written when it is asked for: every start makes all commands.
  return command.addHelpText("after", () => helpText(texts));
}

function helpText(texts: HelpTexts): string {
  const exits = [EXIT.done, EXIT.failed, EXIT.usage, ...texts.exits];
  const parts = [
    section(
      "Notes",
      (texts.notes ?? []).flatMap((note) => wrapWords(note)),
    ),
    section("Output with --json", (texts.json ?? []).flatMap(wrapJson)),
    section("Examples", texts.examples.flatMap(wrapCommand)),
    section(
      "Exit codes",
      exits.map((code) => `${String(code).padStart(3)}  ${EXIT_MEANINGS[code]}`),
    ),
  ];
  return parts.filter((part) => part !== "").join("");
}

/** Terminals are 80 columns wide, and sections are indented by two. */
const HELP_WIDTH = 80;
const LINE_WIDTH = HELP_WIDTH - 2;

function wrapWords(text: string, width = LINE_WIDTH): string[] {
  return gather(text.split(" "), " ", width);
}

/** A sample of JSON, broken behind commas. */
function wrapJson(text: string): string[] {
  return gather(text.split(/(?<=,)/), "", LINE_WIDTH).map((line, index) => (index === 0 ? line : ` ${line}`));
}

/** A command line that still works when it is copied: broken before options and pipes, with a backslash. */
function wrapCommand(text: string): string[] {
  if (text.length <= LINE_WIDTH || text.startsWith("#")) return wrapWords(text);
  const lines = gather(text.split(/ (?=--|&&|\|)/), " ", LINE_WIDTH - 4);
  return lines.map((line, index) => `${index === 0 ? "" : "  "}${line}${index < lines.length - 1 ? " \\" : ""}`);
}

/** Fills lines with parts, each line as full as it can be; a part longer than a line stands alone. */
function gather(parts: readonly string[], glue: string, width: number): string[] {
  const lines: string[] = [];
  let line: string | undefined;
  for (const part of parts) {
    if (line !== undefined && line.length + glue.length + part.length > width) {
      lines.push(line);
      line = undefined;
    }
    line = line === undefined ? part : line + glue + part;
  }
  return line === undefined ? lines : [...lines, line];
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `\n${title}:\n${lines.map((line) => `  ${line}\n`).join("")}`;
}
