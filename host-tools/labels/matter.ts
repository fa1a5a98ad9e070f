/** Matter's onboarding payload as QR code and as digits to type. Source: Matter Core Specification 1.3, section 5.1. */
import { badLabel } from "./payloads.js";

export interface MatterRequest {
  readonly vendorId: number;
  readonly productId: number;
  /** 12 bits. */
  readonly discriminator: number;
  /** 1 to 99999998. */
  readonly passcode: number;
  /** 0: the device pairs once it is switched on; 1: after a press; 2: as the maker says. */
  readonly flow?: number;
  /** Bits: 1 SoftAP, 2 BLE, 4 on the network. */
  readonly discovery?: number;
}

export interface MatterCodes {
  /** `MT:...` */
  readonly qr: string;
  /** 11 digits, or 21 when the flow is not 0. */
  readonly manual: string;
}

const BASE38 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.";
/** Characters for 1, 2 and 3 bytes. */
const DIGITS_OF = [0, 2, 4, 5];
/** Section 5.1.7.1: too easy to guess. */
const FORBIDDEN = new Set([
  0, 11111111, 22222222, 33333333, 44444444, 55555555, 66666666, 77777777, 88888888, 99999999, 12345678, 87654321,
]);

/** @throws HawserError `BAD_LABEL` */
export function matterCodes({ vendorId, productId, discriminator, passcode, flow = 0, discovery = 2 }: MatterRequest): MatterCodes {
  within(vendorId, 1, 0xffff, "vendor id");
  within(productId, 1, 0xffff, "product id");
  within(discriminator, 0, 0xfff, "discriminator");
  within(passcode, 1, 99999998, "passcode");
  within(flow, 0, 2, "flow");
  within(discovery, 0, 255, "discovery");
  if (FORBIDDEN.has(passcode))
    throw badLabel(`the passcode ${String(passcode).padStart(8, "0")} is one that Matter forbids`, "Draw it at random.");
  let bits = 0n;
  let at = 0n;
  for (const [value, width] of [
    [0, 3],
    [vendorId, 16],
    [productId, 16],
    [flow, 2],
    [discovery, 8],
    [discriminator, 12],
    [passcode, 27],
  ] as const) {
    bits |= BigInt(value) << at;
    at += BigInt(width);
  }
  return { qr: `MT:${base38(bits)}`, manual: manualCode(vendorId, productId, discriminator, passcode, flow) };
}

/** 88 bits, little-endian, three bytes to five characters and the last two to four. */
function base38(bits: bigint): string {
  let text = "";
  for (let at = 0; at < 11; at += 3) {
    const bytes = Math.min(3, 11 - at);
    let value = Number((bits >> BigInt(8 * at)) & ((1n << BigInt(8 * bytes)) - 1n));
    for (let digit = 0; digit < (DIGITS_OF[bytes] ?? 0); digit++) {
      text += BASE38[value % 38];
      value = Math.floor(value / 38);
    }
  }
  return text;
}

function manualCode(vendorId: number, productId: number, discriminator: number, passcode: number, flow: number): string {
  const short = discriminator >> 8;
  const isLong = flow !== 0;
  const digits = (value: number, width: number): string => String(value).padStart(width, "0");
  const first = (isLong ? 4 : 0) | (short >> 2);
  const code =
    digits(first, 1) +
    digits(((short & 3) << 14) | (passcode & 0x3fff), 5) +
    digits(passcode >> 14, 4) +
    (isLong ? digits(vendorId, 5) + digits(productId, 5) : "");
  return code + verhoeff(code);
}

const DIHEDRAL = [
  "0123456789",
  "1234067895",
  "2340178956",
  "3401289567",
  "4012395678",
  "5987604321",
  "6598710432",
  "7659821043",
  "8765932104",
  "9876543210",
];
const PERMUTATION = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"];
const INVERSE = "0432156789";

/** The check digit that finds every single wrong digit and every swap of neighbours. */
function verhoeff(digits: string): string {
  let sum = 0;
  [...digits].reverse().forEach((digit, index) => {
    const moved = PERMUTATION[(index + 1) % 8]?.[Number(digit)] ?? "0";
    sum = Number(DIHEDRAL[sum]?.[Number(moved)] ?? "0");
  });
  return INVERSE[sum] ?? "0";
}

function within(value: number, least: number, most: number, what: string): void {
  if (!Number.isInteger(value) || value < least || value > most) throw badLabel(`invalid ${what} ${value}`, `Use ${least} to ${most}.`);
}
