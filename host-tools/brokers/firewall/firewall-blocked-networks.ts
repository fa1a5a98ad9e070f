/**
 * Source networks that reach no broker, as nftables rules: no broker of ours denies by source address, the kernel in front of it does.
 * Which networks are blocked now follows from the CA's audit trail alone.
 */
import { isIP } from "node:net";
import { HawserError } from "../../../sdk/errors.js";
import { parseObject } from "../../ca-directory/registry-entry.js";

export interface Network {
  /** In one spelling: 203.0.113.0/24, 2001:db8:0:0:0:0:0:0/32. */
  readonly text: string;
  readonly version: 4 | 6;
  readonly first: bigint;
  readonly prefix: number;
}

export interface Block {
  readonly network: Network;
  readonly reason: string;
  /** Undefined for good. */
  readonly untilMs: number | undefined;
}

export const BLOCKED = "network-blocked";
export const UNBLOCKED = "network-unblocked";

/** A wider one is a slip, and shuts out a fleet. */
const LEAST_PREFIX = { 4: 8, 6: 19 } as const;
const BITS = { 4: 32, 6: 128 } as const;

/** @throws HawserError `BAD_NETWORK` when the text is not a network, or names one that is too wide or holds this machine */
export function parseNetwork(text: string): Network {
  const [address = "", digits, ...rest] = text.split("/");
  const version = isIP(address);
  const bits = version === 4 || version === 6 ? BITS[version] : 0;
  const prefix = digits === undefined ? bits : /^\d{1,3}$/.test(digits) ? Number(digits) : Number.NaN;
  if ((version !== 4 && version !== 6) || rest.length > 0 || !(prefix <= bits) || (version === 6 && /[.%]/.test(address)))
    throw bad(text, "it is no IPv4 or IPv6 network", "Write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/48.");
  if (prefix < LEAST_PREFIX[version])
    throw bad(text, `it is wider than /${LEAST_PREFIX[version]}`, "Block narrower networks: this one would shut out a fleet.");
  const shift = BigInt(bits - prefix);
  const first = ((version === 4 ? valueOf4(address) : valueOf6(address)) >> shift) << shift;
  const network: Network = { text: `${version === 4 ? textOf4(first) : textOf6(first)}/${prefix}`, version, first, prefix };
  if (overlaps(network, LOOPBACK_4) || overlaps(network, LOOPBACK_6)) throw bad(text, "it is this machine itself", "Name another network.");
  return network;
}

export function overlaps(one: Network, other: Network): boolean {
  if (one.version !== other.version) return false;
  const shift = BigInt(BITS[one.version] - Math.min(one.prefix, other.prefix));
  return one.first >> shift === other.first >> shift;
}

/** @param trail the audit trail, complete */
export function blocksNow(trail: string, nowMs: number): Block[] {
  const blocks = new Map<string, Block>();
  for (const line of trail.split("\n")) {
    if (!line.includes('"event":"network-')) continue;
    const { event, network, reason, until } = parseObject(line) ?? {};
    if (typeof network !== "string") continue;
    if (event === UNBLOCKED) blocks.delete(network);
    if (event !== BLOCKED) continue;
    const untilMs = typeof until === "string" ? Date.parse(until) : undefined;
    blocks.set(network, { network: parseNetwork(network), reason: String(reason), untilMs });
  }
  return [...blocks.values()].filter(({ untilMs }) => untilMs === undefined || untilMs > nowMs);
}

/**
 * A file for `nft -f`: all of it takes effect at once, in place of the one before. Established connections get no packet through either.
 * @param ports of the brokers
 */
export function blocksText(blocks: readonly Block[], ports: readonly number[], nowMs: number): string {
  const set = (version: 4 | 6): string[] => {
    const elements = blocks
      .filter(({ network }) => network.version === version)
      .map(({ network: { text }, untilMs }) =>
        untilMs === undefined ? text : `${text} timeout ${Math.max(1, Math.ceil((untilMs - nowMs) / 1000))}s`,
      );
    return [
      `  set sources${version} {`,
      `    type ipv${version}_addr; flags interval, timeout;`,
      ...(elements.length === 0 ? [] : [`    elements = { ${elements.join(", ")} }`]),
      "  }",
    ];
  };
  const to = `tcp dport { ${[...new Set(ports)].sort((a, b) => a - b).join(", ")} }`;
  return [
    "# Written by hawser from the CA's audit trail; changes made here are lost. Load it with: nft -f FILE",
    "table inet hawser_blocked",
    "delete table inet hawser_blocked",
    "table inet hawser_blocked {",
    ...set(4),
    ...set(6),
    "  chain input {",
    "    type filter hook input priority -10; policy accept;",
    `    ${to} ip saddr @sources4 counter reject with tcp reset`,
    `    ${to} ip6 saddr @sources6 counter reject with tcp reset`,
    "  }",
    "}",
    "",
  ].join("\n");
}

const LOOPBACK_4: Network = { text: "127.0.0.0/8", version: 4, first: 127n << 24n, prefix: 8 };
const LOOPBACK_6: Network = { text: "0:0:0:0:0:0:0:1/128", version: 6, first: 1n, prefix: 128 };

function valueOf4(address: string): bigint {
  return address.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function textOf4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join(".");
}

function valueOf6(address: string): bigint {
  const [head = "", tail] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function textOf6(value: bigint): string {
  return [112n, 96n, 80n, 64n, 48n, 32n, 16n, 0n].map((shift) => ((value >> shift) & 0xffffn).toString(16)).join(":");
}

function bad(text: string, what: string, next: string): HawserError {
  return new HawserError("BAD_NETWORK", `invalid network ${JSON.stringify(text.slice(0, 64))}: ${what}`, next);
}
