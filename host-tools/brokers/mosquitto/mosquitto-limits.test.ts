import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { nftablesLimits } from "./mosquitto-limits.js";

const directory = mkdtempSync(join(tmpdir(), "hawser-nft-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const rules = nftablesLimits([
  { name: "mtls", port: 18883, held: 20_000 },
  { name: "psk", port: 18884, held: 2_000 },
]);

/** 120 connections at once in a network namespace of its own: how many are in, refused and dropped. */
const KNOCK = `
import socket, time
server = socket.socket(); server.bind(("127.0.0.1", 18883)); server.listen(500)
held = []
for i in range(120):
    s = socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1", 18883)); held.append(s)
time.sleep(0.5)
counts = [0, 0, 0]
for s in held:
    error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        s.getpeername(); counts[0] += 1
    except OSError:
        counts[1 if error else 2] += 1
print(counts)
`;

/** A flood into a sink for three seconds: how many bytes came through, and in how many seconds. */
const POUR = `
import socket, threading, time
server = socket.socket(); server.bind(("127.0.0.1", 18883)); server.listen(5)
begun = time.time()
client = socket.create_connection(("127.0.0.1", 18883)); sink = server.accept()[0]
def pour():
    while True: client.sendall(bytes(65536))
threading.Thread(target=pour, daemon=True).start()
received, end = 0, begun + 3
sink.settimeout(0.1)
while time.time() < end:
    try: received += len(sink.recv(1 << 20))
    except socket.timeout: pass
print([received, time.time() - begun])
`;

describe("mosquitto's connection limits", () => {
  it("are rules for both ports, per address, per /64 and in all", () => {
    expect(rules).toMatch(/tcp dport 18883 ct state new add @mtls_held4 \{ ip saddr ct count over 50 \} counter reject with tcp reset/);
    expect(rules).toMatch(/tcp dport 18884 ct state new update @psk_rate6 \{ ip6 saddr and ffff:ffff:ffff:ffff:: limit rate over/);
    expect(rules).toMatch(/tcp dport 18884 ct state new ct count over 2000 counter reject/);
  });

  it.runIf(process.getuid?.() === 0)("hold: of 120 connections of one address 50 are in", () => {
    writeFileSync(join(directory, "limits.nft"), rules);
    writeFileSync(join(directory, "knock.py"), KNOCK);
    const script = `ip link set lo up && nft -f limits.nft && nft -f limits.nft && python3 knock.py`;
    const [inside = 0, refused = 0, dropped = 0] = JSON.parse(
      execFileSync("unshare", ["--net", "sh", "-ec", script], { cwd: directory, encoding: "utf8" }),
    ) as number[];
    expect([inside, inside + refused + dropped]).toEqual([50, 120]);
  });

  it.runIf(process.getuid?.() === 0).each([
    ["128 KiB a second unless the policy has a number", undefined, 128],
    ["the policy's number", 512 * 1024, 512],
  ])("hold a flood back, which is slowed down and not cut off: %s", (_what, bytesPerSecond, kibibytes) => {
    writeFileSync(join(directory, "limits.nft"), nftablesLimits([{ name: "mtls", port: 18883, held: 20_000 }], bytesPerSecond));
    writeFileSync(join(directory, "pour.py"), POUR);
    const script = `ip link set lo up && nft -f limits.nft && python3 pour.py`;
    const [received = 0, seconds = 0] = JSON.parse(
      execFileSync("unshare", ["--net", "sh", "-ec", script], { cwd: directory, encoding: "utf8" }),
    ) as number[];
    // A burst of two seconds' worth, and the rate.
    expect(received).toBeGreaterThan(0.5 * kibibytes * 1024);
    expect(received).toBeLessThan((2 + seconds) * kibibytes * 1024 * 1.2);
  });
});
