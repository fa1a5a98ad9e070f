/** The values of flags, each checked where it is read, so that a bad one is refused before anything is opened. */
import { HawserError } from "../../sdk/errors.js";
import type { Endpoint } from "../../sdk/platform.js";
import { KEY_TYPES } from "../pki/signer.js";
import type { KeyType } from "../pki/signer.js";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** setTimeout's own limit: longer waits would fire at once. */
const MAX_DURATION_MS = 2 ** 31 - 1;

/**
 * Milliseconds of `500ms`, `1s`, `2.5m`, `1h`, `3d` or `0`.
 * @throws HawserError `BAD_DURATION`
 */
export function parseDurationMs(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text === "0" ? "0s" : text);
  const value = Number(match?.[1] ?? Number.NaN) * (UNIT_MS[match?.[2] ?? ""] ?? Number.NaN);
  if (!(value <= MAX_DURATION_MS)) {
    throw new HawserError(
      "BAD_DURATION",
      `invalid duration ${JSON.stringify(text)}`,
      "Use a number and a unit, up to 24d: 500ms, 1s, 5m, 2h, 3d.",
    );
  }
  return Math.round(value);
}

/** Longer than any certificate should live; X.509 itself ends in 9999. */
const MAX_LIFETIME_MS = 100 * 365.25 * 86_400_000;

/**
 * Milliseconds of the lifetime of a certificate: `20y`, `825d`, `12h`. A year has 365.25 days.
 * @throws HawserError `BAD_DURATION`
 */
export function parseLifetimeMs(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(s|m|h|d|y)$/.exec(text);
  const unitMs = match?.[2] === "y" ? 365.25 * 86_400_000 : UNIT_MS[match?.[2] ?? ""];
  const value = Math.round(Number(match?.[1] ?? Number.NaN) * (unitMs ?? Number.NaN));
  if (value >= 1000 && value <= MAX_LIFETIME_MS) return value;
  throw new HawserError(
    "BAD_DURATION",
    `invalid lifetime ${JSON.stringify(text)}`,
    "Use a number and a unit, from 1s to 100y: 12h, 365d, 20y.",
  );
}

/** The curve of a CA's key. Throws `BAD_KEY`. */
export function parseKeyType(text: string): KeyType {
  const type = KEY_TYPES.find((known) => known.toLowerCase() === text.toLowerCase());
  if (type === undefined)
    throw new HawserError("BAD_KEY", `${JSON.stringify(text)} is not a key type of a CA`, `Use ${KEY_TYPES.join(" or ")}.`);
  return type;
}

/** For flags where no time at all makes no sense. Throws `BAD_DURATION`. */
export function parsePositiveDurationMs(text: string): number {
  const value = parseDurationMs(text);
  if (value < 1) throw new HawserError("BAD_DURATION", `duration ${JSON.stringify(text)} is too short`, "Use at least 1ms, e.g. 1s.");
  return value;
}

/**
 * A port to listen on, 0..65535; 0 lets the system choose.
 * @throws HawserError `BAD_PORT`
 */
export function parsePort(text: string): number {
  return portFrom(0, text, "Use a number from 1 to 65535, or 0 to let the system choose.");
}

/** A port that others will be told, 1..65535. Throws `BAD_PORT`. */
export function parseFixedPort(text: string): number {
  return portFrom(1, text, "Use a number from 1 to 65535.");
}

function portFrom(least: number, text: string, next: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= least && port <= 65535)) throw new HawserError("BAD_PORT", `invalid port ${JSON.stringify(text)}`, next);
  return port;
}

/**
 * A whole number from 1 to a million.
 * @throws HawserError `BAD_NUMBER`
 */
export function parseCount(text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= 1 && count <= 1_000_000))
    throw new HawserError("BAD_NUMBER", `invalid count ${JSON.stringify(text)}`, "Use a whole number from 1 to 1000000.");
  return count;
}

/**
 * Bits a second; which ones a port has, only the port knows.
 * @throws HawserError `BAD_BAUD`
 */
export function parseBaud(text: string): number {
  if (!/^[1-9]\d{0,7}$/.test(text))
    throw new HawserError("BAD_BAUD", `invalid baud rate ${JSON.stringify(text)}`, "Use the device's rate, e.g. 115200.");
  return Number(text);
}

/** Collects a repeatable flag. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/**
 * The endpoint of `mqtts://HOST:PORT`; an IPv6 host stands in brackets.
 * @throws HawserError `BAD_URL`
 */
export function parseBrokerUrl(text: string): Endpoint {
  const next = "Use mqtts://HOST:PORT, e.g. mqtts://localhost:8883.";
  const shown = JSON.stringify(withoutUserInfo(text));
  if (/^(mqtt|tcp|ws):\/\//i.test(text)) {
    throw new HawserError("BAD_URL", `${shown} is a plaintext URL, but devices always use TLS`, next);
  }
  const match = /^mqtts:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})\/?$/.exec(text);
  const host = match?.[1]?.replace(/^\[|\]$/g, "");
  const port = Number(match?.[2]);
  if (host === undefined || host.length > 253 || !(port >= 1 && port <= 65535)) {
    throw new HawserError("BAD_URL", `invalid broker URL ${shown}`, next);
  }
  return { host, port };
}

/**
 * The endpoint of `HOST:PORT`; an IPv6 host stands in brackets.
 * @throws HawserError `BAD_URL`
 */
export function parseHostAndPort(text: string): Endpoint {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})$/.exec(text);
  const host = match?.[1]?.replace(/^\[|\]$/g, "");
  const port = Number(match?.[2]);
  if (host === undefined || host.length > 253 || !(port >= 1 && port <= 65535))
    throw new HawserError("BAD_URL", `invalid address ${JSON.stringify(text)}`, "Use HOST:PORT, e.g. ca.example.com:8899.");
  return { host, port };
}

/** `mqtts://HOST:PORT` of an endpoint. */
export function brokerUrl(endpoint: Endpoint): string {
  return `mqtts://${hostAndPort(endpoint)}`;
}

/** `HOST:PORT`, an IPv6 host in brackets. */
export function hostAndPort({ host, port }: Pick<Endpoint, "host" | "port">): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** A URL may carry a password by mistake: it is not repeated on the screen. */
function withoutUserInfo(text: string): string {
  return text.replace(/\/\/[^/]*@/, "//***@");
}
