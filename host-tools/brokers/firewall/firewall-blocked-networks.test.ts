import { expect, test } from "vitest";
import { auditLine, FIRST_HASH } from "../../ca-directory/audit-trail.js";
import { BLOCKED, blocksNow, overlaps, parseNetwork, UNBLOCKED } from "./firewall-blocked-networks.js";

test.each([
  ["203.0.113.7", "203.0.113.7/32"],
  ["203.0.113.77/24", "203.0.113.0/24"],
  ["255.255.255.255/31", "255.255.255.254/31"],
  ["2001:db8::/48", "2001:db8:0:0:0:0:0:0/48"],
  ["2001:DB8:0:0:1::7", "2001:db8:0:0:1:0:0:7/128"],
  ["2001:db8::ffff:7/112", "2001:db8:0:0:0:0:ffff:0/112"],
])("%s is %s", (text, network) => {
  expect(parseNetwork(text).text).toBe(network);
  expect(parseNetwork(network).text).toBe(network);
});

test.each([
  ["", /no IPv4 or IPv6 network/],
  ["203.0.113.0/33", /no IPv4 or IPv6 network/],
  ["203.0.113.0/24/24", /no IPv4 or IPv6 network/],
  ["203.0.113.0/ 24", /no IPv4 or IPv6 network/],
  ["203.0.113", /no IPv4 or IPv6 network/],
  ["::ffff:203.0.113.7", /no IPv4 or IPv6 network/],
  ["fe80::1%eth0", /no IPv4 or IPv6 network/],
  ["1.2.3.4, 5.6.7.8", /no IPv4 or IPv6 network/],
  ["0.0.0.0/0", /wider than \/8/],
  ["2000::/3", /wider than \/19/],
  ["127.0.0.1", /this machine/],
  ["::1", /this machine/],
])("%j is refused", (text, message) => {
  expect(() => parseNetwork(text)).toThrow(
    expect.objectContaining({ code: "BAD_NETWORK", message: expect.stringMatching(message) as string }),
  );
});

test.each([
  ["203.0.113.0/24", "203.0.113.7", true],
  ["203.0.113.7", "203.0.113.0/24", true],
  ["203.0.113.0/25", "203.0.113.128/25", false],
  ["2001:db8::/32", "2001:db8:1::/48", true],
  ["2001:db8::/32", "203.0.113.0/24", false],
])("%s and %s overlap: %s", (one, other, expected) => {
  expect(overlaps(parseNetwork(one), parseNetwork(other))).toBe(expected);
});

test("what is blocked follows from the trail, and ends when its time is over", () => {
  const line = (event: string, fields: Record<string, string>): string => auditLine(FIRST_HASH, 1, new Date(0), { event, ...fields });
  const trail = [
    line(BLOCKED, { network: "203.0.113.0/24", reason: "flood", until: new Date(5000).toISOString() }),
    line(BLOCKED, { network: "198.51.100.7/32", reason: "scan" }),
    line(BLOCKED, { network: "192.0.2.0/24", reason: "slip" }),
    line(UNBLOCKED, { network: "192.0.2.0/24" }),
    line("enrolled", { name: "network-blocked" }),
  ].join("\n");
  const at = (nowMs: number): string[] => blocksNow(trail, nowMs).map(({ network, reason }) => `${network.text} ${reason}`);
  expect(at(4999)).toEqual(["203.0.113.0/24 flood", "198.51.100.7/32 scan"]);
  expect(at(5000)).toEqual(["198.51.100.7/32 scan"]);
});
