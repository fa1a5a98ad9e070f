/** Shows what is in an image, and where it is damaged. */
import { createHash, X509Certificate } from "node:crypto";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { readDeviceItems } from "../../images/device-items.js";
import { espCrc32, hexOffset, NVS_KEY_SIZE } from "../../images/nvs-format.js";
import type { NvsItem } from "../../images/nvs-format.js";
import { nvsKeysFromHmac } from "../../images/nvs-keys.js";
import { readNvsImage } from "../../images/nvs-reader.js";
import type { ImageProblem } from "../../images/nvs-reader.js";
import { TLV_FLAGS, TLV_TYPES, typeName } from "../../images/secure-cert-format.js";
import type { TlvEntry } from "../../images/secure-cert-format.js";
import { isSecureCert, readSecureCert, withoutNul } from "../../images/secure-cert-reader.js";
import type { Context } from "../command-runner.js";
import { isoTime } from "../dates.js";
import { readSecretFile } from "../secret-files.js";
import { printable, table } from "../terminal.js";
import type { Json } from "../terminal.js";
import { readInput, readKeysFile } from "./image-files.js";

export interface ImageInspectOptions {
  image: string;
  keys?: string;
  hmacKey?: string;
  values?: boolean;
  json?: boolean;
}

interface Shown {
  readonly json: Record<string, Json>;
  readonly lines: readonly string[];
  readonly problems: readonly ImageProblem[];
}

export async function imageInspect(options: ImageInspectOptions, { terminal }: Context): Promise<void> {
  if (options.keys !== undefined && options.hmacKey !== undefined)
    throw new HawserError("USAGE", "--keys and --hmac-key exclude each other", "Choose one.");
  const image = readInput(options.image);
  const shown = isSecureCert(image) ? showSecureCert(image, options) : isKeys(image) ? showKeys() : showNvs(image, options);
  const problems = shown.problems.map(({ offset, problem }) => ({ offset, at: hexOffset(offset), problem }));
  terminal.result({ ...shown.json, sizeBytes: image.length, problems }, [
    ...shown.lines,
    ...problems.map(({ at, problem }) => `${at}: ${problem}`),
  ]);
  const first = problems[0];
  if (first === undefined) return;
  const more = problems.length === 1 ? "" : ` (and ${problems.length - 1} more)`;
  throw new HawserError(
    "IMAGE_DAMAGED",
    `${options.image} is damaged at ${first.at}: ${first.problem}${more}`,
    "Make the image again; a dump of a device: read it again first.",
  );
}

/** An nvs_keys partition: 64 bytes and their CRC, the rest erased. No page of NVS begins like that. */
function isKeys(image: Buffer): boolean {
  return (
    image.length >= NVS_KEY_SIZE + 4 &&
    image.readUInt32LE(NVS_KEY_SIZE) === espCrc32(image.subarray(0, NVS_KEY_SIZE)) &&
    image.subarray(NVS_KEY_SIZE + 4).every((byte) => byte === 0xff)
  );
}

function showKeys(): Shown {
  return {
    json: { kind: "nvs_keys" },
    lines: ["An nvs_keys partition: encryption key and tweak key, and their CRC is right."],
    problems: [],
  };
}

