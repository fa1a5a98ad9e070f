/**
 * Which CA a broker's directory belongs to, and how new that CA was when it last wrote there. A copy of a CA, a backup that was put back,
 * or another CA would else take a broker over in silence, and with it take back what was revoked.
 */
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode, storageError, writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import { readFileOnly } from "../../sim/node/files/safe-path.js";
import { MOSQUITTO_FILES } from "../brokers/mosquitto/mosquitto-config.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { readUnprovedState, unprovedFiles } from "../ca-directory/ca-files.js";
import type { ProvedFiles } from "../ca-directory/ca-files.js";
import type { RegistryNames } from "../ca-directory/ca-registry.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { machineHere } from "../ca-directory/log-replica.js";
import { outputsHere, readOutputs } from "../ca-directory/outputs-file.js";
import { parseObject } from "../ca-directory/registry-entry.js";
import { openCrl } from "../pki/signed-crl.js";
import type { ReadCrl } from "../pki/signed-crl.js";
import { fromPem } from "../pki/pem.js";
import type { CaFacts } from "./broker-facts.js";
import type { CaKeys } from "./context.js";

/** In the broker's directory. */
const BINDING_FILE = ".hawser-ca.json";

interface Binding {
  /** The CA's, and where it was. */
  readonly instance: string;
  readonly path: string;
  /** The CA's change at which files were last written here. */
  readonly revision: number;
}

/** What a CA shows of itself to take a broker's directory over from another. */
interface Successor {
  /** Certificates of its issuing CAs, DER. */
  readonly issuers: readonly Uint8Array[];
  /** Its revocation lists now, PEM. */
  readonly crlPem: string;
  readonly names: RegistryNames;
  readonly nowMs: number;
}

export function successor({ issuing, previous }: CaKeys, { crlPem }: CaFacts, names: RegistryNames, nowMs: number): Successor {
  const issuers = [issuing, ...(previous === undefined ? [] : [previous])].map(({ certificate }) => certificate);
  return { issuers, crlPem, names, nowMs };
}

/** The CA in a directory as its last change left it; whoever uses this holds its lock. */
export class OutputBinding {
  readonly #own: Binding;

  constructor({ directory, state: { instance, revision } }: ProvedFiles) {
    this.#own = { instance, path: realpathSync(directory.path), revision };
  }

  /**
   * @param successor given when this CA is to take the directory over from another
   * @throws HawserError `OUTPUT_TAKEN`: the directory belongs to another CA, or to the one that this is a copy of; `OUTPUT_NEWER`: it shows
   *   changes, or revocations, that this CA does not know
   */
  async check(output: string, successor?: Successor): Promise<void> {
    const bound = readBinding(output);
    if (bound === undefined) return;
    const { instance, path, revision } = this.#own;
    if (bound.instance === instance && bound.revision > revision)
      throw newer(output, `its files are of change ${bound.revision} of this CA, which is at change ${revision}`);
    if (bound.instance === instance && (bound.path === path || !isThere(bound))) return;
    if (successor === undefined) throw taken(output, bound, instance);
    await checkRevocations(output, successor);
  }

  /** Before files are written there: after a crash between the two, an older copy is refused too. */
  bind(output: string): void {
    writeFileAtomic(join(output, BINDING_FILE), `${JSON.stringify({ v: 1, ...this.#own })}\n`);
  }

