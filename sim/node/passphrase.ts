/**
 * Where passphrases come from: the environment, a file, or a person at a terminal; never an argument, which every user of the machine can read.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "./atomic-file.js";

/** One place to look: an environment variable, or a file that was named on the command line. */
export type PassphraseSource = { environment: string } | { file: string };

export interface PassphraseRequest {
  /** Looked through in order; the first that is set decides, and is not skipped when it is bad. */
  sources: readonly PassphraseSource[];
  /** What the passphrase is for, as the prompt says it: "the CA directory ca". */
  purpose: string;
  /** True when it is about to protect something new: a person must then type it twice. */
  isNew: boolean;
}

/** The files that options of the command line named. */
export interface PassphraseFiles {
  /** `--passphrase-file` */
  general?: string | undefined;
  /** `--ca-passphrase-file` or `--vault-passphrase-file` */
  specific?: string | undefined;
}

/** The order of docs/architecture.md, "Passphrases": what is meant for this one thing first, then what is meant for all. */
export function passphraseSources(kind: "ca" | "vault", files: PassphraseFiles): PassphraseSource[] {
  const specific = { environment: kind === "ca" ? "HAWSER_CA_PASSPHRASE" : "HAWSER_VAULT_PASSPHRASE" };
  const file = (path: string | undefined): PassphraseSource[] => (path === undefined ? [] : [{ file: path }]);
  return [specific, ...file(files.specific), { environment: "HAWSER_PASSPHRASE" }, ...file(files.general)];
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

/** What a passphrase may come from, for tests to replace. */
export interface PassphraseSurroundings {
  environment: Readonly<Record<string, string | undefined>>;
  input: PromptInput;
  output: { readonly isTTY?: boolean; write(text: string): unknown };
}

const PROCESS: PassphraseSurroundings = { environment: process.env, input: process.stdin, output: process.stderr };

/**
 * Finds the passphrase, asking a person as a last resort.
 *
 * @throws HawserError `PASSPHRASE_REQUIRED` when there is none or it is empty, `PASSPHRASE_FILE_UNREADABLE`, `PASSPHRASE_FILE_EXPOSED` when all
 * users may read the file, `PASSPHRASE_MISMATCH` when two entries differ, `INTERRUPTED` on Ctrl-C
 */
export async function readPassphrase(request: PassphraseRequest, surroundings: PassphraseSurroundings = PROCESS): Promise<string> {
  for (const source of request.sources) {
    const found = "file" in source ? readPassphraseFile(source.file) : surroundings.environment[source.environment];
    if (found === undefined) continue;
    return notEmpty(found, "file" in source ? `the passphrase file ${source.file}` : source.environment);
  }
  const { input, output } = surroundings;
  if (input.isTTY !== true || output.isTTY !== true) throw required(`no passphrase for ${request.purpose}`);
  const typed = notEmpty(await promptHidden(`Passphrase for ${request.purpose}: `, surroundings), "the passphrase typed");
  if (request.isNew && typed !== (await promptHidden("The same again: ", surroundings))) {
    throw new HawserError("PASSPHRASE_MISMATCH", "the two passphrases differ", "Start again and type the same one twice.");
  }
  return typed;
}

/** A passphrase file's first line; longer files are somebody's mistake. */
function readPassphraseFile(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw unreadable(path, errnoCode(error));
  }
  try {
    if ((fstatSync(descriptor).mode & 0o004) !== 0) {
      throw new HawserError("PASSPHRASE_FILE_EXPOSED", `every user of this machine may read the passphrase file ${path}`, `Run: chmod 600 ${path}`);
    }
    const text = readFileSync(descriptor, "utf8").replace(/\r?\n$/, "");
    if (text.includes("\n") || text.length > 4096) throw unreadable(path, "more than one line");
    return text;
  } catch (error) {
    throw error instanceof HawserError ? error : unreadable(path, errnoCode(error));
  } finally {
    closeSync(descriptor);
  }
}

/** Asks on a terminal without showing what is typed. Knows Backspace, Ctrl-U, Ctrl-C and Ctrl-D. */
function promptHidden(question: string, { input, output }: PassphraseSurroundings): Promise<string> {
  output.write(question);
  input.setRawMode(true);
  return new Promise((resolve, reject) => {
    const decoder = new TextDecoder();
    let typed: string[] = [];
    const finish = (settle: () => void): void => {
      input.off("data", onData);
      input.setRawMode(false);
      input.pause();
      output.write("\n");
      settle();
    };
    const onData = (chunk: Buffer): void => {
      for (const character of decoder.decode(chunk, { stream: true })) {
        if (character === "\r" || character === "\n" || character === "\u0004") return finish(() => resolve(typed.join("")));
        if (character === "\u0003") return finish(() => reject(new HawserError("INTERRUPTED", "interrupted at the passphrase prompt", "Start again.")));
        if (character === "\u007f" || character === "\b") typed.pop();
        else if (character === "\u0015") typed = [];
        else if (character >= " ") typed.push(character);
      }
    };
    input.on("data", onData);
    input.resume();
  });
}

function notEmpty(passphrase: string, where: string): string {
  if (passphrase === "") throw required(`${where} is empty`);
  return passphrase;
}

function required(message: string): HawserError {
  return new HawserError("PASSPHRASE_REQUIRED", message, "Set HAWSER_PASSPHRASE, or give --passphrase-file FILE, or run this on a terminal.");
}

function unreadable(path: string, why: string): HawserError {
  return new HawserError("PASSPHRASE_FILE_UNREADABLE", `cannot read a passphrase from ${path}: ${why}`, "Give a file with the passphrase on its only line.");
}
