/**
 * Connection limits as nftables rules. mosquitto's own do not hold: 2.0.11 (Debian 12) counts every disconnect twice, so that after a few
 * of them `max_connections` refuses nobody (mended in 2.0.12), and no version limits what one address may hold, how fast it may come or how
 * much it may send: a client that pours messages keeps all others waiting.
 */

/** Held at once by one address (IPv6: by one /64), before anybody signed in counts too: many devices may share the address of a gateway. */
const HELD_PER_ADDRESS = 50;
/** New connections of one address. */
const PER_ADDRESS_PER_SECOND = 20;
const PER_ADDRESS_BURST = 100;
/** Sent by one address, with the bytes of TCP and TLS, unless the policy has a number: a few thousand small messages. */
const BYTES_PER_ADDRESS_PER_SECOND = 128 * 1024;
/** New connections of everybody: two cores do about 150 full mTLS handshakes a second. */
const PER_SECOND = 200;

export interface LimitedPort {
  readonly name: string;
  readonly port: number;
  /** Held at once by everybody. */
  readonly held: number;
}

/**
 * A file for `nft -f`. Loading it again replaces the table; `nft delete table inet hawser_PORT` removes it.
 * @param bytesPerSecond of one address: the policy's `bytesPerSecondPerSource`
 */
export function nftablesLimits(ports: readonly LimitedPort[], bytesPerSecond = BYTES_PER_ADDRESS_PER_SECOND): string {
  const table = `hawser_${ports[0]?.port ?? 0}`;
  return `#!/usr/sbin/nft -f
# Written by hawser; changes made here are lost. Check with: nft -c -f FILE; load with: nft -f FILE; look at the counters with: nft list table inet ${table}
# Too many held connections are reset, so that a device learns of it at once; too many new ones are dropped, which slows them down,
# and so are packets of an address that sends more than ${bytesPerSecond} bytes/second: TCP then sends them later.
add table inet ${table}
delete table inet ${table}
table inet ${table} {
${ports.map(sets).join("")}  chain input {
    type filter hook input priority filter - 1; policy accept;
${ports.map((port) => rules(port, bytesPerSecond)).join("")}  }
}
`;
}

function sets({ name }: LimitedPort): string {
  const of = (kind: string, timeout = "    timeout 1m\n"): string =>
    [4, 6]
      .map((family) => `  set ${name}_${kind}${family} {\n    type ipv${family}_addr\n    flags dynamic\n    size 65535\n${timeout}  }\n`)
      .join("");
  // What is held is forgotten with the connection.
  return of("held", "") + of("rate") + of("bytes");
}

function rules({ name, port, held }: LimitedPort, bytesPerSecond: number): string {
  const fresh = `    tcp dport ${port} ct state new`;
  const network = "ip6 saddr and ffff:ffff:ffff:ffff::";
  const rate = `limit rate over ${PER_ADDRESS_PER_SECOND}/second burst ${PER_ADDRESS_BURST} packets`;
  const bytes = byteLimit(bytesPerSecond);
  return [
    `    tcp dport ${port} ct state established update @${name}_bytes4 { ip saddr ${bytes} } counter drop`,
    `    tcp dport ${port} ct state established update @${name}_bytes6 { ${network} ${bytes} } counter drop`,
    `${fresh} update @${name}_rate4 { ip saddr ${rate} } counter drop`,
    `${fresh} update @${name}_rate6 { ${network} ${rate} } counter drop`,
    `${fresh} limit rate over ${PER_SECOND}/second burst ${PER_SECOND} packets counter drop`,
    `${fresh} add @${name}_held4 { ip saddr ct count over ${HELD_PER_ADDRESS} } counter reject with tcp reset`,
    `${fresh} add @${name}_held6 { ${network} ct count over ${HELD_PER_ADDRESS} } counter reject with tcp reset`,
    `${fresh} ct count over ${held} counter reject with tcp reset`,
    "",
  ].join("\n");
}

/** Two seconds' worth may come at once: a handshake and what a device kept while it was away. */
export function byteLimit(bytesPerSecond: number): string {
  return `limit rate over ${bytesPerSecond} bytes/second burst ${2 * bytesPerSecond} bytes`;
}
