import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { buildCli, CLI, hawser, temporaryDirectory, treeState } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, json, runningBroker, url } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const OPEN = "listener 1883\nallow_anonymous true\nacl_file acl\n";
const ACL = "pattern readwrite #\n";

function brokerDirectory(conf: string): string {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "mosquitto.conf"), conf);
  writeFileSync(join(cwd, "acl"), ACL);
  return cwd;
}

describe("doctor config", () => {
  test("ends with 8 when something is as bad as --fail-on, and with 0 when not", async () => {
    const cwd = brokerDirectory(OPEN);
    const run = async (...more: string[]): Promise<number | null> =>
      (await hawser(["doctor", "config", "mosquitto.conf", "--broker-version", "2.0.11", ...more], { cwd })).code;
    expect(await Promise.all([run(), run("--fail-on", "critical"), run("--fail-on", "never")])).toEqual([8, 8, 0]);
    const good = brokerDirectory("listener 1883 127.0.0.1\nallow_anonymous true\nacl_file acl\n");
    writeFileSync(join(good, "acl"), "pattern write t/%u/#\n");
    expect((await hawser(["doctor", "config", "mosquitto.conf", "--json"], { cwd: good })).code).toBe(0);
  });

  test("writes a hardened copy that it finds better, and leaves the originals as they are", async () => {
    const cwd = brokerDirectory(`${OPEN}log_dest none\n`);
    const before = treeState(cwd);
    const { code, stdout } = await hawser(
      ["doctor", "config", "mosquitto.conf", "--broker-version", "2.0.11", "--fix", "hardened", "--json"],
      { cwd },
    );
    const { grade, fixed } = JSON.parse(stdout) as { grade: string; fixed: { main: string; remaining: { findings: { id: string }[] } } };
    expect(grade).toBe("F");
    // Nobody gets in any more, and the ACL is empty: who may do what is the admin's to say.
    expect([code, fixed.remaining.findings.map(({ id }) => id)]).toEqual([8, ["HW025", "HW003"]]);
    const copy = readFileSync(join(cwd, fixed.main), "utf8");
    expect(copy).toContain("listener 1883 127.0.0.1\nallow_anonymous false\nacl_file acl\nlog_dest stderr\n");
    expect(readFileSync(join(cwd, "hardened/acl"), "utf8")).toBe("# pattern readwrite #\n");
    expect(treeState(cwd)).toMatchObject(before);
  });

  test("a copy names files it left behind by their whole path", async () => {
    const cwd = brokerDirectory("listener 1883 127.0.0.1\npassword_file passwd\nallow_anonymus false\n");
    writeFileSync(join(cwd, "passwd"), "", { mode: 0o600 });
    await hawser(["doctor", "config", "mosquitto.conf", "--broker-version", "2.0.11", "--fix", "out/hardened"], { cwd });
    expect(readFileSync(join(cwd, "out/hardened/mosquitto.conf"), "utf8")).toBe(
      `listener 1883 127.0.0.1\npassword_file ${join(cwd, "passwd")}\nallow_anonymous false\n`,
    );
  });

  test("writes SARIF and HTML beside its own output", async () => {
    const cwd = brokerDirectory(OPEN);
    await hawser(["doctor", "config", "mosquitto.conf", "--sarif", "d.sarif", "--html", "d.html"], { cwd });
    expect((JSON.parse(readFileSync(join(cwd, "d.sarif"), "utf8")) as { version: string }).version).toBe("2.1.0");
    expect(readFileSync(join(cwd, "d.html"), "utf8")).toMatch(/^<!doctype html>/);
  });

  test("knows a broker by its file", async () => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, "rabbitmq.conf"), "loopback_users = none\nmqtt.allow_anonymous = true\nmqtt.listeners.tcp.default = 1883\n");
    writeFileSync(join(cwd, "emqx.conf"), 'listeners.tcp.default { bind = "0.0.0.0:1883" }\n');
    writeFileSync(join(cwd, "nanomq.conf"), 'listeners.tcp { bind = "0.0.0.0:1883" }\nauth { allow_anonymous = false, no_match = deny }\n');
    const examine = async (file: string): Promise<string[]> => {
      const { broker, findings } = JSON.parse((await hawser(["doctor", "config", file, "--json"], { cwd })).stdout) as {
        broker: string;
        findings: { id: string; severity: string }[];
      };
      return [broker, ...findings.map(({ id, severity }) => `${id} ${severity}`)];
    };
    expect(await examine("rabbitmq.conf")).toEqual(["rabbitmq", "HW026 critical", "HW020 critical", "HW040 high"]);
    expect(await examine("emqx.conf")).toEqual(["emqx", "HW020 critical", "HW032 high", "HW040 high", "HW040 high"]);
    expect(await examine("nanomq.conf")).toEqual(["nanomq", "HW023 critical", "HW040 high"]);
  });

  test.each([
    [["config", "nothing.conf"], 6, /^error NOT_FOUND: no such file or directory: /],
    [["config", "folder"], 6, /^error NOT_FOUND: .*folder is a directory/],
    [["config", "mosquitto.conf", "--broker-version", "newest"], 2, /^error BAD_VERSION: /],
    [["config", "mosquitto.conf", "--broker", "emqx"], 6, /^error BAD_BROKER_CONFIG: line 1: /],
    [["config", "mosquitto.conf", "--fix", "folder"], 5, /^error OUT_EXISTS: /],
    [["--explain", "HW999"], 2, /^error UNKNOWN_RULE: /],
    [[], 2, /^error USAGE: /],
  ])("doctor %j ends with %i and one line", async (args, exit, line) => {
    const cwd = brokerDirectory(OPEN);
    mkdirSync(join(cwd, "folder"));
    writeFileSync(join(cwd, "folder", "x"), "");
    const { code, stderr, stdout } = await hawser(["doctor", ...args], { cwd });
    expect([code, stdout]).toEqual([exit, ""]);
    expect(stderr).toMatch(line);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(existsSync(join(cwd, "folder", "mosquitto.conf"))).toBe(false);
  });
});

