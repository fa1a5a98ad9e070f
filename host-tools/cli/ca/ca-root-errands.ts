/** Errands to an offline root: the request, the answer, and the root's own part. */
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { HawserError } from "../../../sdk/errors.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { answerRequest } from "../../ca/offline-root.js";
import { readParentFile } from "../../ca/parent-chain.js";
import { toPem } from "../../pki/pem.js";
import { readRequest } from "../../ca/root-request.js";
import type { Errand } from "../../ca/root-errand-names.js";
import { tokenSigners } from "../../pkcs11/token-signer.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import { rootPassphrase, tokenPins } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { Terminal } from "../terminal.js";
import { checkSigner, FILE_SIGNER, tokenKeyMaker } from "../policy/token-keys.js";

export interface RequestOptions extends PassphraseOptions {
  dir: string;
  out: string;
  for: Errand;
  force?: boolean;
  signer?: string;
  existingKey?: boolean;
  json?: boolean;
}

export async function request(options: RequestOptions, context: Context): Promise<void> {
  checkSigner(options.signer);
  checkPlace(options.out, "A request to", "-----BEGIN CERTIFICATE REQUEST");
  const ca = await openCaOf(options, context);
  const signer =
    options.signer === FILE_SIGNER ? FILE_SIGNER : tokenKeyMaker(options, context)(options.signer, ca.certificatePolicy.issuingKey);
  const text = await ca.makeRootRequest(options.for, { force: options.force === true, ...(signer === undefined ? {} : { signer }) });
  writeFileAtomic(options.out, text);
  context.terminal.result({ request: options.out, for: options.for, text }, [
    ...text.trimEnd().split("\n"),
    "",
    ca.certificatePolicy.root === "parent"
      ? `Have the parent PKI sign ${options.out}, then: hawser ca answer --dir ${options.dir} --answer CERTIFICATES`
      : `Take ${options.out} to the root: hawser ca root-sign --root FOLDER --request ${options.out} --out ANSWER`,
  ]);
}

export interface RootSignOptions extends PassphraseOptions {
  root: string;
  request: string;
  out: string;
  yes?: boolean;
  rootSigner?: string;
  existingKey?: boolean;
  json?: boolean;
}

export async function rootSign(options: RootSignOptions, context: Context): Promise<void> {
  const { terminal, env } = context;
  checkSigner(options.rootSigner);
  checkPlace(options.out, "An answer of");
  const text = readFileSync(options.request, "utf8");
  const passphrase = await rootPassphrase(options, env, `the offline root in ${options.root}`);
  const signerFor = tokenSigners(tokenPins(options, env, terminal));
  const confirm = (): Promise<boolean> => (options.yes === true ? Promise.resolve(true) : confirmed(text, terminal));
  const keyType = readRequest(text).request.newRoot?.keyType;
  const newKey = keyType === undefined ? undefined : tokenKeyMaker(options, context)(options.rootSigner, keyType);
  const answered = await answerRequest(options.root, passphrase, text, { signerFor, confirm, ...(newKey === undefined ? {} : { newKey }) });
  writeFileAtomic(options.out, answered.text);
  terminal.result({ answer: options.out, request: text }, [
    `The answer is in ${options.out}. Import it: hawser ca answer --dir CA --answer ${options.out}`,
  ]);
}

async function confirmed(text: string, terminal: Terminal): Promise<boolean> {
  if (process.stdin.isTTY !== true)
    throw new HawserError("USAGE", "nobody is there to confirm the request", "Read the request, then say --yes.");
  terminal.stopProgress();
  process.stderr.write(`${text}\n`);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const typed = await lines.question("Sign this? Compare the fingerprint with what the CA showed, then type yes: ");
  lines.close();
  return typed.trim().toLowerCase() === "yes";
}

export interface AnswerOptions extends PassphraseOptions {
  dir: string;
  answer: readonly string[];
  json?: boolean;
}

export async function answer(options: AnswerOptions, context: Context): Promise<void> {
  // DER of a parent becomes PEM: one text for all.
  const text = options.answer.map((file) => textOf(file)).join("\n");
  const ca = await openCaOf(options, context);
  const { rollover, root, leftBehind, crlNextUpdateMs } = await ca.importAnswer(text);
  const list = `The root's revocation list is good until ${day(crlNextUpdateMs)}.`;
  const crlNextUpdate = isoTime(crlNextUpdateMs);
  if (rollover !== undefined) {
    const { name, serial, notAfterMs } = rollover;
    const rootJson = root === undefined ? {} : { root: root.serial, rootNotAfter: isoTime(root.notAfterMs) };
    context.terminal.result({ issuing: name, serial, notAfter: isoTime(notAfterMs), crlNextUpdate, ...rootJson }, [
      ...(root === undefined ? [] : [`The new root is good until ${day(root.notAfterMs)}. The old one vouches for it.`]),
      `${name} issues from now on, until ${day(notAfterMs)}.`,
      list,
    ]);
  } else if (leftBehind !== undefined) {
    const left = leftBehind.length === 0 ? [] : [`Left behind, until they recover or are provisioned again: ${leftBehind.join(", ")}.`];
    context.terminal.result({ retired: true, leftBehind, crlNextUpdate }, [
      "The old issuing CA is retired: brokers believe it no more.",
      ...left,
      list,
    ]);
  } else {
    context.terminal.result({ crlNextUpdate }, [list]);
  }
}

function textOf(file: string): string {
  const bytes = readFileSync(file);
  if (bytes[0] !== 0x30) return bytes.toString("utf8");
  const { certificates, lists } = readParentFile(bytes, file);
  return [...certificates.map((der) => toPem("CERTIFICATE", der)), ...lists.map((der) => toPem("X509 CRL", der))].join("");
}

/** What an earlier run of the same command wrote may be replaced; nothing else is. Throws `OUT_EXISTS`. */
function checkPlace(path: string, ...starts: string[]): void {
  if (!existsSync(path) || starts.some((start) => readFileSync(path, "utf8").startsWith(start))) return;
  throw new HawserError("OUT_EXISTS", `${path} is there already and is something else`, "Choose another file.");
}
