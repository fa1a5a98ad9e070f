/** Makes the PEM files of a client that is no device. */
import { join } from "node:path";
import { checkId } from "../../../sdk/identity/device-id.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { ClientCredentials } from "../../ca/clients.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { isJournalThere } from "../../ca-directory/change-journal.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import { checkClientRole, policyOf } from "../../ca/ca-policy.js";
import { unprovedFiles } from "../../ca-directory/ca-files.js";
import { attributesOf } from "./attribute-flags.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { checkFree, FILES, IssuePlace } from "./issue-place.js";

export interface IssueOptions extends PassphraseOptions {
  dir: string;
  name: string;
  role: string;
  out: string;
  replace?: boolean;
  attribute?: string[];
  json?: boolean;
}

export async function issue(options: IssueOptions, context: Context): Promise<void> {
  checkId(options.name);
  attributesOf(options.attribute);
  checkClientRole(policyOf(unprovedFiles(new CaDirectory(options.dir))), options.role);
  const replace = options.replace === true;
  checkFree(options.out, replace);
  const ca = await openCaOf(options, context);
  const place = IssuePlace.claim(options.out, replace);
  const { serial, notAfterMs } = await issueAt(place, ca, options, replace);
  place.take();
  const [certificate, key, anchor] = [FILES.certificate, FILES.key, FILES.ca].map((file) => join(options.out, file));
  context.terminal.result({ name: options.name, role: options.role, serial, notAfter: isoTime(notAfterMs), certificate, key, ca: anchor }, [
    `${options.name} (${options.role}) has certificate ${serial}, valid until ${day(notAfterMs)}:`,
    `  ${certificate}`,
    `  ${key}`,
    `  ${anchor}`,
  ]);
}

type Issued = Pick<ClientCredentials, "serial" | "notAfterMs">;

/** When this resolves, the client is let in and its files are staged. */
async function issueAt(place: IssuePlace, ca: CertificateAuthority, options: IssueOptions, replace: boolean): Promise<Issued> {
  try {
    // The same command may have been killed before its last step. With --replace a new certificate is wanted in any case.
    const before = replace ? undefined : letInAsStaged(place, ca, options);
    return (
      before ??
      (await ca.issueClient({
        name: options.name,
        role: options.role,
        replace,
        attributes: attributesOf(options.attribute),
        keep: (credentials) => place.stage(credentials),
      }))
    );
  } catch (error) {
    if (mayBeNeeded(place, ca, options)) place.leave();
    else place.discard();
    throw error;
  }
}

/** A change that failed on its way is finished by the next command: then what is staged is the client's only key. */
function mayBeNeeded(place: IssuePlace, ca: CertificateAuthority, options: IssueOptions): boolean {
  try {
    return isJournalThere(new CaDirectory(ca.directory)) || letInAsStaged(place, ca, options) !== undefined;
  } catch {
    return true;
  }
}

function letInAsStaged(place: IssuePlace, ca: CertificateAuthority, { name, role }: IssueOptions): Issued | undefined {
  const serial = place.stagedSerial();
  // Whether nothing is staged is known without another look at the registry.
  if (serial === undefined) return undefined;
  const client = openCaReadOnly(ca.directory, "used")
    .list()
    .find((listed) => listed.name === name && listed.kind === "client" && listed.role === role && listed.state === "active");
  return client?.serial === serial ? client?.certificates.find((certificate) => certificate.serial === serial) : undefined;
}
