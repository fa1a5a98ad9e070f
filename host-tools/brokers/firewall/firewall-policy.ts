/** A policy's numbers as nftables rules and ufw lines: connections, their rate and bytes by source (/32 and /64), and a cap on all. */
import { byteLimit } from "../mosquitto/mosquitto-limits.js";
import type { Compiled, CompileInput } from "../../policy/policy-target.js";

/** Of the connections per second of one source, so many may come at once: a gateway whose devices return together. */
const BURST_FACTOR = 2;

export function compileFirewall({ policy }: CompileInput): Compiled {
  const ports = [...new Set([...policy.listeners.values()].map(({ port }) => port))].sort((a, b) => a - b);
  const { connectionsPerSource, connectionsPerSecondPerSource, connectionsPerSecond, connections, bytesPerSecondPerSource } = policy.limits;
  const asked = [connectionsPerSource, connectionsPerSecondPerSource, connectionsPerSecond, connections, bytesPerSecondPerSource].some(
    (limit) => limit !== undefined,
  );
  const files = new Map([
    ["hawser.nft", nftText(policy.name, ports, policy.limits)],
    ["ufw.sh", ufwText(ports)],
  ]);
  const risks = [
    ...(asked ? [] : ["The policy sets no limits on connections and bytes of a source: the rules only count"]),
    "Many devices behind one address (a gateway, a mobile network) share its limits",
    "ufw's own limit is 6 connections in 30 seconds for each address, too tight for a gateway: the lines allow, and hawser.nft limits",
  ];
  return { files, risks };
}

interface Numbers {
  readonly connections?: number;
  readonly connectionsPerSource?: number;
  readonly connectionsPerSecond?: number;
  readonly connectionsPerSecondPerSource?: number;
  readonly bytesPerSecondPerSource?: number;
}

/** Reject what a device should learn at once (too many held), drop what should slow down (too fast). */
function nftText(
  name: string,
  ports: readonly number[],
  { connections, connectionsPerSource, connectionsPerSecond, connectionsPerSecondPerSource, bytesPerSecondPerSource }: Numbers,
): string {
  const lines = [
    `# Written by hawser from the policy ${name}; changes made here are lost. Load it with: nft -f hawser.nft`,
    "table inet hawser",
    "delete table inet hawser",
    "table inet hawser {",
    "  set held4 { type ipv4_addr; flags dynamic; size 65536; }",
    "  set held6 { type ipv6_addr; flags dynamic; size 65536; }",
    "  set rate4 { type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }",
    "  set rate6 { type ipv6_addr; flags dynamic, timeout; timeout 1m; size 65536; }",
    ...(bytesPerSecondPerSource === undefined ? [] : BYTE_SETS),
    "  chain input {",
    "    type filter hook input priority filter; policy accept;",
    // TCP sends again later what is dropped here: a source is slowed down, and keeps its connections.
    ...(bytesPerSecondPerSource === undefined ? [] : byteLines(ports, byteLimit(bytesPerSecondPerSource))),
    `    tcp dport { ${ports.join(", ")} } tcp flags & (syn | ack) == syn ct state new jump brokers`,
    "  }",
    "  chain brokers {",
  ];
  if (connectionsPerSecondPerSource !== undefined) {
    const rate = rateText(connectionsPerSecondPerSource);
    lines.push(
      `    update @rate4 { ip saddr limit rate over ${rate} } counter drop comment "too fast"`,
      `    update @rate6 { ip6 saddr and ffff:ffff:ffff:ffff:: limit rate over ${rate} } counter drop comment "too fast"`,
    );
  }
  if (connectionsPerSource !== undefined) {
    lines.push(
      `    add @held4 { ip saddr ct count over ${connectionsPerSource} } counter reject with tcp reset comment "too many"`,
      `    add @held6 { ip6 saddr and ffff:ffff:ffff:ffff:: ct count over ${connectionsPerSource} } counter reject with tcp reset comment "too many"`,
    );
  }
  if (connections !== undefined) lines.push(`    ct count over ${connections} counter reject with tcp reset comment "broker full"`);
  if (connectionsPerSecond !== undefined)
    lines.push(`    limit rate over ${rateText(connectionsPerSecond)} counter drop comment "all sources together"`);
  lines.push("    counter accept", "  }", "}", "");
  return lines.join("\n");
}

const BYTE_SETS = [4, 6].map(
  (family) => `  set bytes${family} { type ipv${family}_addr; flags dynamic, timeout; timeout 1m; size 65536; }`,
);

function byteLines(ports: readonly number[], limit: string): string[] {
  const of = (set: string, source: string): string =>
    `    tcp dport { ${ports.join(", ")} } ct state established update @${set} { ${source} ${limit} } counter drop comment "too much"`;
  return [of("bytes4", "ip saddr"), of("bytes6", "ip6 saddr and ffff:ffff:ffff:ffff::")];
}

/** nftables counts whole packets: a slower rate is one of minutes. */
function rateText(perSecond: number): string {
  const [count, unit] = perSecond >= 1 ? [Math.round(perSecond), "second"] : [Math.max(1, Math.round(perSecond * 60)), "minute"];
  return `${count}/${unit} burst ${Math.max(1, Math.ceil(count * BURST_FACTOR))} packets`;
}

function ufwText(ports: readonly number[]): string {
  return [
    "#!/bin/sh",
    "# Written by hawser: opens the brokers' ports in ufw. The limits are in hawser.nft.",
    "set -e",
    ...ports.map((port) => `ufw allow ${port}/tcp comment hawser`),
    "",
  ].join("\n");
}
