/** When a rule holds: listener, source network, wall time, and the asking client's attributes. */
import { isIP } from "node:net";
import { HawserError } from "../../sdk/errors.js";
import type { Condition, Network, TimeWindow } from "./policy-model.js";

export interface Circumstances {
  readonly listener: string;
  /** IP address of the peer; unknown when the broker does not tell, which fails a rule that asks for a network. */
  readonly address?: string;
  /** Wall time, milliseconds since the epoch. */
  readonly atMs: number;
  readonly attributes: Readonly<Record<string, string>>;
}

/**
 * The first part that does not hold, in words; undefined when all do.
 * @param whenUnknown whether a rule that asks for a network holds for a client whose address nobody knows: a denial does
 */
export function unmetPart(
  condition: Condition | undefined,
  circumstances: Circumstances,
  whenUnknown: "holds" | "fails" = "fails",
): string | undefined {
  if (condition === undefined) return undefined;
  const { listener, address, atMs, attributes } = circumstances;
  const { listeners, networks, times, attributes: wanted } = condition;
  if (listeners !== undefined && !listeners.includes(listener)) return `the listener is ${listener}, not ${listeners.join(" or ")}`;
  const isUnknown = address === undefined && whenUnknown === "holds";
  if (networks !== undefined && !isUnknown && !networks.some((network) => isInNetwork(network, address)))
    return `the address ${address ?? "(unknown)"} is outside ${networks.map(({ text }) => text).join(", ")}`;
  if (times !== undefined && !times.some((window) => isWithin(window, atMs))) return "it is outside the times of access";
  for (const [name, values] of wanted ?? []) {
    if (!values.includes(ownAttribute(attributes, name) ?? "")) return `its ${name} is not ${values.join(" or ")}`;
  }
  return undefined;
}

/** An attribute that the registry gives; never one that an object has by nature. */
export function ownAttribute(attributes: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** @throws HawserError `POLICY_INVALID` */
export function parseNetwork(text: string): Network {
  const [address = "", prefixText, ...rest] = text.split("/");
  const version = isIP(address);
  const width = version === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? width : Number(prefixText);
  const isPrefix = prefixText === undefined || (/^\d{1,3}$/.test(prefixText) && prefix <= width);
  if ((version !== 4 && version !== 6) || !isPrefix || rest.length > 0) {
    throw new HawserError(
      "POLICY_INVALID",
      `invalid IP network ${JSON.stringify(text)}`,
      "Use ADDRESS/PREFIX, for example 10.0.0.0/8 or fd00::/8.",
    );
  }
  const all = bitsOf(address, version);
  const bits = masked(all, width, prefix);
  if (bits !== all)
    throw new HawserError("POLICY_INVALID", `the network ${text} has bits set beyond its prefix`, "Use the network's first address.");
  return { text, version, bits, prefix };
}

export function isInNetwork(network: Network, address: string | undefined): boolean {
  if (address === undefined) return false;
  // An IPv4 client of a dual-stack socket.
  const plain = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "").replace(/%.*$/, "");
  const version = isIP(plain);
  if (version !== network.version) return false;
  return masked(bitsOf(plain, network.version), network.version === 4 ? 32 : 128, network.prefix) === network.bits;
}

function masked(bits: bigint, width: number, prefix: number): bigint {
  const rest = BigInt(width - prefix);
  return (bits >> rest) << rest;
}

function bitsOf(address: string, version: 4 | 6): bigint {
  if (version === 4) return address.split(".").reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
  // A dotted tail stands for the last two groups.
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const text = dotted === null ? address : `${dotted[1]}${hex16(dotted[2], dotted[3])}:${hex16(dotted[4], dotted[5])}`;
  const [head = "", tail] = text.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined ? front : [...front, ...new Array<string>(8 - front.length - back.length).fill("0"), ...back];
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n);
}

function hex16(high = "0", low = "0"): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}

interface RawWindow {
  readonly days?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly zone?: string;
  readonly after?: string;
  readonly before?: string;
}

/** @throws HawserError `POLICY_INVALID` */
export function parseWindow(raw: RawWindow): TimeWindow {
  const zone = raw.zone ?? "UTC";
  try {
    clockIn(zone);
  } catch {
    throw new HawserError("POLICY_INVALID", `unknown time zone ${JSON.stringify(zone)}`, "Use an IANA name, for example Europe/Berlin.");
  }
  if ((raw.from === undefined) !== (raw.to === undefined))
    throw new HawserError("POLICY_INVALID", "a time of access needs both from and to", "Give both.");
  if (raw.from !== undefined && raw.from === raw.to)
    throw new HawserError("POLICY_INVALID", `the time of access from ${raw.from} to ${raw.to} is empty`, "Omit both for the full day.");
  return {
    zone,
    ...(raw.days === undefined ? {} : { days: new Set(raw.days) }),
    ...(raw.from === undefined || raw.to === undefined ? {} : { fromMinute: minuteOf(raw.from), toMinute: minuteOf(raw.to) }),
    ...(raw.after === undefined ? {} : { afterMs: instant(raw.after) }),
    ...(raw.before === undefined ? {} : { beforeMs: instant(raw.before) }),
  };
}

function minuteOf(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
}

function instant(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new HawserError("POLICY_INVALID", `invalid date ${JSON.stringify(text)}`, "Use 2027-01-31 or 2027-01-31T08:00Z.");
  return ms;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function clockIn(zone: string): Intl.DateTimeFormat {
  const known =
    clocks.get(zone) ??
    new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  clocks.set(zone, known);
  return known;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** A window past midnight belongs to the day it begins on. */
export function isWithin(window: TimeWindow, atMs: number): boolean {
  const { days, fromMinute, toMinute, zone, afterMs, beforeMs } = window;
  if (afterMs !== undefined && atMs < afterMs) return false;
  if (beforeMs !== undefined && atMs >= beforeMs) return false;
  if (days === undefined && fromMinute === undefined) return true;
  const parts = new Map(
    clockIn(zone)
      .formatToParts(atMs)
      .map(({ type, value }) => [type, value]),
  );
  const today = (parts.get("weekday") ?? "").toLowerCase().slice(0, 3);
  const minute = Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
  const isDay = (day: string): boolean => days === undefined || days.has(day);
  if (fromMinute === undefined || toMinute === undefined) return isDay(today);
  if (fromMinute < toMinute) return isDay(today) && minute >= fromMinute && minute < toMinute;
  const yesterday = DAYS[(DAYS.indexOf(today) + 6) % 7] ?? "";
  return (isDay(today) && minute >= fromMinute) || (isDay(yesterday) && minute < toMinute);
}
