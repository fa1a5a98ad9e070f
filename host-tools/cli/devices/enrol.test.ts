/** `hawser enrol` against a server of the tests whose CA is OpenSSL, and the device that comes of it at real mosquitto. */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { buildCli, hawser, RunningCli, temporaryDirectory, type Finished } from "../../../test/support/host-tools/test-cli.js";
import { OpensslCa, TestEstServer } from "../../../test/support/node/est-server.js";
import { freePort, mtlsListener, startMosquitto } from "../../../test/support/node/test-mosquitto.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

const ENV = { HAWSER_PASSPHRASE: "correct horse battery staple" };
const room = mkdtempSync(join(tmpdir(), "hawser-enrol-"));
let ca: OpensslCa;
let server: { key: string; cert: string };
let est: TestEstServer;

beforeAll(async () => {
  await buildCli();
  ca = new OpensslCa(join(room, "ca"));
  server = await ca.server();
  est = await TestEstServer.start(ca, server);
});
afterAll(async () => {
  await est.stop();
  removeDirectory(room);
});
beforeEach(() => {
  est.requests.length = 0;
  est.passwords.set("meter-7", "once");
  delete est.instead.simpleenroll;
});

/** A directory with the files that the command is given. */
function place(password = "once"): string {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "root.crt"), ca.pem("root"));
  writeFileSync(join(cwd, "password"), `${password}\n`, { mode: 0o600 });
  return cwd;
}

const command = (...more: string[]): string[] => [
  ...["enrol", "--est", est.url, "--est-ca", "root.crt", "--id", "meter-7", "--vault", "meter-7.vault"],
  ...(more.length > 0 ? more : ["--password-file", "password"]),
];

const enrol = (cwd: string, ...more: string[]): Promise<Finished> => hawser(command(...more), { cwd, env: ENV });

it("makes a vault whose device connects to mosquitto", { timeout: 60_000 }, async () => {
  const cwd = place();
  const { code, stdout, stderr } = await enrol(cwd, "--password-file", "password", "--json");
  expect([code, stderr]).toEqual([0, ""]);
  const result = JSON.parse(stdout) as { id: string; serial: string; notAfter: string };
  expect(result).toMatchObject({ id: "meter-7", vault: "meter-7.vault" });
  const port = await freePort();
  mkdirSync(join(cwd, "broker"));
  const files = { "ca.pem": ca.pem("root"), "server.pem": server.cert, "server.key": server.key };
  const broker = await startMosquitto(join(cwd, "broker"), "mosquitto", files, [...mtlsListener(port)]);
  onTestFinished(() => broker.stop());
  const device = new RunningCli(["sim", "run", "--vault", "meter-7.vault", "--url", `mqtts://localhost:${port}`, "--count", "1"], {
    cwd,
    env: ENV,
  });
  expect(await device.waitFor("connected")).toMatchObject({ serial: result.serial, credential: "mtls" });
  expect((await device.ended).code).toBe(0);
});

it("says why the server issued nothing, keeps the key, and uses it again", async () => {
  const cwd = place("mistyped");
  const refused = await enrol(cwd);
  expect([refused.code, refused.stderr]).toEqual([
    3,
    expect.stringMatching(/^error EST_LOGIN_REFUSED: .* Next: A one-time password/) as string,
  ]);
  expect(refused.stderr).not.toContain("mistyped");
  const again = await hawser(command("--label", "meters"), { cwd, env: { ...ENV, HAWSER_EST_PASSWORD: "once" } });
  expect([again.code, again.stderr]).toEqual([0, ""]);
  const [first, second] = est.requests.filter(({ operation }) => operation === "simpleenroll");
  const key = (csr: Buffer | undefined): string =>
    csr?.subarray(csr.indexOf("2a8648ce3d030107", "hex"), csr.indexOf("2a8648ce3d030107", "hex") + 70).toString("hex") ?? "";
  expect(key(first?.csr)).not.toBe("");
  expect([key(second?.csr), second?.path]).toEqual([key(first?.csr), "/.well-known/est/meters/simpleenroll"]);
  const third = await enrol(cwd);
  expect([third.code, third.stderr]).toEqual([5, expect.stringMatching(/^error ALREADY_PROVISIONED/) as string]);
});

it("waits for an approval as long as it may", async () => {
  const cwd = place();
  let asked = 0;
  est.instead.simpleenroll = (response, request) => {
    asked++;
    if (asked > 2) return est.honest(response, request);
    response.writeHead(202, { "retry-after": "1" }).end();
  };
  const impatient = await enrol(cwd);
  expect([impatient.code, impatient.stderr]).toEqual([4, expect.stringMatching(/^error EST_PENDING/) as string]);
  const patient = await enrol(cwd, "--password-file", "password", "--wait", "1m");
  expect([patient.code, patient.stderr, asked]).toEqual([0, "", 3]);
});

it("makes nothing where it was given what it cannot use", async () => {
  const cwd = place();
  writeFileSync(join(cwd, "empty.crt"), "no certificate");
  const noCa = await hawser(["enrol", "--est", est.url, "--est-ca", "empty.crt", "--id", "meter-7", "--vault", "v"], { cwd, env: ENV });
  expect([noCa.code, noCa.stderr]).toEqual([3, expect.stringMatching(/^error BAD_CERTIFICATE: .*empty\.crt/) as string]);
  const noId = await hawser(["enrol", "--est", est.url, "--est-ca", "root.crt", "--id", "a/b", "--vault", "v"], { cwd, env: ENV });
  expect(noId.code).toBe(2);
  writeFileSync(join(cwd, "exposed"), "once\n", { mode: 0o644 });
  const exposed = await enrol(cwd, "--password-file", "exposed");
  expect([exposed.code, exposed.stderr]).toEqual([3, expect.stringMatching(/^error PASSPHRASE_FILE_EXPOSED/) as string]);
  expect([existsSync(join(cwd, "v")), existsSync(join(cwd, "meter-7.vault")), est.requests]).toEqual([false, false, []]);
});
