/** `revoke --emqx` and `broker unban` against a double of EMQX's REST API: no EMQX is installed here. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { EmqxApi } from "../../brokers/emqx/emqx-api.js";
import { shutOutAtEmqx } from "../../brokers/emqx/emqx-session-ending.js";
import { parseManagementUrl } from "../../brokers/management-api.js";
import { API_KEY, EmqxDouble } from "../../../test/support/brokers/emqx-double.js";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const FOR_GOOD = expect.stringMatching(/^2999-/) as string;

async function emqx(tls?: { key: string; cert: string }): Promise<EmqxDouble> {
  const double = await EmqxDouble.start(tls);
  onTestFinished(() => double.close());
  return double;
}

const apiOf = ({ url }: EmqxDouble, login: Partial<typeof API_KEY> & { ca?: string } = {}): EmqxApi =>
  new EmqxApi({ url: parseManagementUrl(url), ...API_KEY, ...login });

/** A CA with the device `pump-1`, and the file of an API key. */
async function caWithPump(): Promise<string> {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "key.json"), JSON.stringify(API_KEY));
  expect(await hawser(["provision", "--dir", "ca", "--id", "pump-1", "--vault", "v"], { cwd, env: ENV })).toMatchObject({ code: 0 });
  return cwd;
}

test("revoke bans the name and its recovery identity for good, then ends every session, whatever its client id", async () => {
  const double = await emqx();
  double.comesBack = true;
  for (const id of ["pump-1", "a/b c", "kickout"]) double.sessions.set(id, "pump-1");
  double.sessions.set("pump-1~recovery", "pump-1~recovery").set("pump-2", "pump-2");
  const cwd = await caWithPump();
  const arm = ["--emqx", double.url, "--emqx-key", "key.json"];
  const { code, stdout } = await hawser(["revoke", "--dir", "ca", "--id", "pump-1", ...arm, "--json"], { cwd, env: ENV });
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { id: "pump-1", state: "revoked", emqx: { proved: true, ended: 4 } }]);
  expect([...double.sessions.keys()]).toEqual(["pump-2"]);
  expect([...double.bans.values()]).toMatchObject(
    ["pump-1", "pump-1~recovery"].map((who) => ({ as: "username", who, by: "hawser", reason: "revoked by hawser", until: FOR_GOOD })),
  );
  const firstKick = double.calls.findIndex((call) => call.startsWith("DELETE /api/v5/clients/"));
  expect(double.calls.slice(0, firstKick).filter((call) => call === "POST /api/v5/banned")).toHaveLength(2);

  // It stays banned while it is revoked, and is let in again once it has a new identity.
  const undo = ["broker", "unban", "--dir", "ca", "--id", "pump-1", ...arm];
  const early = await hawser(undo, { cwd, env: ENV });
  expect([early.code, early.stderr]).toEqual([5, expect.stringMatching(/^error DEVICE_REVOKED: pump-1 is revoked/) as string]);
  expect(double.bans.size).toBe(2);
  await hawser(["provision", "--dir", "ca", "--id", "pump-1", "--vault", "v2", "--replace"], { cwd, env: ENV });
  expect(await hawser(undo, { cwd, env: ENV })).toMatchObject({ code: 0, stdout: expect.stringContaining("may connect") as string });
  expect(double.bans.size).toBe(0);
  expect(await hawser(undo, { cwd, env: ENV })).toMatchObject({ code: 0, stdout: expect.stringContaining("was not banned") as string });
  expect(readFileSync(join(cwd, "ca/audit.jsonl"), "utf8")).toMatch(/"event":"unbanned".*"id":"pump-1"/);
});

test("a device that is to recover is thrown out and not banned", async () => {
  const double = await emqx();
  double.sessions.set("pump-1", "pump-1").set("pump-1~recovery", "pump-1~recovery");
  const cwd = await caWithPump();
  const revoke = ["revoke", "--dir", "ca", "--id", "pump-1", "--certificate-only", "--emqx", double.url, "--emqx-key", "key.json"];
  expect(await hawser(revoke, { cwd, env: ENV })).toMatchObject({ code: 0 });
  expect([...double.sessions.keys(), double.bans.size]).toEqual(["pump-1~recovery", 0]);
});

