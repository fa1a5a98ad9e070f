/**
 * The table of Espressif's esp_secure_cert tool:
 * `tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,efuse_key`.
 */
import { randomBytes } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import { parseCsv } from "./csv.js";
import { TLV_TYPES } from "./secure-cert-format.js";
import type { TlvEntry } from "./secure-cert-format.js";
import { dsEntries, plainKeyEntry, readPrivateKey } from "./secure-cert-keys.js";
import { certificateEntry, keyMarkerEntry, securityConfigEntry } from "./secure-cert-writer.js";

/** How that tool names the types; a number will do, too. */
const TYPE_NAMES: Readonly<Record<string, number>> = {
  ESP_SECURE_CERT_CA_CERT_TLV: 0,
  ESP_SECURE_CERT_DEV_CERT_TLV: 1,
  ESP_SECURE_CERT_PRIV_KEY_TLV: 2,
  ESP_SECURE_CERT_DS_DATA_TLV: 3,
  ESP_SECURE_CERT_DS_CONTEXT_TLV: 4,
  ESP_SECURE_CERT_ECDSA_KEY_SALT_TLV: 5,
  ESP_SECURE_CERT_SEC_CFG_TLV: 6,
  ESP_SECURE_CERT_TEE_SEC_STORAGE_KEY_TLV: 7,
  ESP_SECURE_CERT_SIGNATURE_BLOCK_TLV: 8,
  ESP_SECURE_CERT_INTEGRITY_TLV: 9,
  ESP_SECURE_CERT_USER_DATA_1_TLV: 51,
  ESP_SECURE_CERT_USER_DATA_2_TLV: 52,
  ESP_SECURE_CERT_USER_DATA_3_TLV: 53,
  ESP_SECURE_CERT_USER_DATA_4_TLV: 54,
  ESP_SECURE_CERT_USER_DATA_5_TLV: 55,
};

export interface TableOptions {
  readonly chip: string;
  /** Reads a file that the table names. */
  readonly readFile: (path: string) => Buffer;
  /** For tests; random when left out. */
  readonly iv?: Uint8Array;
}

/**
 * The entries a table asks for, in the order in which the tool writes them: those of the signature peripherals first.
 *
 * A key for the ECDSA peripheral is not in the image, as it is in the tool's own of 2026: the chip has it in its eFuses.
 *
 * @throws HawserError `BAD_TABLE` naming the line, `BAD_IMAGE`, `BAD_IMAGE_KEY`, `BAD_CERTIFICATE`, and what `readFile` throws
 */
export function parseSecureCertCsv(text: string, { chip, readFile, iv = randomBytes(16) }: TableOptions): TlvEntry[] {
  const [head, ...rows] = parseCsv(text, { comments: true });
  const first: TlvEntry[] = [];
  const rest: TlvEntry[] = [];
  for (const { line, cells } of rows) {
    const cell = (name: string): string => (cells[head?.cells.indexOf(name) ?? -1] ?? "").trim();
    const type = typeOf(cell("tlv_type"), line);
    const subtype = numberOf(cell("tlv_subtype"), "tlv_subtype", line);
    const data = dataOf(cell("data_type"), cell("data_value"), readFile, line);
    if (type === TLV_TYPES["ca-certificate"]) rest.push(certificateEntry("ca-certificate", data, subtype));
    else if (type === TLV_TYPES["device-certificate"]) rest.push(certificateEntry("device-certificate", data, subtype));
    else if (type !== TLV_TYPES["private-key"]) rest.push({ type, subtype, flags: 0, data });
    else {
      const efuseKey = (): number => numberOf(cell("efuse_id"), "efuse_id", line);
      switch (cell("priv_key_type").toLowerCase()) {
        case "plaintext":
          rest.push(plainKeyEntry(data, subtype));
          break;
        case "rsa_ds":
          first.push(
            ...dsEntries({
              privateKey: readPrivateKey(data),
              hmacKey: readFile(needed(cell("efuse_key"), "efuse_key", line)),
              efuseKey: efuseKey(),
              chip,
              subtype,
              iv,
            }),
          );
          break;
        case "ecdsa_peripheral":
          first.push(securityConfigEntry(efuseKey(), subtype));
          rest.push(keyMarkerEntry("ecdsa-peripheral", subtype));
          break;
        default:
          throw badLine(
            line,
            `unknown priv_key_type ${JSON.stringify(cell("priv_key_type"))}`,
            "Use plaintext, rsa_ds or ecdsa_peripheral.",
          );
      }
    }
  }
  return [...first, ...rest];
}

function typeOf(text: string, line: number): number {
  const type = TYPE_NAMES[text] ?? (/^\d{1,3}$/.test(text) ? Number(text) : Number.NaN);
  if (!(type <= 255))
    throw badLine(line, `unknown tlv_type ${JSON.stringify(text)}`, "Use a name such as ESP_SECURE_CERT_DEV_CERT_TLV, or 0 to 255.");
  return type;
}

function numberOf(text: string, column: string, line: number): number {
  if (!/^\d{1,3}$/.test(text)) throw badLine(line, `${column} is ${JSON.stringify(text)}`, "Give a whole number.");
  return Number(text);
}

function dataOf(type: string, value: string, readFile: (path: string) => Buffer, line: number): Buffer {
  needed(value, "data_value", line);
  switch (type) {
    case "file":
      return readFile(value);
    case "string":
      return Buffer.from(value, "utf8");
    case "hex":
      return decoded(value.replaceAll(" ", ""), /^(?:[0-9a-f]{2})+$/i, "hex", line);
    case "base64":
      return decoded(value, /^[A-Za-z0-9+/\s]+={0,2}$/, "base64", line);
    default:
      throw badLine(line, `unknown data_type ${JSON.stringify(type)}`, "Use file, string, hex or base64.");
  }
}

function decoded(text: string, form: RegExp, encoding: "hex" | "base64", line: number): Buffer {
  if (!form.test(text)) throw badLine(line, `data_value is not ${encoding}`, "Check for stray characters.");
  return Buffer.from(text, encoding);
}

function needed(text: string, column: string, line: number): string {
  if (text === "") throw badLine(line, `${column} is empty`, "Fill it in.");
  return text;
}

function badLine(line: number, problem: string, next: string): HawserError {
  return new HawserError("BAD_TABLE", `line ${line} of the esp_secure_cert table: ${problem}`, next);
}
