/** Makes an esp_secure_cert partition. */
import { randomBytes, X509Certificate } from "node:crypto";
import { dirname, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { pemChain } from "../../ca/context.js";
import { issueHostMade } from "../../images/host-made-identity.js";
import type { HostMadeIdentity } from "../../images/host-made-identity.js";
import { parseSecureCertCsv } from "../../images/secure-cert-csv.js";
import { TLV_TYPES, typeName } from "../../images/secure-cert-format.js";
import type { TlvEntry } from "../../images/secure-cert-format.js";
import { deriveHmacEcdsaKey, dsEntries, plainKeyEntry, readPrivateKey, SALT_BYTES, saltEntry } from "../../images/secure-cert-keys.js";
import { readSecureCert, withoutNul } from "../../images/secure-cert-reader.js";
import { buildSecureCert, certificateEntry, keyMarkerEntry, topicsEntries } from "../../images/secure-cert-writer.js";
import { toPem } from "../../pki/pem.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { readSecretFile } from "../secret-files.js";
import type { Json } from "../terminal.js";
import { checkNew, NewFiles, parseEfuseKey, parseSize, readInput } from "./image-files.js";
import { finishImage } from "./image-unfinished.js";
import type { UnfinishedImage } from "./image-unfinished.js";

export interface ImageSecureCertOptions extends PassphraseOptions {
  out: string;
  size: string;
  dir?: string;
  device?: string;
  role: string;
  replace?: boolean;
  csv?: string;
  cert?: string;
  ca?: string;
  key?: string;
  hmacKey?: string;
  newHmacKey?: string;
  efuseKey?: string;
  chip: string;
  plain?: boolean;
  integrity: boolean;
  json?: boolean;
}

export async function imageSecureCert(options: ImageSecureCertOptions, context: Context): Promise<void> {
  checkOptions(options);
  const sizeBytes = parseSize(options.size, "--size");
  if (options.dir === undefined) checkNew(options.out, options.newHmacKey);
  const files = new NewFiles();
  const write = (entries: readonly TlvEntry[]): Json => {
    const image = buildSecureCert({ entries, integrity: options.integrity, sizeBytes });
    files.write(options.out, image);
    return resultOf(options.out, image.length, entries);
  };
  try {
    const { dir, device } = options;
    if (dir === undefined || device === undefined) {
      const entries = options.csv === undefined ? entriesOf(options) : tableEntries(options.csv, options.chip);
      context.terminal.result(write(entries), [`${options.out}: ${describe(entries)}.`]);
      return;
    }
    await forDevice({ ...options, dir, device }, context, files, write);
  } catch (error) {
    files.discard();
    throw error;
  }
}

function resultOf(image: string, sizeBytes: number, entries: readonly TlvEntry[]): Json {
  return { image, sizeBytes, entries: entries.map(({ type, subtype, data }) => ({ type: typeName(type), subtype, bytes: data.length })) };
}

function checkOptions({ dir, device, csv, cert, key, hmacKey, newHmacKey, efuseKey, plain }: ImageSecureCertOptions): void {
  const usage = (problem: string, next: string): HawserError => new HawserError("USAGE", problem, next);
  if ((dir === undefined) !== (device === undefined)) throw usage("--dir DIR and --device ID go together", "Give both, or neither.");
  if ([dir, csv, cert].filter((way) => way !== undefined).length !== 1)
    throw usage("--dir and --device, --csv or --cert is required, and only one of them", "Run: hawser image secure-cert --help.");
  if (hmacKey !== undefined && newHmacKey !== undefined) throw usage("--hmac-key and --new-hmac-key exclude each other", "Choose one.");
  const hasHmacKey = (hmacKey ?? newHmacKey) !== undefined;
  if (dir !== undefined && hasHmacKey === (plain === true)) {
    throw usage(
      "where is the private key to be?",
      "Use --new-hmac-key FILE or --hmac-key FILE (derived on the chip), or --plain (in the image as it is).",
    );
  }
  if (cert !== undefined && key !== undefined && hasHmacKey !== (efuseKey !== undefined))
    throw usage("--hmac-key and --efuse-key go together", "Give both for the DS peripheral, or neither.");
  if (dir === undefined && newHmacKey !== undefined) throw usage("--new-hmac-key needs --dir and --device", "Use --hmac-key FILE.");
}

function tableEntries(path: string, chip: string): TlvEntry[] {
  return parseSecureCertCsv(readInput(path).toString("utf8"), { chip, readFile: (name) => readInput(resolve(dirname(path), name)) });
}

function entriesOf({ cert = "", ca, key, hmacKey, efuseKey, chip }: ImageSecureCertOptions): TlvEntry[] {
  const certificates = [
    ...(ca === undefined ? [] : [certificateEntry("ca-certificate", readInput(ca))]),
    certificateEntry("device-certificate", readInput(cert)),
  ];
  if (key === undefined) return certificates;
  if (hmacKey === undefined || efuseKey === undefined) return [...certificates, plainKeyEntry(readSecretFile(key))];
  const request = {
    privateKey: readPrivateKey(readSecretFile(key)),
    hmacKey: readSecretFile(hmacKey),
    efuseKey: parseEfuseKey(efuseKey),
    chip,
  };
  // In the order of Espressif's tool.
  return [...dsEntries(request), ...certificates];
}

type DeviceOptions = ImageSecureCertOptions & { dir: string; device: string };

async function forDevice(
  options: DeviceOptions,
  context: Context,
  files: NewFiles,
  write: (entries: readonly TlvEntry[]) => Json,
): Promise<void> {
  const id = checkId(options.device);
  const ca = await openCaOf(options, context);
  const finished = await finishImage(ca, unfinished(options, id));
  if (finished !== undefined) {
    const image = readInput(options.out);
    const { entries } = readSecureCert(image);
    tell(options, context, { id, role: options.role, ...finished }, entries, resultOf(options.out, image.length, entries));
    return;
  }
  checkNew(options.out, options.newHmacKey);
  const hmacKey = options.newHmacKey === undefined ? options.hmacKey && readSecretFile(options.hmacKey) : randomBytes(32);
  const salt = randomBytes(SALT_BYTES);
  const derived = hmacKey ? deriveHmacEcdsaKey(hmacKey, salt) : undefined;
  let entries: TlvEntry[] = [];
  let result: Json;
  const keep = ({ chain, trustAnchors, privateKey, topics }: HostMadeIdentity): void => {
    const certificates = [
      certificateEntry("ca-certificate", Buffer.from(pemChain(trustAnchors))),
      certificateEntry("device-certificate", Buffer.from(pemChain(chain))),
    ];
    const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
    const key = derived
      ? [saltEntry(salt), keyMarkerEntry("hmac-derived-ecdsa")]
      : [plainKeyEntry(Buffer.from(toPem("PRIVATE KEY", pkcs8)))];
    entries = [...certificates, ...key, ...topicsEntries(id, topics)];
    if (options.newHmacKey !== undefined && hmacKey) files.stage(options.newHmacKey, hmacKey);
    result = write(entries);
    for (const secret of [pkcs8, ...(derived ? [] : key.map(({ data }) => data))]) secret.fill(0);
  };
  const { role, serial, notAfterMs } = await issueHostMade(
    ca,
    { id, role: options.role, replace: options.replace === true },
    keep,
    derived,
  );
  if (hmacKey) hmacKey.fill(0);
  tell(options, context, { id, role, serial, notAfterMs }, entries, result);
}

function tell(
  { out, newHmacKey }: DeviceOptions,
  { terminal }: Context,
  device: { readonly id: string; readonly role: string; readonly serial: string; readonly notAfterMs: number },
  entries: readonly TlvEntry[],
  result: Json,
): void {
  const { id, role, serial, notAfterMs } = device;
  terminal.result({ ...(result as object), hmacKey: newHmacKey, device: { id, role, serial, notAfter: isoTime(notAfterMs) } }, [
    `${out}: ${describe(entries)}.`,
    ...(newHmacKey === undefined ? [] : [`  ${newHmacKey}: HMAC key; burn it into this board's eFuses, then delete it`]),
    `  ${id} (${role}): certificate ${serial}, valid until ${day(notAfterMs)}`,
  ]);
}

function unfinished({ out, role, replace = false, hmacKey, newHmacKey }: DeviceOptions, id: string): UnfinishedImage {
  const paths = [newHmacKey, out].filter((path) => path !== undefined);
  const serialIn = (whereIs: (path: string) => string): string | undefined => {
    const { entries, problems } = readSecureCert(readInput(whereIs(out)));
    const dataOf = (name: "device-certificate" | "ecdsa-salt" | "private-key"): Uint8Array =>
      entries.find(({ type }) => type === TLV_TYPES[name])?.data ?? new Uint8Array();
    const hmacFile = newHmacKey === undefined ? hmacKey : whereIs(newHmacKey);
    const key =
      hmacFile === undefined ? readPrivateKey(dataOf("private-key")) : deriveHmacEcdsaKey(readSecretFile(hmacFile), dataOf("ecdsa-salt"));
    const certificate = new X509Certificate(withoutNul(dataOf("device-certificate")));
    const isWhole = problems.length === 0 && certificate.checkPrivateKey(key) && certificate.subject === `CN=${id}`;
    return isWhole ? certificate.serialNumber.toLowerCase().replace(/^0+/, "") : undefined;
  };
  return { paths, id, role, replace, serialIn };
}

function describe(entries: readonly TlvEntry[]): string {
  return entries.map(({ type }) => typeName(type)).join(", ");
}