test("who comes back although it is banned, a key that may not ban and an EMQX that is away are said, with exit code 4", async () => {
  const cwd = await caWithPump();
  const double = await emqx();
  double.sessions.set("pump-1", "pump-1");
  double.comesBack = true;
  double.heedsBans = false;
  const revoke = (url: string): ReturnType<typeof hawser> =>
    hawser(["revoke", "--dir", "ca", "--id", "pump-1", "--emqx", url, "--emqx-key", "key.json"], { cwd, env: ENV });
  const back = await revoke(double.url);
  expect(back).toMatchObject({ code: 4, stdout: expect.stringContaining("pump-1 is revoked") as string });
  expect([back.stdout, back.stderr]).toEqual([expect.stringContaining("NOT PROVED"), expect.stringContaining("SESSIONS_NOT_ENDED")]);
  double.refusal = 403;
  const refused = await revoke(double.url);
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringMatching(/MANAGEMENT_FAILED.*may not do that/) as string]);
  const away = await revoke("http://127.0.0.1:1");
  expect([away.code, away.stderr]).toEqual([4, expect.stringContaining("MANAGEMENT_FAILED") as string]);
  // The key and its secret are in no line.
  expect([back, refused, away].map(({ stdout, stderr }) => stdout + stderr).join()).not.toContain(API_KEY.password);
}, 120_000);

test("all pages of sessions are read, and only those of the very user name are ended", async () => {
  const double = await emqx();
  for (let n = 0; n < 25; n += 1) double.sessions.set(`s${n}`, "pump-1");
  double.mostInPage = 10;
  expect(await apiOf(double).clientIdsOf("pump-1")).toHaveLength(25);
  expect(double.calls).toHaveLength(3);
  expect(await apiOf(double).clientIdsOf("pump")).toEqual([]);
  await apiOf(double).kick("gone already");
});

test("a ban that would end is replaced by one for good, and one for good stays as it is", async () => {
  const double = await emqx();
  double.bans.set("username pump-1", { as: "username", who: "pump-1", until: "2027-01-01T00:00:00Z", reason: "flapping" });
  double.bans.set("username pump-2", { as: "username", who: "pump-2", until: "infinity", reason: "by hand" });
  await apiOf(double).ban("pump-1", "revoked");
  await apiOf(double).ban("pump-2", "revoked");
  expect([...double.bans.values()].map(({ until, reason }) => [until, reason])).toEqual([
    ["infinity", "by hand"],
    [FOR_GOOD, "revoked"],
  ]);
});

test("a wrong key and a certificate that nobody vouches for are refused, whatever NODE_TLS_REJECT_UNAUTHORIZED says", async () => {
  await expect(apiOf(await emqx(), { password: "other" }).ban("pump-1", "r")).rejects.toMatchObject({
    code: "MANAGEMENT_FAILED",
    message: expect.stringMatching(/neither the API key nor its secret/) as string,
  });
  const cwd = temporaryDirectory();
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-out", "c.pem"];
  execFileSync("openssl", [...made, ...subject], { cwd, stdio: "ignore" });
  const [key, cert] = ["k.pem", "c.pem"].map((file) => readFileSync(join(cwd, file), "utf8")) as [string, string];
  const double = await emqx({ key, cert });
  double.sessions.set("x", "pump-1");
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  onTestFinished(() => void delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]);
  await expect(apiOf(double).clientIdsOf("pump-1")).rejects.toMatchObject({ code: "MANAGEMENT_FAILED" });
  expect(double.calls).toEqual([]);
  expect(await shutOutAtEmqx(apiOf(double, { ca: cert }), { users: ["pump-1"], banned: ["pump-1"], reason: "r" }, 1)).toBe(1);
});

test.each([
  [["--emqx", "https://localhost:18083"], 2, /^error USAGE: --emqx and --emqx-key go together/],
  [["--emqx", "http://broker.example:18083", "--emqx-key", "key.json"], 2, /^error BAD_URL: .*\n?.*18083/],
  [["--emqx", "https://localhost", "--emqx-key", "empty.json"], 2, /^error BAD_CREDENTIALS_FILE: /],
])("revoke %j ends with %i before anything is revoked", async (args, exit, line) => {
  const cwd = await caWithPump();
  writeFileSync(join(cwd, "empty.json"), "{}");
  const { code, stderr } = await hawser(["revoke", "--dir", "ca", "--id", "pump-1", ...args], { cwd, env: ENV });
  expect([code, stderr]).toEqual([exit, expect.stringMatching(line) as string]);
  const { stdout } = await hawser(["list", "--dir", "ca", "--json"], { cwd, env: ENV });
  expect(stdout).not.toContain('"revoked"');
});
