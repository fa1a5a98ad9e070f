import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { TestAuthority } from "../../../test/support/brokers/test-certificates.js";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

let authority: TestAuthority;
let server: { readonly chainPem: string; readonly keyPem: string };
let pump: { readonly chainPem: string; readonly keyPem: string };
let crl: string;
let expiredCrl: string;

beforeAll(async () => {
  await buildCli();
  authority = await TestAuthority.create();
  server = await authority.issue("broker", "server");
  pump = await authority.issue("pump-1");
  // That a list ends soon is told by its file alone.
  crl = await authority.crlPem(new Date(Date.now() + 30 * 86_400_000));
  expiredCrl = await authority.crlPem(new Date(Date.now() - 60_000));
});

const TLS = "cafile ca.pem\ncertfile server.pem\nkeyfile server.key\n";
const PASSWORDS = "allow_anonymous false\npassword_file passwd\n";
const CERTIFICATES = "require_certificate true\nuse_identity_as_username true\nallow_anonymous false\nacl_file acl\n";
const GOOD_ACL = "user console\ntopic read telemetry/#\n\npattern write telemetry/%u/#\npattern read commands/%u/#\n";

type Login = "none" | "password" | "certificate";

/** What each side says. From outside, rights show by what passes, not by the rule that lets it. */
test.each<[string, string, string, Login, config: string[], live: string[]]>([
  ["open", "allow_anonymous true\n", GOOD_ACL, "none", ["HW020"], ["HW020"]],
  ["open, without topics", `allow_anonymous true\npassword_file passwd\nacl_file acl\n`, GOOD_ACL, "none", ["HW021"], ["HW021"]],
  ["one that checks no names", "allow_anonymous true\nacl_file acl\n", GOOD_ACL, "none", ["HW023"], ["HW023"]],
  ["sound, with passwords", `${PASSWORDS}acl_file acl\n`, GOOD_ACL, "password", [], []],
  ["sound, with certificates", `${CERTIFICATES}crlfile crl.pem\n`, GOOD_ACL, "certificate", [], []],
  ["one with an expired list", `${CERTIFICATES}crlfile expired.pem\n`, GOOD_ACL, "certificate", ["HW046"], ["HW046"]],
  ["one where nobody gets in", `${CERTIFICATES}crlfile crl.pem\npsk_hint x\npsk_file psk\n`, GOOD_ACL, "certificate", ["HW025"], ["HW025"]],
  [
    "one with old TLS",
    `${PASSWORDS}acl_file acl\ntls_version tlsv1.1\nciphers DEFAULT:@SECLEVEL=0\n`,
    GOOD_ACL,
    "password",
    ["HW043"],
    ["HW043"],
  ],
  ["one without rules", PASSWORDS, GOOD_ACL, "password", ["HW060"], ["HW060"]],
  ["one with a rule for everything", `${PASSWORDS}acl_file acl\n`, "pattern readwrite #\n", "password", ["HW061"], ["HW060"]],
  [
    "one that tells its log",
    `${PASSWORDS}acl_file acl\nlog_dest topic\nlog_dest stderr\n`,
    `${GOOD_ACL}pattern read $SYS/#\n`,
    "password",
    ["HW065"],
    ["HW065"],
  ],
])("a broker that is %s: the configuration and the running broker say the same", async (_, lines, acl, login, config, live) => {
  const cwd = temporaryDirectory();
  const [port = 0] = await freePorts(1);
  const files = {
    "mosquitto.conf": `listener ${port}\nuser root\n${TLS}${lines}`,
    acl,
    psk: "pump-1:5e2a90cc17d3b8f45e2a90cc17d3b8f4\n",
    "ca.pem": authority.trustAnchorPem,
    "server.pem": server.chainPem,
    "server.key": server.keyPem,
    "pump.pem": pump.chainPem,
    "pump.key": pump.keyPem,
    "crl.pem": crl,
    "expired.pem": expiredCrl,
    "password.json": JSON.stringify({ username: "pump-1", password: "a-long-passphrase-9", ca: "ca.pem" }),
    "certificate.json": JSON.stringify({ cert: "pump.pem", key: "pump.key", ca: "ca.pem" }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text, { mode: 0o600 });
  execFileSync("mosquitto_passwd", ["-c", "-b", "passwd", "pump-1", "a-long-passphrase-9"], { cwd });
  execFileSync("mosquitto_passwd", ["-b", "passwd", "console", "another-passphrase-7"], { cwd });
  const broker = spawn("mosquitto", ["-c", "mosquitto.conf"], {
    cwd,
    env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(broker, "close");
  onTestFinished(async () => {
    broker.kill("SIGKILL");
    await ended;
  });
  for await (const chunk of broker.stderr.iterator({ destroyOnReturn: false })) if (String(chunk).includes("running")) break;
  broker.stderr.resume();
  const credentials = login === "none" ? ["--ca", "ca.pem"] : ["--credentials", `${login}.json`];
  const verdict = async (...args: string[]): Promise<string[]> => {
    const { stdout, stderr } = await hawser(["doctor", ...args, "--fail-on", "never", "--json"], { cwd });
    expect(stderr).toBe("");
    const { findings } = JSON.parse(stdout) as { findings: { id: string }[] };
    // Root's broker for the test, and what others may read of its files, are not seen from outside.
    return [...new Set(findings.map(({ id }) => id))].filter((id) => id !== "HW004" && id !== "HW005").sort();
  };
  expect(await verdict(`mqtts://localhost:${port}`, ...credentials, "--plain-port", String(port))).toEqual(live);
  expect(await verdict("config", "mosquitto.conf", "--broker-version", "2.0.11")).toEqual(config);
});
