import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

/** A listener, and clients of three addresses: who gets in, who is refused. */
const KNOCK = `
import socket, sys
served = socket.socket(socket.AF_INET6); served.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
served.bind(("::", 18883)); served.listen()
for source, target in (("203.0.113.7", "203.0.113.1"), ("203.0.114.7", "203.0.113.1"), ("2001:db8::7", "2001:db8:1::1")):
    client = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET); client.settimeout(2)
    client.bind((source, 0))
    try: client.connect((target, 18883)); print(source, "in")
    except ConnectionRefusedError: print(source, "refused")
`;

const NETWORK = [
  "ip link set lo up",
  "ip addr add 203.0.113.1/32 dev lo",
  "ip addr add 203.0.113.7/32 dev lo",
  "ip addr add 203.0.114.7/32 dev lo",
  "ip -6 addr add 2001:db8::7/128 dev lo",
  "ip -6 addr add 2001:db8:1::1/128 dev lo",
].join(" && ");

test.runIf(process.getuid?.() === 0)(
  "a blocked network reaches no broker, others do, and it is let in again: all on the audit trail",
  async () => {
    const cwd = await directoryWithCa();
    writeFileSync(join(cwd, "knock.py"), KNOCK);
    const cli = `"${process.execPath}" "${CLI}" broker`;
    const target = "--dir ca --port 18883";
    const script = [
      NETWORK,
      "python3 knock.py",
      `${cli} block ${target} --network 203.0.113.0/28 --for 1h --reason flood`,
      `${cli} block ${target} --network 2001:db8::/64 > second`,
      "echo both blocked; python3 knock.py",
      // As after a restart of the machine.
      "nft flush ruleset",
      `${cli} blocks ${target} --apply > third`,
      "echo loaded again; python3 knock.py",
      `${cli} unblock ${target} --network 203.0.113.5/28`,
      "echo let in; python3 knock.py",
    ].join("\n");
    const env = { ...process.env, ...ENV };
    const told = execFileSync("unshare", ["--net", "sh", "-ec", script], { cwd, encoding: "utf8", env });
    expect(
      told
        .replace(/until \S+/, "until T")
        .split("\n")
        .filter((line) => line !== ""),
    ).toEqual([
      ...["203.0.113.7 in", "203.0.114.7 in", "2001:db8::7 in"],
      "1 blocked network, active on this machine.",
      "  203.0.113.0/28  until T  flood",
      "both blocked",
      ...["203.0.113.7 refused", "203.0.114.7 in", "2001:db8::7 refused"],
      "loaded again",
      ...["203.0.113.7 refused", "203.0.114.7 in", "2001:db8::7 refused"],
      "1 blocked network, active on this machine.",
      "  2001:db8:0:0:0:0:0:0/64  for good  unspecified",
      "let in",
      ...["203.0.113.7 in", "203.0.114.7 in", "2001:db8::7 refused"],
    ]);
    const trail = readFileSync(join(cwd, "ca", "audit.jsonl"), "utf8");
    expect(trail.match(/"event":"network-(un)?blocked"/g)).toHaveLength(3);
    expect(trail).toMatch(/"event":"network-blocked","network":"203\.0\.113\.0\/28","reason":"flood","until":/);
    expect((await hawser(["ca", "verify", "--dir", "ca"], { cwd, env: ENV })).code).toBe(0);
  },
);

test("rules for another machine are ones that nft takes", async () => {
  const cwd = await directoryWithCa();
  const config = ["broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "b", "--mtls-port", "8883", "--psk-port", "8884"];
  expect((await hawser(config, { cwd, env: ENV })).code).toBe(0);
  const block = ["broker", "block", "--dir", "ca", "--network", "203.0.113.0/24", "--out", "blocks.nft"];
  const { code, stdout } = await hawser(block, { cwd, env: ENV });
  expect([code, stdout]).toEqual([0, expect.stringContaining("nft -f blocks.nft") as string]);
  const rules = readFileSync(join(cwd, "blocks.nft"), "utf8");
  expect(rules).toContain("tcp dport { 8883, 8884 } ip saddr @sources4 counter reject with tcp reset");
  if (process.getuid?.() === 0)
    expect(spawnSync("unshare", ["--net", "nft", "-c", "-f", "blocks.nft"], { cwd, encoding: "utf8" })).toMatchObject({
      status: 0,
      stderr: "",
    });
  const overlapping = await hawser(["broker", "block", "--dir", "ca", "--network", "203.0.113.9", "--out", "x"], { cwd, env: ENV });
  expect([overlapping.code, overlapping.stderr]).toEqual([5, expect.stringContaining("NETWORK_BLOCKED") as string]);
  const other = await hawser(["broker", "unblock", "--dir", "ca", "--network", "203.0.113.9", "--out", "x"], { cwd, env: ENV });
  expect([other.code, other.stderr]).toEqual([6, expect.stringContaining("NETWORK_NOT_BLOCKED") as string]);
  expect((await hawser(["broker", "blocks", "--dir", "ca"], { cwd })).stdout).toMatch(
    /^1 blocked network, by the audit trail\.\n {2}203\.0\.113\.0\/24 {2}for good/,
  );
});

test("without a broker's port nothing is blocked, nor put on the trail", async () => {
  const cwd = await directoryWithCa();
  const { code, stderr } = await hawser(["broker", "block", "--dir", "ca", "--network", "203.0.113.0/24"], { cwd, env: ENV });
  expect([code, stderr]).toEqual([2, expect.stringContaining("--port") as string]);
  expect(readFileSync(join(cwd, "ca", "audit.jsonl"), "utf8")).not.toContain("network-blocked");
});
