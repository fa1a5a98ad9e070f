/** Makes the PEM files of a client that is no device. */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { errnoCode, storageError, syncDirectory, writeFileAtomic } from "../../../sim/node/atomic-file.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { ClientCredentials } from "../../ca/clients.js";
import { checkClientRole } from "../../policy/roles.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface IssueOptions extends PassphraseOptions {
  dir: string;
  name: string;
  role: string;
  out: string;
  replace?: boolean;
  json?: boolean;
}

/** Not named after the client: a client may be called "ca". */
const FILES = { certificate: "client.crt.pem", key: "client.key.pem", ca: "ca.crt.pem" } as const;

export async function issue(options: IssueOptions, context: Context): Promise<void> {
  checkId(options.name);
  checkClientRole(options.role);
  const replace = options.replace === true;
  checkPlace(options.out, replace);
  const ca = await openCaOf(options, context);
  const { serial, notAfterMs } = await issueInto(options.out, ca, options, replace);
  const [certificate, key, anchor] = [FILES.certificate, FILES.key, FILES.ca].map((file) => join(options.out, file));
  context.terminal.result({ name: options.name, role: options.role, serial, notAfter: isoTime(notAfterMs), certificate, key, ca: anchor }, [
    `${options.name} (${options.role}) has certificate ${serial}, valid until ${day(notAfterMs)}:`,
    `  ${certificate}`,
    `  ${key}`,
    `  ${anchor}`,
  ]);
}

function checkPlace(out: string, replace: boolean): void {
  const names = namesIn(out);
  const allOurs = names.every((name) => (Object.values(FILES) as string[]).includes(name));
  if (names.length > 0 && !(replace && allOurs)) throw new HawserError("OUT_EXISTS", `${out} is not empty`, "Choose another directory, or say --replace to put new files in the place of such files.");
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return [];
    if (errnoCode(error) === "ENOTDIR") throw new HawserError("OUT_EXISTS", `${directory} is no directory`, "Choose another directory.");
    throw storageError(error, "read", directory);
  }
}

/** The files are written beside their place first: once the client is in the registry, only renames are left to do. */
async function issueInto(out: string, ca: CertificateAuthority, { name, role }: IssueOptions, replace: boolean): Promise<ClientCredentials> {
  const path = resolve(out);
  const staging = makeStaging(path);
  try {
    const credentials = await ca.issueClient({ name, role, replace });
    writeFileAtomic(join(staging, FILES.certificate), credentials.chainPem, 0o644);
    writeFileAtomic(join(staging, FILES.key), credentials.keyPem, 0o600);
    writeFileAtomic(join(staging, FILES.ca), credentials.trustAnchorPem, 0o644);
    moveInto(staging, path);
    return credentials;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function makeStaging(path: string): string {
  try {
    // mkdtemp makes it for the owner alone.
    return mkdtempSync(join(dirname(path), `${basename(path)}.staged-`));
  } catch (error) {
    throw storageError(error, "make", path);
  }
}

function moveInto(staging: string, path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    for (const file of Object.values(FILES)) renameSync(join(staging, file), join(path, file));
    syncDirectory(path);
  } catch (error) {
    throw storageError(error, "write", path);
  }
}
