/**
 * Where passphrases come from: the environment, a file, or a person at a terminal; never an argument, which every user of the machine can
 * read.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { errnoCode } from "../files/atomic-file.js";

/**
 * One place to look: an environment variable, a file that was named on the command line, or a file that an environment variable names: a
 * path may be inherited by every program that a shell starts, a passphrase should not be.
 */
export type PassphraseSource = { environment: string } | { file: string } | { fileOf: string };

export interface PassphraseRequest {
  /** Looked through in order; the first that is set decides, and is not skipped when it is bad. */
  sources: readonly PassphraseSource[];
  /** What the passphrase is for, as the prompt says it: "the CA directory ca". */
  purpose: string;
  /** What a person is asked for; a passphrase when left out. */
  label?: string;
  /** True when it is about to protect something new: a person must then type it twice, and it must not be blank. */
  isNew: boolean;
}

/** The files that options of the command line named. */
export interface PassphraseFiles {
  /** `--passphrase-file` */
  general?: string | undefined;
  /** `--ca-passphrase-file` or `--vault-passphrase-file` */
  specific?: string | undefined;
}

/**
 * The order of docs/protocol.md, "Passphrases": the command line before the environment, which may have been set long ago for something
 * else; in each, what is meant for this one thing before what is meant for all.
 */
export function passphraseSources(kind: "ca" | "vault", files: PassphraseFiles): PassphraseSource[] {
  const specific = kind === "ca" ? "HAWSER_CA_PASSPHRASE" : "HAWSER_VAULT_PASSPHRASE";
  const inherited = (name: string): PassphraseSource[] => [{ environment: name }, { fileOf: `${name}_FILE` }];
  const file = (path: string | undefined): PassphraseSource[] => (path === undefined ? [] : [{ file: path }]);
  return [...file(files.specific), ...file(files.general), ...inherited(specific), ...inherited("HAWSER_PASSPHRASE")];
}

/** A terminal's input, as far as a prompt needs it; `process.stdin` is one. */
export interface PromptInput {
  readonly isTTY?: boolean;
  setRawMode(raw: boolean): unknown;
  resume(): unknown;
  pause(): unknown;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  off(event: "data", listener: (chunk: Buffer) => void): unknown;
}

/** A request to end the process, as its signals make one. */
export interface PromptStop {
  readonly requested: boolean;
  /** Settles when it is requested. */
  readonly asked: Promise<void>;
}

/** What a passphrase may come from, for tests to replace. */
export interface PassphraseSurroundings {
  environment: Readonly<Record<string, string | undefined>>;
  input: PromptInput;
  output: { readonly isTTY?: boolean; write(text: string): unknown };
  /** Needed where signals do not end the process by themselves: a prompt must then give up. */
  stop?: PromptStop | undefined;
}

const PROCESS: PassphraseSurroundings = { environment: process.env, input: process.stdin, output: process.stderr };

/**
 * Finds the passphrase, asking a person as a last resort.
 *
 * @throws HawserError `PASSPHRASE_REQUIRED` when there is none, it is empty, or it is new and blank; `PASSPHRASE_FILE_UNREADABLE`;
 * `PASSPHRASE_FILE_EXPOSED` when all users may read the file; `PASSPHRASE_MISMATCH` when two entries differ; `INTERRUPTED` on Ctrl-C, or a
 * stop before
 * or at the prompt
 */
export async function readPassphrase(request: PassphraseRequest, surroundings: PassphraseSurroundings = PROCESS): Promise<string> {
  for (const source of request.sources) {
    const { environment } = surroundings;
    const path = "file" in source ? source.file : "fileOf" in source ? environment[source.fileOf] : undefined;
    const found = path === undefined ? environment["environment" in source ? source.environment : ""] : readPassphraseFile(path);
    if (found === undefined) continue;
    return checked(found, "environment" in source ? source.environment : `the passphrase file ${path ?? ""}`, request.isNew);
  }
  const { input, output } = surroundings;
  if (input.isTTY !== true || output.isTTY !== true) throw required(`no passphrase for ${request.purpose}`);
  const typed = checked(
    await promptHidden(`${request.label ?? "Passphrase"} for ${request.purpose}: `, surroundings),
    "the passphrase typed",
    request.isNew,
  );
  if (request.isNew && typed !== (await promptHidden("The same again: ", surroundings))) {
    throw new HawserError("PASSPHRASE_MISMATCH", "the two passphrases differ", "Run the command again and type the same passphrase twice.");
  }
  return typed;
}

/**
 * What {@link readPassphrase} will find, for work that can begin before: undefined where that is not known without asking a person, without
 * emptying a pipe, or without an error, which is for {@link readPassphrase} to tell.
 */
