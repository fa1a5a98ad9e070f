/** Writes files for other systems. */
import { createPrivateKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { IdentityStore } from "../../../sdk/identity/store.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { ExportMaterial } from "../../ca/exporting.js";
import { awsBulk, awsBulkTemplate, awsJitp } from "../../exports/aws.js";
import { azureGroup, azureIndividual } from "../../exports/azure.js";
import { emqxUsers } from "../../exports/emqx.js";
import { erpCsv } from "../../exports/erp.js";
import { writePkcs12 } from "../../exports/pkcs12.js";
import { registryJson } from "../../exports/registry-json.js";
import { stationFacts } from "../../exports/station-facts.js";
import { readLedger } from "../../station/factory/ledger.js";
import { labelsOf } from "../../labels/label-log.js";
import { fromPem, toPem } from "../../pki/pem.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import { vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { readSecretFile, readSecretLine } from "../secret-files.js";
import { EXPORT_FORMS } from "./export-forms.js";
import type { ExportForm } from "./export-forms.js";
import { checkNew, NewFiles, readInput } from "../image/image-files.js";
import { FILES } from "./issue-place.js";

export interface ExportOptions extends PassphraseOptions {
  form: string;
  dir: string;
  out: string;
  device?: string[];
  role?: string;
  secrets?: boolean;
  station?: string;
  separator: "," | ";";
  bom: boolean;
  awsPolicy?: string;
  roleArn?: string;
  group: string;
  passwords?: string;
  vault?: string;
  credentials?: string;
  outPassphraseFile?: string;
  json?: boolean;
}

interface Written {
  readonly content: string | Buffer;
  readonly devices: number;
  /** Beside the file asked for. */
  readonly beside?: { readonly path: string; readonly content: string };
}

export async function exportFor(options: ExportOptions, context: Context): Promise<void> {
  const form = EXPORT_FORMS.find((one) => one === options.form);
  if (form === undefined) throw usage(`unknown form ${JSON.stringify(options.form)}`, `Use one of ${EXPORT_FORMS.join(", ")}.`);
  check(form, options);
  checkNew(options.out, options.passwords);
  const ca = await openCaOf(options, context);
  const written = form === "pem" || form === "pkcs12" ? await credentials(form, options, ca, context) : await registry(form, options, ca);
  const files = new NewFiles();
  files.write(options.out, Buffer.from(written.content));
  if (written.beside !== undefined) files.write(written.beside.path, Buffer.from(written.beside.content));
  const secrets = options.secrets === true;
  context.terminal.result({ form, out: options.out, devices: written.devices, secrets, passwords: options.passwords }, [
    `${options.out}: ${form}, ${written.devices} ${written.devices === 1 ? "device" : "devices"}${secrets ? ", WITH SECRETS" : ""}.`,
    ...(options.passwords === undefined ? [] : [`  ${options.passwords}: their passwords`]),
  ]);
}

function check(
  form: ExportForm,
  { secrets = false, awsPolicy, roleArn, passwords, vault, credentials: directory, outPassphraseFile, station }: ExportOptions,
): void {
  const mayHold = ["json", "emqx-users", "pem", "pkcs12"].includes(form);
  if (secrets && !mayHold) throw usage(`the form ${form} holds no secret`, "Leave out --secrets.");
  if ((form === "aws-template" || form === "aws-jitp") && awsPolicy === undefined)
    throw usage(`${form} needs --aws-policy NAME`, "Give the AWS IoT policy of the devices.");
  if (form === "aws-jitp" && roleArn === undefined) throw usage("aws-jitp needs --role-arn ARN", "Give the role that may register things.");
  if (form === "emqx-users" && (!secrets || passwords === undefined))
    throw usage("emqx-users draws new passwords, which have to go somewhere", "Use --secrets and --passwords FILE.");
  if (form !== "erp" && station !== undefined) throw usage("--station is for erp", "Leave it out.");
  if (form !== "emqx-users" && passwords !== undefined) throw usage("--passwords is for emqx-users", "Leave it out.");
  if (form !== "pem" && form !== "pkcs12") return;
  if ((vault === undefined) === (directory === undefined))
    throw usage("--vault PATH or --credentials DIR is required, not both", "Run: hawser export --help.");
  if (form === "pkcs12" && !secrets)
    throw usage("a PKCS#12 file holds the private key", "Use --secrets, or the form pem for the certificates alone.");
  if (form === "pkcs12" && outPassphraseFile === undefined)
    throw usage("pkcs12 needs --out-passphrase-file FILE", "The passphrase protects the key in the new file.");
}

async function registry(form: Exclude<ExportForm, "pem" | "pkcs12">, options: ExportOptions, ca: CertificateAuthority): Promise<Written> {
  const { device: ids, role, secrets = false } = options;
  const material = await ca.readForExport({ form, secrets, ...(ids && { ids }), ...(role !== undefined && { role }) });
  const missing = ids?.find((id) => !material.devices.some((one) => one.id === id));
  if (missing !== undefined)
    throw new HawserError(
      "UNKNOWN_ID",
      `${missing} is not an active device of this CA${role === undefined ? "" : ` with the role ${role}`}`,
      "Run `hawser list` for the known names.",
    );
  const written = contentOf(form, options, material);
  for (const { psk } of material.devices) psk?.fill(0);
  return { ...written, devices: material.devices.length };
}

function contentOf(
  form: Exclude<ExportForm, "pem" | "pkcs12">,
  options: ExportOptions,
  material: ExportMaterial,
): Omit<Written, "devices"> {
  switch (form) {
    case "erp": {
      const labels = new Map(labelsOf(options.dir).map(({ id, payloadSha256 }) => [id, payloadSha256]));
      const facts = options.station === undefined ? undefined : stationFacts(readLedger(options.station).lines);
      return {
        content: erpCsv(material.devices, { labels, separator: options.separator, byteOrderMark: options.bom, ...(facts && { facts }) }),
      };
    }
    case "json":
      return { content: registryJson(material, Date.now()) };
    case "aws-bulk":
      return { content: awsBulk(material) };
    case "aws-template":
      return { content: `${awsBulkTemplate(options.awsPolicy ?? "")}\n` };
    case "aws-jitp":
      return { content: awsJitp(options.awsPolicy ?? "", options.roleArn ?? "") };
    case "azure-group":
      return { content: azureGroup(material, options.group) };
    case "azure-individual":
      return { content: azureIndividual(material) };
    case "emqx-users": {
      const { users, passwords } = emqxUsers(material.devices);
      return { content: users, beside: { path: options.passwords ?? "", content: passwords } };
    }
  }
}

interface Credentials {
  readonly name: string;
  readonly chain: readonly Uint8Array[];
  readonly anchors: readonly Uint8Array[];
  readonly privateKey: KeyObject;
}

/** For a gateway: a key and its chain, out of a vault or of what `hawser issue` made. */
async function credentials(form: "pem" | "pkcs12", options: ExportOptions, ca: CertificateAuthority, context: Context): Promise<Written> {
  const { name, chain, anchors, privateKey } =
    options.vault === undefined ? fromDirectory(options.credentials ?? "") : await fromVault(options.vault, options, context);
  const known = (await ca.list()).find((listed) => listed.name === name);
  if (known?.state !== "active")
    throw new HawserError("UNKNOWN_ID", `${name} is not active in this CA`, "Use the CA that issued its certificate.");
  await ca.audit({ event: "exported", form, name, secrets: options.secrets === true ? "yes" : "no" });
  if (form === "pkcs12") {
    const passphrase = readSecretLine(options.outPassphraseFile ?? "");
    return { content: writePkcs12({ certificates: [...chain, ...anchors], privateKey, passphrase, friendlyName: name }), devices: 1 };
  }
  const key = options.secrets === true ? String(privateKey.export({ type: "pkcs8", format: "pem" })) : "";
  return { content: key + [...chain, ...anchors].map((der) => toPem("CERTIFICATE", der)).join(""), devices: 1 };
}

function fromDirectory(directory: string): Credentials {
  const read = (file: string): string => readInput(join(directory, file)).toString("utf8");
  const chain = fromPem("CERTIFICATE", read(FILES.certificate));
  return {
    name: commonName(chain),
    chain,
    anchors: fromPem("CERTIFICATE", read(FILES.ca)),
    privateKey: createPrivateKey(readSecretFile(join(directory, FILES.key))),
  };
}

async function fromVault(path: string, options: ExportOptions, { env }: Context): Promise<Credentials> {
  const vault = await Vault.open(path, await vaultPassphrase({ ...options, vault: path }, env));
  try {
    const { device, active, trustAnchors } = IdentityStore.load(vault.storage, vault.keyStore);
    if (active === undefined)
      throw new HawserError(
        "NOT_PROVISIONED",
        `the vault ${path} has no certificate`,
        "Let the device enrol first, or provision it again.",
      );
    return { name: device.id, chain: active.chain, anchors: trustAnchors, privateKey: vault.signingKey(active.keySlot) };
  } finally {
    vault.close();
  }
}

function commonName([leaf]: readonly Uint8Array[]): string {
  return leaf === undefined ? "" : readCertificate(leaf).commonName;
}

function usage(problem: string, next: string): HawserError {
  return new HawserError("USAGE", problem, next);
}
