/** SNTP packets (RFC 5905 section 7.3, client mode of RFC 4330): bytes to values and back, and which replies are worth believing. */

export const SNTP_PORT = 123;
const PACKET_SIZE = 48;
export const NONCE_SIZE = 8;

/** Leap 0, version 4, mode 3 (client). */
const CLIENT_HEADER = 0x23;
const SERVER_MODE = 4;
const LEAP_UNSYNCHRONISED = 3;
const HIGHEST_STRATUM = 15;
/** Seconds from 1900 to 1970. */
const UNIX_EPOCH = 2_208_988_800;
const ERA_MS = 2 ** 32 * 1_000;

/** Half the delay plus the dispersion to the reference clock (RFC 5905: MAXDIST), and what a server may sit on a request. */
const MOST_UNCERTAIN_MS = 1_500;
const SLOWEST_SERVER_MS = 1_000;
const SLOWEST_ROUND_TRIP_MS = 2_000;
/** Crystals drift 40 ppm and build machines run a little fast: so much below the floor is no lie. */
const FLOOR_TOLERANCE_MS = 600_000;
/**
 * No device waits in a box and then serves for longer. Short enough that a stopped clock of 1970, read as of NTP's next era (2106), is not
 * believed.
 */
const FARTHEST_AHEAD_MS = 60 * 365.25 * 86_400_000;

/** A request says nothing about this device: the transmit timestamp, which comes back as originate, is random. */
export function encodeRequest(nonce: Uint8Array): Uint8Array {
  const packet = new Uint8Array(PACKET_SIZE);
  packet[0] = CLIENT_HEADER;
  packet.set(nonce.subarray(0, NONCE_SIZE), 40);
  return packet;
}

export interface Exchange {
  nonce: Uint8Array;
  /** Monotonic, when the request left and the reply came. */
  sentAtMs: number;
  receivedAtMs: number;
  /** A time known to have passed, milliseconds since the Unix epoch. */
  floorMs: number;
}

export type Verdict =
  /** Wall time when the monotonic clock was 0. */
  | { kind: "time"; wallStartMs: number }
  /** Not the answer to this request: a stray, or a guess by someone off the path. */
  | { kind: "stray" }
  /** The server asks to be left alone: `RATE`, `DENY`, `RSTR` and others (RFC 5905 section 7.4). */
  | { kind: "kiss"; code: string }
  | { kind: "refused"; reason: "unsynchronised" | "uncertain" | "too-slow" | "implausible" };

export function judgeReply(packet: Uint8Array, exchange: Exchange): Verdict {
  if (packet.length < PACKET_SIZE) return { kind: "stray" };
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const header = view.getUint8(0);
  const version = (header >> 3) & 7;
  if ((header & 7) !== SERVER_MODE || version < 3 || version > 4 || !isAnswerTo(packet, exchange.nonce)) return { kind: "stray" };
  const stratum = view.getUint8(1);
  if (stratum === 0) return { kind: "kiss", code: kissCode(packet) };
  if (header >> 6 === LEAP_UNSYNCHRONISED || stratum > HIGHEST_STRATUM) return { kind: "refused", reason: "unsynchronised" };
  return judgeTimes(view, exchange);
}

function judgeTimes(view: DataView, exchange: Exchange): Verdict {
  const receivedMs = timestampMs(view, 32);
  const transmittedMs = timestampMs(view, 40);
  if (receivedMs === 0 || transmittedMs === 0) return { kind: "refused", reason: "unsynchronised" };
  const heldMs = transmittedMs - receivedMs;
  const roundTripMs = exchange.receivedAtMs - exchange.sentAtMs;
  if (heldMs < 0 || heldMs > SLOWEST_SERVER_MS || roundTripMs > SLOWEST_ROUND_TRIP_MS) return { kind: "refused", reason: "too-slow" };
  if (shortMs(view, 4) / 2 + shortMs(view, 8) > MOST_UNCERTAIN_MS) return { kind: "refused", reason: "uncertain" };
  const atReceiptMs = inEraAfter(transmittedMs + Math.max(0, roundTripMs - heldMs) / 2, exchange.floorMs - FLOOR_TOLERANCE_MS);
  if (atReceiptMs > exchange.floorMs + FARTHEST_AHEAD_MS) return { kind: "refused", reason: "implausible" };
  return { kind: "time", wallStartMs: atReceiptMs - exchange.receivedAtMs };
}

function isAnswerTo(packet: Uint8Array, nonce: Uint8Array): boolean {
  let difference = 0;
  for (let index = 0; index < NONCE_SIZE; index++) difference |= (packet[24 + index] ?? 0) ^ (nonce[index] ?? 0);
  return difference === 0;
}

function kissCode(packet: Uint8Array): string {
  return String.fromCharCode(...packet.subarray(12, 16)).replace(/[^A-Z]/g, "?");
}

/** A 64-bit timestamp as milliseconds since its era began. */
function timestampMs(view: DataView, offset: number): number {
  return view.getUint32(offset) * 1_000 + (view.getUint32(offset + 4) * 1_000) / 2 ** 32;
}

/** A 32-bit 16.16 number of seconds. */
function shortMs(view: DataView, offset: number): number {
  return (view.getUint32(offset) * 1_000) / 65_536;
}

/**
 * Unix milliseconds of an NTP time. Eras are 136 years and the second begins in 2036: a time before `earliestMs` can only be one of the
 * next.
 */
function inEraAfter(ntpMs: number, earliestMs: number): number {
  const inFirstEraMs = ntpMs - UNIX_EPOCH * 1_000;
  return inFirstEraMs >= earliestMs ? inFirstEraMs : inFirstEraMs + ERA_MS;
}