function showNvs(image: Buffer, { keys, hmacKey, values = false }: ImageInspectOptions): Shown {
  const nvsKeys = keys === undefined ? hmacKey && nvsKeysFromHmac(readSecretFile(hmacKey)) : readKeysFile(keys);
  const { pages, items, problems } = readNvsImage(image, nvsKeys || undefined);
  const found = problems.slice();
  const device = showDevice(items, found);
  const entries = items.map((item) => ({
    namespace: item.namespace,
    key: item.key,
    type: item.type,
    ...(item.type === "blob" && { bytes: item.value.length }),
    ...(values && { value: valueText(item) }),
  }));
  const used = pages.filter(({ state }) => state !== "empty");
  const rows = items.map((item) =>
    [item.namespace, item.key, item.type, item.type === "blob" ? `${item.value.length} bytes` : "", values ? valueText(item) : ""].map(
      printable,
    ),
  );
  return {
    json: { kind: "nvs", pages: pages.map((page) => ({ ...page })), entries, device },
    lines: [
      `An NVS partition of ${pages.length} pages, ${used.length} in use: ${used.reduce((sum, { written }) => sum + written, 0)} places written, ${used.reduce((sum, { erased }) => sum + erased, 0)} erased.`,
      ...table([["NAMESPACE", "KEY", "TYPE", "SIZE", values ? "VALUE" : ""], ...rows]),
      ...(device === undefined
        ? []
        : [
            `Device ${device.id} (${device.role}): certificate ${device.serial ?? "none yet"}, key ${device.key ? "present" : "absent"}, PSK ${device.psk ? "present" : "absent"}.`,
            `Its topics are below ${device.base}, for certificates below ${device.identityBase}.`,
          ]),
    ],
    problems: found,
  };
}

type DeviceShown = {
  readonly id: string;
  readonly role: string;
  readonly serial?: string;
  readonly notAfter?: string;
  readonly key: boolean;
  readonly psk: boolean;
  /** Below these it publishes and subscribes, and speaks with the authority. */
  readonly base: string;
  readonly identityBase: string;
};

/** What the SDK finds in there is read by the SDK itself. */
function showDevice(items: readonly NvsItem[], problems: ImageProblem[]): DeviceShown | undefined {
  try {
    const found = readDeviceItems(items);
    if (found === undefined) return undefined;
    const { device, serial, notAfterMs, hasKey, hasPsk, topics } = found;
    if (serial !== undefined && !hasKey)
      problems.push({ offset: 0, problem: "the device has a certificate, and no private key that belongs to it" });
    return {
      id: device.id,
      role: device.role,
      ...(serial !== undefined && { serial }),
      ...(notAfterMs !== undefined && { notAfter: isoTime(notAfterMs) }),
      key: hasKey,
      psk: hasPsk,
      base: topics.base,
      identityBase: topics.identity,
    };
  } catch (error) {
    problems.push({ offset: 0, problem: `a device would find no identity: ${errorMessage(error)}` });
    return undefined;
  }
}

function valueText(item: NvsItem): string {
  return item.type === "blob" ? Buffer.from(item.value).toString("hex") : String(item.value);
}

function showSecureCert(image: Buffer, { values = false }: ImageInspectOptions): Shown {
  const { entries, problems } = readSecureCert(image);
  const shown = entries.map((entry) => ({
    offset: hexOffset(entry.offset),
    type: typeName(entry.type),
    subtype: entry.subtype,
    flags: flagName(entry),
    bytes: entry.data.length,
    is: describe(entry),
    ...(values && { value: Buffer.from(entry.data).toString("hex") }),
  }));
  return {
    json: { kind: "esp_secure_cert", entries: shown },
    lines: table([
      ["OFFSET", "TYPE", "SUBTYPE", "BYTES", "CONTENT"],
      ...shown.map(({ offset, type, subtype, bytes, is, value }) => [offset, type, String(subtype), String(bytes), printable(value ?? is)]),
    ]),
    problems,
  };
}

function flagName({ flags }: TlvEntry): string {
  return flags === 0 ? "" : (Object.entries(TLV_FLAGS).find(([, bit]) => bit === flags)?.[0] ?? `0x${flags.toString(16)}`);
}

function describe(entry: TlvEntry): string {
  const { type, data } = entry;
  if (type === TLV_TYPES["private-key"]) return flagName(entry) || "private key, as it is";
  if (type !== TLV_TYPES["ca-certificate"] && type !== TLV_TYPES["device-certificate"])
    return `SHA-256 ${createHash("sha256").update(data).digest("hex").slice(0, 16)}..`;
  try {
    const certificate = new X509Certificate(withoutNul(data));
    return `${certificate.subject.replaceAll("\n", ", ")}, until ${new Date(certificate.validTo).toISOString().slice(0, 10)}`;
  } catch {
    return "not a certificate";
  }
}