export function foreseenPassphrase(
  sources: readonly PassphraseSource[],
  environment: PassphraseSurroundings["environment"],
): string | undefined {
  for (const source of sources) {
    if ("environment" in source) {
      const found = environment[source.environment];
      if (found !== undefined) return found;
      continue;
    }
    const path = "file" in source ? source.file : environment[source.fileOf];
    if (path === undefined) continue;
    try {
      return statSync(path).isFile() ? readPassphraseFile(path) : undefined;
    } catch {
      return undefined;
    }
  }
  return undefined;
}

const LONGEST_LINE = 4096;
/** UTF-8 takes at most three bytes for one unit of a string's length. */
const MOST_READ_BYTES = 3 * LONGEST_LINE + 3;

/** A passphrase file's first line. */
function readPassphraseFile(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw unreadable(path, errnoCode(error));
  }
  try {
    const status = fstatSync(descriptor);
    // A shell's <(command) is a pipe.
    if (!status.isFile() && !status.isFIFO()) throw unreadable(path, "it is not a regular file");
    if ((status.mode & 0o004) !== 0) {
      throw new HawserError("PASSPHRASE_FILE_EXPOSED", `the passphrase file ${path} is readable by all users`, `Run: chmod 600 ${path}`);
    }
    return firstLine(path, readStart(descriptor));
  } catch (error) {
    throw error instanceof HawserError ? error : unreadable(path, errnoCode(error));
  } finally {
    closeSync(descriptor);
  }
}

/** As much of a file as a passphrase may need, however long it is. */
function readStart(descriptor: number): string {
  const bytes = Buffer.alloc(MOST_READ_BYTES);
  let length = 0;
  for (let count = -1; count !== 0 && length < bytes.length; length += count)
    count = readSync(descriptor, bytes, length, bytes.length - length, null);
  return bytes.toString("utf8", 0, length);
}

function firstLine(path: string, text: string): string {
  const [line = "", next] = text.split(/\r?\n/, 2);
  // Refused, not stripped: what older versions sealed with the mark in it would then only be told WRONG_PASSPHRASE, and never why.
  if (line.startsWith("\uFEFF")) throw unreadable(path, "it starts with a byte order mark (BOM)", "Save the file as UTF-8 without a BOM.");
  // The first line of a key or certificate file is known to everybody.
  if (next !== undefined && next !== "" && line.startsWith("-----BEGIN ")) throw unreadable(path, "it is a PEM file");
  if (line.length > LONGEST_LINE) throw unreadable(path, `its first line is longer than ${LONGEST_LINE} characters`);
  return line;
}

/** Asks on a terminal without showing what is typed. Knows Backspace, Ctrl-U, Ctrl-C and Ctrl-D. */
async function promptHidden(question: string, { input, output, stop }: PassphraseSurroundings): Promise<string> {
  // A signal that came during the work before this is told of when Node polls, which it surely does between two turns of its loop.
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  if (stop?.requested === true) throw interrupted();
  // Before the question, which somebody may answer at once.
  input.setRawMode(true);
  output.write(question);
  return new Promise((resolve, reject) => {
    const decoder = new TextDecoder();
    let typed: string[] = [];
    let isOver = false;
    const finish = (settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      input.off("data", onData);
      input.setRawMode(false);
      input.pause();
      output.write("\n");
      settle();
    };
    const giveUp = (): void => finish(() => reject(interrupted()));
    const onData = (chunk: Buffer): void => {
      for (const character of decoder.decode(chunk, { stream: true })) {
        if (character === "\r" || character === "\n" || character === "\u0004") return finish(() => resolve(typed.join("")));
        if (character === "\u0003") return giveUp();
        if (character === "\u007f" || character === "\b") typed.pop();
        else if (character === "\u0015") typed = [];
        else if (character >= " ") typed.push(character);
      }
    };
    input.on("data", onData);
    void stop?.asked.then(giveUp);
    input.resume();
  });
}

/** An old secret may have been sealed with blanks and must open; a new one gets a passphrase that can be seen. */
function checked(passphrase: string, where: string, isNew: boolean): string {
  if (passphrase === "") throw required(`${where} is empty`);
  if (isNew && isBlank(passphrase)) throw required(`${where} is blank`, "Choose one with characters that can be seen.");
  return passphrase;
}

function isBlank(passphrase: string): boolean {
  // Most are told by this: to make the table of all signs that cannot be seen takes longer than to read a file.
  if (/[!-~]/.test(passphrase)) return false;
  return /^[\s\p{Cc}\p{Cf}]*$/u.test(passphrase);
}

function interrupted(): HawserError {
  return new HawserError("INTERRUPTED", "interrupted before a passphrase was typed", "Run the command again.");
}

function required(
  message: string,
  next = "Set HAWSER_PASSPHRASE, or give --passphrase-file FILE, or run this on a terminal.",
): HawserError {
  return new HawserError("PASSPHRASE_REQUIRED", message, next);
}

function unreadable(path: string, why: string, next = "Give a file with the passphrase on its first line."): HawserError {
  return new HawserError("PASSPHRASE_FILE_UNREADABLE", `cannot read a passphrase from ${path}: ${why}`, next);
}