interface Examined {
  readonly grade: string;
  readonly findings: readonly { readonly id: string; readonly severity: string }[];
}

async function examine(cwd: string, ...args: string[]): Promise<{ code: number | null; grade: string; ids: string[] }> {
  const { code, stdout, stderr } = await hawser(["doctor", ...args, "--json"], { cwd });
  expect(stderr).toBe("");
  const { grade, findings } = JSON.parse(stdout) as Examined;
  return { code, grade, ids: findings.map(({ id, severity }) => `${id} ${severity}`) };
}

/** A mosquitto of this machine with the files of `cwd`, listening. */
async function runMosquitto(cwd: string): Promise<void> {
  const child = spawn("mosquitto", ["-c", "mosquitto.conf"], {
    cwd,
    env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  });
  let log = "";
  for await (const chunk of child.stderr) {
    log += String(chunk);
    if (log.includes("running")) return;
  }
  throw new Error(`mosquitto did not start: ${log}`);
}

describe("doctor of a running broker", () => {
  test("finds nothing on the broker that Hawser configures, and no more in its configuration", { timeout: 60_000 }, async () => {
    const cwd = await directoryWithCa({ brokerHosts: ["localhost"] });
    const { mtlsPort, pskPort } = await runningBroker(cwd, "mosquitto");
    await json(cwd, "issue", "--dir", "ca", "--name", "dashboard", "--role", "backend", "--out", "dashboard");
    const live = await examine(cwd, url(mtlsPort), "--credentials", "dashboard", "--plain-port", String(pskPort));
    expect(live).toEqual({ code: 0, grade: "A", ids: [] });
    await json(cwd, "broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "out", "--mtls-port", "18883", "--psk-port", "18884");
    // Root's own files are for a broker of root's, which is said.
    const { ids } = await examine(cwd, "config", "out/mosquitto.conf", "--broker-version", "2.0.11");
    expect(ids.filter((id) => id !== "HW004 medium")).toEqual([]);
  });

  test.each([
    ["open", "allow_anonymous true\n", ["HW020 critical", "HW040 high"]],
    ["open, without topics", "allow_anonymous true\npassword_file passwd\nacl_file acl\n", ["HW021 high", "HW040 high"]],
    ["with names that nobody checks", "allow_anonymous true\nacl_file acl\n", ["HW023 critical", "HW040 high"]],
  ])("says of a broker that is %s what it says of its configuration", async (_, lines, expected) => {
    const cwd = temporaryDirectory();
    const [port = 0] = await freePorts(1);
    writeFileSync(join(cwd, "mosquitto.conf"), `listener ${port}\nuser root\n${lines}`);
    writeFileSync(join(cwd, "acl"), "user console\ntopic read telemetry/#\n");
    execFileSync("mosquitto_passwd", ["-c", "-b", "passwd", "console", "a-long-passphrase-9"], { cwd });
    await runMosquitto(cwd);
    const live = await examine(cwd, `mqtt://localhost:${port}`, "--plain-port", String(port));
    const config = await examine(cwd, "config", "mosquitto.conf", "--broker-version", "2.0.11");
    expect([...live.ids].sort()).toEqual(expected);
    expect(config.ids.filter((id) => id !== "HW004 medium" && !id.startsWith("HW005")).sort()).toEqual(expected);
    expect(live.code).toBe(8);
  });

  test("says in one line that nobody answers, and that credentials cannot be read", async () => {
    const cwd = temporaryDirectory();
    const [port = 0] = await freePorts(1);
    const { code, stderr } = await hawser(["doctor", `mqtts://localhost:${port}`], { cwd });
    expect([code, stderr.trimEnd().split("\n").at(-1)]).toEqual([4, expect.stringMatching(/^error CONNECTION_REFUSED: /) as string]);
    const strangers = ["HTTP/1.1 400 Bad Request\r\n\r\n", undefined].map((text) =>
      createServer((socket) => {
        socket.on("error", () => undefined);
        if (text !== undefined) socket.end(text);
      }),
    );
    for (const stranger of strangers) {
      await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void stranger.close());
      const { port: other } = stranger.address() as AddressInfo;
      for (const scheme of ["mqtt", "mqtts"]) {
        const found = await hawser(["doctor", `${scheme}://127.0.0.1:${other}`, "--plain-port", String(other)], { cwd });
        expect([found.code, found.stderr]).toEqual([
          4,
          expect.stringMatching(/^error PROTOCOL_ERROR: .*does not behave like an MQTT broker/m) as string,
        ]);
      }
    }
    writeFileSync(join(cwd, "c.json"), "{");
    const noCa = await hawser(["doctor", `mqtts://localhost:${port}`, "--ca", "c.json"], { cwd });
    expect([noCa.code, noCa.stderr]).toEqual([
      2,
      expect.stringMatching(/^error BAD_CREDENTIALS_FILE: c\.json holds no certificate/) as string,
    ]);
    const bad = await hawser(["doctor", `mqtts://localhost:${port}`, "--credentials", "c.json"], { cwd });
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringMatching(/^error BAD_CREDENTIALS_FILE: /) as string]);
  });
});

test("docs/doctor.md's first commands run as written", async () => {
  const page = readFileSync(fileURLToPath(new URL("../../../docs/doctor.md", import.meta.url)), "utf8");
  const script = /<!-- doctor-config -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  expect(script).toContain("npx hawser");
  const cwd = temporaryDirectory();
  const output = execFileSync("bash", ["-euc", script.replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`)], {
    cwd,
    encoding: "utf8",
  });
  expect(output).toMatch(/Grade F: 1 critical, 1 high\./);
  expect(readFileSync(join(cwd, "hardened/mosquitto.conf"), "utf8")).toContain("allow_anonymous false");
});
