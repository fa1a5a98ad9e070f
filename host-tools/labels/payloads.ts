/** What a label's QR code says: the device's id, with a secret where one is wanted, or the payload of another system. */
import { createHash, randomBytes } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** 128 bits: nobody guesses a label. */
const SECRET_BYTES = 16;
const SECRET_FORM = /^[A-Z2-7]{26}$/;

/** 26 characters of base 32 (RFC 4648, without padding). Never derived from the id, a MAC or a key. */
export function newLabelSecret(): string {
  const bits = BigInt(`0x${randomBytes(SECRET_BYTES).toString("hex")}`) << 2n;
  return Array.from({ length: 26 }, (_, digit) => BASE32[Number((bits >> BigInt(5 * (25 - digit))) & 31n)]).join("");
}

/** What is kept of a label's secret or payload: 128 random bits need no slow hash. */
export function sha256Hex(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}

/** `sensor-1`, or `sensor-1:SECRET`: no id has a colon. Throws `BAD_LABEL`. */
export function idPayload(id: string, secret?: string): string {
  if (secret === undefined) return id;
  return `${id}:${checkSecret(secret)}`;
}

/** @throws HawserError `BAD_LABEL` */
export function checkSecret(secret: string): string {
  if (SECRET_FORM.test(secret)) return secret;
  throw badLabel("a label's secret has 26 characters of A-Z and 2-7 (128 bits)", "Let Hawser draw one.");
}

export interface ReadLabel {
  readonly id: string;
  readonly secret?: string;
}

/** What a scanner read, if it names a device: one of ours, a GS1 Digital Link, or an ESP payload. */
export function readLabel(text: string): ReadLabel | undefined {
  const own = /^([A-Za-z0-9._-]{1,64})(?::([A-Z2-7]{26}))?$/.exec(text.trim());
  if (own?.[1] !== undefined) return { id: own[1], ...(own[2] !== undefined && { secret: own[2] }) };
  const serial = /^https?:\/\/[^/]+\/(?:[^?#]*\/)?01\/\d{8,14}\/(?:10\/[^/?#]+\/)?21\/([^/?#]+)/.exec(text.trim())?.[1];
  try {
    if (serial !== undefined) return { id: decodeURIComponent(serial) };
    const { name, pop } = JSON.parse(text) as { name?: unknown; pop?: unknown };
    if (typeof name === "string") return { id: name, ...(typeof pop === "string" && SECRET_FORM.test(pop) && { secret: pop }) };
  } catch {
    // Neither of them.
  }
  return undefined;
}

export interface DigitalLinkRequest {
  /** Host that resolves the link. */
  readonly domain?: string;
  /** GTIN-8, -12, -13 or -14, with its check digit. */
  readonly gtin: string;
  /** AI 21: at most 20 characters of GS1's set 82. */
  readonly serial: string;
  /** AI 10, likewise. */
  readonly lot?: string;
}

/** GS1's character set 82 (General Specifications, figure 7.11-1). */
const SET_82 = /^[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]{1,20}$/;

/**
 * A GS1 Digital Link URI: `https://id.gs1.org/01/09521234543213/21/12345`. It holds nothing secret, so that shop, phone and packer may read
 * it.
 * @throws HawserError `BAD_LABEL`
 */
export function gs1DigitalLink({ domain = "id.gs1.org", gtin, serial, lot }: DigitalLinkRequest): string {
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(domain))
    throw badLabel(`invalid domain ${JSON.stringify(domain)}`, "Give a host name such as id.example.com.");
  if (![8, 12, 13, 14].includes(gtin.length) || !/^\d+$/.test(gtin))
    throw badLabel(`invalid GTIN ${JSON.stringify(gtin)}`, "Give 8, 12, 13 or 14 digits.");
  const digit = gtinCheckDigit(gtin.slice(0, -1));
  if (gtin.at(-1) !== digit)
    throw badLabel(`the GTIN ${gtin} ends with the wrong check digit`, `With these digits before it, ${digit} would be right.`);
  const segment = (ai: string, text: string, what: string): string => {
    if (!SET_82.test(text))
      throw badLabel(
        `the ${what} ${JSON.stringify(text)} has more than 20 characters, or some that GS1 does not allow`,
        "Give it a shorter number for GS1.",
      );
    return `/${ai}/${encodeURIComponent(text)}`;
  };
  return `https://${domain}/01/${gtin.padStart(14, "0")}${lot === undefined ? "" : segment("10", lot, "lot")}${segment("21", serial, "serial number")}`;
}

function gtinCheckDigit(digits: string): string {
  const sum = [...digits].reverse().reduce((total, digit, index) => total + Number(digit) * (index % 2 === 0 ? 3 : 1), 0);
  return String((10 - (sum % 10)) % 10);
}

export interface EspProvisioningRequest {
  /** Of the device's BLE service or access point. */
  readonly name: string;
  /** Proof of possession: a label secret. */
  readonly pop: string;
  readonly transport: "ble" | "softap";
  readonly username?: string;
}

/** The QR payload of Espressif's provisioning apps. Throws `BAD_LABEL`. */
export function espProvisioning({ name, pop, transport, username }: EspProvisioningRequest): string {
  if (!/^[\x20-\x7e]{1,32}$/.test(name)) throw badLabel(`invalid service name ${JSON.stringify(name)}`, "Use 1 to 32 ASCII characters.");
  return JSON.stringify({ ver: "v1", name, ...(username !== undefined && { username }), pop: checkSecret(pop), transport });
}

export function badLabel(problem: string, next: string): HawserError {
  return new HawserError("BAD_LABEL", problem, next);
}
