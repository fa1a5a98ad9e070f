import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, PASSPHRASE } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const alert = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  time: new Date().toISOString(),
  event: "alert",
  rule: "message-rate",
  by: "client",
  offender: "pump-1",
  role: "sensor",
  observed: "31 messages within 10 minutes",
  normal: "5, at most 30 (4 days)",
  severity: "critical",
  ...changes,
});

async function quarantine(cwd: string, input: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const args = ["policy", "quarantine", "--dir", "ca", "--passphrase-file", "p", "--on", "message-rate", "denied-publishes", "--json"];
  const state = process.env["HAWSER_STATE_DIR"];
  const env = { PATH: process.env["PATH"] ?? "", ...(state === undefined ? {} : { HAWSER_STATE_DIR: state }) };
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env, stdio: "pipe" });
  const texts = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (texts.stderr += chunk.toString()));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number];
  return { code, ...texts };
}

/** A CA with a device and a role for quarantine. */
async function place(): Promise<string> {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "p"), `${PASSPHRASE}\n`, { mode: 0o600 });
  const ok = async (...args: string[]): Promise<void> => expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0 });
  await ok("provision", "--dir", "ca", "--id", "pump-1", "--vault", "v");
  await ok("policy", "init", "--out", "policy.yaml");
  const text = readFileSync(join(cwd, "policy.yaml"), "utf8")
    .replace(
      /^classes:\n/m,
      "classes:\n  quarantined:\n    base: devices/{id}\n    channels:\n      request: { topic: identity/request, direction: up, recovery: true }\n      response: { topic: identity/response, direction: down, recovery: true }\n",
    )
    .replace(/^roles:\n/m, "roles:\n  quarantined: { for: devices, class: quarantined }\n");
  writeFileSync(join(cwd, "policy.yaml"), text);
  await ok("policy", "apply", "--dir", "ca", "policy.yaml");
  return cwd;
}

const roleOf = async (cwd: string): Promise<unknown> =>
  (JSON.parse((await hawser(["list", "--dir", "ca", "--json"], { cwd, env: ENV })).stdout) as { role: string }[])[0]?.role;

test("only a fresh alert of a chosen rule about a client that was let in changes anything", async () => {
  const cwd = await place();
  const nothing: [Record<string, unknown>, string][] = [
    [{ time: "x", event: "held-back", count: 3 }, 'the event is "held-back"'],
    [alert({ rule: "failed-logins" }), "the alert is of another rule"],
    [alert({ by: "claimedClient" }), "the alert does not name a client that was let in"],
    [alert({ by: "address" }), "the alert does not name a client that was let in"],
    [alert({ by: "role" }), "the alert does not name a client that was let in"],
    [alert({ time: new Date(Date.now() - 2 * 3_600_000).toISOString() }), "the alert is not of the last hour"],
  ];
  for (const [event, reason] of nothing) {
    const { code, stdout } = await quarantine(cwd, JSON.stringify(event));
    expect([code, JSON.parse(stdout)]).toEqual([0, { done: false, reason }]);
  }
  const before = await roleOf(cwd);
  const { code, stdout } = await quarantine(cwd, JSON.stringify(alert()));
  expect([code, JSON.parse(stdout)]).toEqual([0, { id: "pump-1", done: true, role: "quarantined", before }]);
  expect(await roleOf(cwd)).toBe("quarantined");
});

test.each([
  ["", /NOT_AN_ALERT.*not JSON/],
  ["7", /NOT_AN_ALERT.*not an object/],
  ["{}", /NOT_AN_ALERT.*no event/],
  [JSON.stringify(alert({ offender: 7 })), /NOT_AN_ALERT.*not complete/],
  [JSON.stringify(alert({ time: "soon" })), /NOT_AN_ALERT.*not complete/],
  ["x".repeat(100_000), /NOT_AN_ALERT.*longer than 65536 bytes/],
])("the input %.40j is refused", async (input, message) => {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "p"), `${PASSPHRASE}\n`, { mode: 0o600 });
  const { code, stderr } = await quarantine(cwd, input);
  expect([code, stderr]).toEqual([2, expect.stringMatching(message) as string]);
});