  /** Where nothing was to be written: this CA's from now on, if it was nobody's, another's, or this one's at another place. */
  keep(output: string): void {
    const bound = readBinding(output);
    if (bound?.instance !== this.#own.instance || bound.path !== this.#own.path) this.bind(output);
  }
}

/** Broker configurations of a shared CA that this machine does not keep up to date, as its files say; nothing is proved. */
export interface OutputsElsewhere {
  /** `OUTPUT_LEFT` for each that nobody does: it is here, and the CA directory that wrote it is not. */
  readonly left: readonly HawserError[];
  /** How many other machines do. */
  readonly others: number;
}

/** A machine that joins again is another one to the CA: what it wrote before would be forgotten in silence. */
export function outputsElsewhere(directory: CaDirectory): OutputsElsewhere {
  const state = readUnprovedState(directory);
  const here = machineHere({ directory, state });
  if (here === undefined || here === "") return { left: [], others: 0 };
  const outputs = readOutputs(unprovedFiles(directory));
  const own = new Set(outputsHere(outputs, here).map((output) => output.directory));
  const elsewhere = outputs.filter(({ machine }) => machine !== here);
  const isLeft = (output: string): boolean => wroteFromHere(output, state.instance, realpathSync(directory.path));
  const left = elsewhere.filter((output) => isLeft(output.directory));
  return {
    left: left.filter((output) => !own.has(output.directory)).map((output) => leftBehind(output.directory, output.machine ?? "")),
    others: elsewhere.length - left.length,
  };
}

function wroteFromHere(output: string, instance: string, path: string): boolean {
  try {
    const bound = readBinding(output);
    return bound?.instance === instance && (bound.path === path || !isThere(bound));
  } catch {
    return false;
  }
}

function leftBehind(output: string, machine: string): HawserError {
  return new HawserError(
    "OUTPUT_LEFT",
    `the broker configuration in ${output} is not kept up to date: it belongs to the machine ${machine.slice(0, 8)} of this CA, whose directory is not here any more. What is revoked is still let in there`,
    `Write it again from this directory, with the ports that it has: hawser broker config --out ${output}`,
  );
}

/** @throws HawserError `OUTPUT_TAKEN` where it cannot be read: what it says is not known */
function readBinding(output: string): Binding | undefined {
  const file = join(output, BINDING_FILE);
  const text = textOf(file);
  if (text === undefined) return undefined;
  const { v, instance, path, revision } = parseObject(text) ?? {};
  if (v === 1 && typeof instance === "string" && typeof path === "string" && Number.isSafeInteger(revision) && Number(revision) >= 0)
    return { instance, path, revision: Number(revision) };
  throw new HawserError(
    "OUTPUT_TAKEN",
    `${file} does not say which CA the broker configuration belongs to`,
    "If nobody else writes there, remove that file and run the command again.",
  );
}

/** Whether the CA is still where it was: then this one, of the same instance, is a copy. A directory that cannot be read counts as one. */
function isThere({ path, instance }: Binding): boolean {
  try {
    return existsSync(join(path, FILES.record)) && readUnprovedState(new CaDirectory(path)).instance === instance;
  } catch {
    return true;
  }
}

/** @throws HawserError `OUTPUT_NEWER` */
async function checkRevocations(output: string, { issuers, crlPem, names, nowMs }: Successor): Promise<void> {
  const theirs = ownLists(textOf(join(output, MOSQUITTO_FILES.crl)) ?? "", issuers);
  const ours = ownLists(crlPem, issuers);
  const lastNumber = Math.max(...ours.map(({ number }) => number));
  const ahead = theirs.find(({ number }) => number > lastNumber);
  if (ahead !== undefined)
    throw newer(output, `its revocation list has the number ${ahead.number}, and this CA's newest has ${lastNumber}`);
  const known = new Set(ours.flatMap(({ revoked }) => revoked.map(({ serial }) => serial)));
  for (const { certificates } of names.summaries())
    for (const { serial, status, notAfterMs } of certificates) if (status === "revoked" || notAfterMs <= nowMs) known.add(serial);
  const undone = theirs.flatMap(({ revoked }) => revoked.map(({ serial }) => serial)).filter((serial) => !known.has(serial));
  if (undone.length > 0) throw newer(output, `certificates that are revoked there would be valid again (${undone.slice(0, 3).join(", ")})`);
}

function ownLists(text: string, issuers: readonly Uint8Array[]): ReadCrl[] {
  const opened = fromPem("X509 CRL", text).map((der) => openCrl(der, issuers));
  return opened.filter((list) => list !== undefined);
}

/** Of a file in the broker's directory, where the broker's user may put a link or a pipe: those are refused, and not waited for. */
function textOf(file: string): string | undefined {
  try {
    return readFileOnly(file).toString("utf8");
  } catch (error) {
    const code = errnoCode(error);
    if (code === "ENOENT") return undefined;
    if (code !== "ELOOP" && code !== "EISDIR") throw storageError(error, "read", file);
    throw new HawserError(
      "OUTPUT_TAKEN",
      `${file} is ${code === "ELOOP" ? "a link" : "not a file"}: somebody else writes in that directory`,
      "Find out who put it there, for example a broker that was broken into. Remove it and run the command again.",
    );
  }
}

function taken(output: string, { path, instance }: Binding, own: string): HawserError {
  return new HawserError(
    "OUTPUT_TAKEN",
    instance === own
      ? `the broker configuration in ${output} belongs to the CA in ${path}, of which this is a copy`
      : `the broker configuration in ${output} belongs to another CA (${path})`,
    "Use that CA. If this one is to take its place, run: hawser broker config --take-over, or hawser broker sync --take-over",
  );
}

function newer(output: string, what: string): HawserError {
  return new HawserError(
    "OUTPUT_NEWER",
    `the broker configuration in ${output} is newer than this CA: ${what}`,
    `Use the newest directory of this CA. If it is lost, restore its last backup: hawser ca restore --crl ${join(output, MOSQUITTO_FILES.crl)}`,
  );
}
