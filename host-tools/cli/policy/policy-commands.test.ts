import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { watchOver } from "../../../sim/brokers/orphan-guard.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const NAMES = "names:\n  dev1: { role: sensor }\n  dev2: { role: sensor }\n  backend: { role: backend, kind: client }\n";

async function place(): Promise<string> {
  const cwd = temporaryDirectory();
  expect((await hawser(["policy", "init", "--schema", "schema.json"], { cwd })).code).toBe(0);
  writeFileSync(join(cwd, "names.yaml"), NAMES);
  return cwd;
}

describe("hawser policy", () => {
  test("writes the built-in policy with its schema, once", async () => {
    const cwd = await place();
    expect(JSON.parse(readFileSync(join(cwd, "schema.json"), "utf8"))).toMatchObject({ title: "Hawser policy" });
    expect(await hawser(["policy", "init"], { cwd })).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/^error OUT_EXISTS: policy.yaml exists/) as string,
    });
    expect((await hawser(["policy", "check", "--policy", "policy.yaml"], { cwd })).code).toBe(0);
    expect(await hawser(["policy", "check", "--policy", "policy.yaml", "--strict"], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("POLICY_DOUBTFUL") as string,
    });
  });

  test("names the lines that a target cannot hold, the embedded broker among them", async () => {
    const cwd = await place();
    const line = DEFAULT_POLICY_TEXT.split("\n").findIndex((text) => text.includes("inflight:")) + 1;
    const { code, stdout } = await hawser(["policy", "check", "--policy", "policy.yaml", "--target", "embedded"], { cwd });
    expect([code, stdout]).toEqual([
      6,
      expect.stringContaining(`policy.yaml:${line}: error INEXPRESSIBLE: the embedded broker cannot say the limit inflight`),
    ]);
    writeFileSync(join(cwd, "policy.yaml"), `${DEFAULT_POLICY_TEXT}unenforced: { embedded: [limits] }\n`);
    expect((await hawser(["policy", "check", "--policy", "policy.yaml", "--target", "embedded"], { cwd })).code).toBe(0);
    const other = await hawser(["policy", "check", "--policy", "policy.yaml", "--target", "rabbitmq"], { cwd });
    expect([other.code, other.stdout]).toEqual([6, expect.stringContaining("RabbitMQ cannot say a listener (psk) that asks for psk")]);
  });

  test("lists everything that is wrong, with lines, and exits with 6", async () => {
    const cwd = await place();
    writeFileSync(
      join(cwd, "bad.yaml"),
      "version: 1\nname: x\nlisteners: { mtls: { port: 1, requires: [certificate] } }\nroles:\n  a: { inherits: [b] }\n  c: { class: d, for: devices }\n",
    );
    const { code, stdout, stderr } = await hawser(["policy", "check", "--policy", "bad.yaml"], { cwd });
    expect([code, stdout.split("\n").slice(0, 2)]).toEqual([
      6,
      ["bad.yaml:5: error REFERENCE: there is no role b", "bad.yaml:6: error REFERENCE: there is no class d"],
    ]);
    expect(stderr).toMatch(/^error POLICY_INVALID: bad.yaml has \d errors/);
  });

  test("says what a name may do and who reaches a topic, with the line that says so", async () => {
    const cwd = await place();
    const lineOf = (text: string): number =>
      readFileSync(join(cwd, "policy.yaml"), "utf8")
        .split("\n")
        .findIndex((line) => line === text) + 1;
    const flags = ["--policy", "policy.yaml", "--inventory", "names.yaml"];
    const explained = await json<{ rights: unknown[] }>(cwd, "policy", "explain", ...flags, "--id", "dev1");
    expect(explained.rights).toContainEqual(
      expect.objectContaining({
        listener: "psk",
        access: "publish",
        filter: "devices/dev1/identity/request",
        line: lineOf("      request:"),
      }),
    );
    const { verdicts } = await json<{ verdicts: { listener: string; action: string; allowed: boolean }[] }>(
      cwd,
      "policy",
      "explain",
      ...flags,
      "--id",
      "dev1",
      "--topic",
      "devices/dev2/up/x",
    );
    expect(verdicts.every(({ allowed }) => !allowed)).toBe(true);
    const { who } = await json<{ who: { id: string; action: string }[] }>(cwd, "policy", "who", ...flags, "--topic", "devices/dev1/up/x");
    expect(who.map(({ id, action }) => `${id} ${action}`)).toEqual(["dev1 publish", "backend receive"]);
    expect((await hawser(["policy", "who", "--topic", "x"], { cwd })).stderr).toMatch(/^error USAGE: this question needs names/);
    expect((await hawser(["policy", "explain", ...flags, "--id", "ghost"], { cwd })).code).toBe(6);
  });

  test("answers for the names of a CA directory", async () => {
    const cwd = await directoryWithCa();
    await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
    const { rights } = await json<{ rights: { filter: string }[] }>(cwd, "policy", "explain", "--dir", "ca", "--id", "sensor-1");
    expect(rights.map(({ filter }) => filter)).toContain("devices/sensor-1/up/#");
  });

  test("names the devices of a CA that a policy would keep from renewing", async () => {
    const directory = await directoryWithCa();
    const id = ["--dir", "ca", "--id", "dev1", "--vault", "dev1.vault"];
    expect(await hawser(["provision", ...id], { cwd: directory, env: ENV })).toMatchObject({ code: 0 });
    const moved = DEFAULT_POLICY_TEXT.replace("topic: identity/request", "topic: who/request").replace(
      "topic: identity/response",
      "topic: who/response",
    );
    writeFileSync(join(directory, "moved.yaml"), moved);
    const check = ["policy", "check", "--policy", "moved.yaml", "--json"];
    expect((await hawser(check, { cwd: directory })).code).toBe(0);
    const { code, stdout } = await hawser([...check, "--dir", "ca"], { cwd: directory });
    expect([code, stdout]).toEqual([6, expect.stringMatching(/"LEFT_BEHIND","message":"dev1 was never heard.*devices\/\{id\}\/identity/)]);
  });

  test("shows what changes, the same change of many names once", async () => {
    const cwd = await place();
    writeFileSync(join(cwd, "new.yaml"), readFileSync(join(cwd, "policy.yaml"), "utf8").replace("topic: up/#", "topic: out/#"));
    const { changes } = await json<{ changes: unknown[] }>(cwd, "policy", "diff", "policy.yaml", "new.yaml", "--inventory", "names.yaml");
    expect(changes).toContainEqual(
      expect.objectContaining({ change: "loses", names: ["dev1", "dev2"], filter: "devices/{id}/up/#", access: "publish" }),
    );
    const same = await hawser(["policy", "diff", "policy.yaml", "policy.yaml", "--inventory", "names.yaml"], { cwd });
    expect(same.stdout).toBe("Nobody gains or loses anything.\n");
  });

  test("runs assertions, fails when one does not hold, and reports to JUnit", async () => {
    const cwd = await place();
    const tests = (extra: string): void =>
      writeFileSync(
        join(cwd, "t.yaml"),
        `${NAMES}tests:\n  - name: own <topics>\n    as: [dev1]\n    may: [publish devices/dev1/up/x, { publish: devices/dev1/up/x, retain: true }${extra}]\n    may-not: [publish devices/dev2/up/x]\n`,
      );
    tests("");
    expect((await hawser(["policy", "test", "t.yaml"], { cwd })).stdout).toBe("3 of 3 assertions hold\n");
    tests(", subscribe devices/#");
    const failed = await hawser(["policy", "test", "t.yaml", "--junit", "report.xml"], { cwd });
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error POLICY_TEST_FAILED: 1 of 4/) as string });
    expect(readFileSync(join(cwd, "report.xml"), "utf8")).toMatch(/tests="4" failures="1"[\s\S]*classname="own &#60;topics&#62;"/);
    writeFileSync(join(cwd, "t.yaml"), "tests: [{ as: dev1, mayy: [publish x] }]\n");
    expect((await hawser(["policy", "test", "t.yaml"], { cwd })).stderr).toMatch(
      /^error BAD_POLICY_TEST: t.yaml: test 1: unknown setting mayy/,
    );
  });

  test("writes the catalogue as Markdown, HTML and AsyncAPI", async () => {
    const cwd = await place();
    await json(cwd, "policy", "docs", "--policy", "policy.yaml", "--markdown", "t.md", "--html", "t.html", "--asyncapi", "t.json");
    expect(readFileSync(join(cwd, "t.md"), "utf8")).toContain("| up | devices/{id}/up/# | from the device |");
    expect(readFileSync(join(cwd, "t.html"), "utf8")).toContain("<td>devices/{id}/up/#</td>");
    expect(JSON.parse(readFileSync(join(cwd, "t.json"), "utf8"))).toMatchObject({
      asyncapi: "3.0.0",
      channels: { "device-up": { address: "devices/{id}/up/#" } },
    });
  });
});

describe("hawser policy set", () => {
  test(
    "gives no device a role that the policy does not name, whichever policy that is, unless its default rights are wanted",
    { timeout: 180_000 },
    async () => {
      const cwd = await directoryWithCa();
      await json(cwd, "provision", "--dir", "ca", "--id", "pump-7", "--vault", "v");
      const rights = async (): Promise<string> =>
        JSON.stringify(await json<{ rights: unknown }>(cwd, "policy", "explain", "--dir", "ca", "--id", "pump-7"));
      const quarantine = ["policy", "set", "--dir", "ca", "--id", "pump-7", "--role", "quarantined"];
      const registry = (): string => readFileSync(join(cwd, "ca/audit.jsonl"), "utf8");
      const builtIn = DEFAULT_POLICY_TEXT;
      const withoutDefault = builtIn.replace("defaultDeviceRole: device\n", "").replace("  device:\n    for:", "  sensor:\n    for:");
      for (const [text, next] of [
        [builtIn, "Add quarantined to the policy and run `hawser policy apply`, or choose one of device."],
        [builtIn.replace("name: default", "name: own"), "Add quarantined to the policy and run `hawser policy apply`"],
        [withoutDefault, "Choose one of sensor."],
      ] as const) {
        writeFileSync(join(cwd, "policy.yaml"), text);
        await json(cwd, "policy", "apply", "--dir", "ca", "policy.yaml");
        const before = registry();
        const { code, stderr } = await hawser(quarantine, { cwd, env: ENV });
        expect([code, stderr]).toEqual([2, expect.stringMatching(/^error INVALID_ROLE: the policy has no role quarantined/)]);
        expect(stderr).toContain(next);
        expect(registry()).toBe(before);
      }
      const identityOnly =
        "  quarantined:\n    base: devices/{id}\n    channels:\n      request: { topic: identity/request, direction: up, recovery: true }\n";
      const withRole = builtIn
        .replace("\nclasses:\n", `\nclasses:\n${identityOnly}`)
        .replace("\nroles:\n", "\nroles:\n  quarantined: { for: devices, class: quarantined }\n");
      writeFileSync(join(cwd, "policy.yaml"), withRole);
      // Its role of the policy before, sensor, is a label again.
      await json(cwd, "policy", "apply", "--dir", "ca", "--force", "policy.yaml");
      await json(cwd, ...quarantine);
      const again = ["provision", "--dir", "ca", "--id", "pump-7", "--vault", "pump-7.vault", "--replace"];
      expect(await json(cwd, ...again)).toMatchObject({ role: "quarantined" });
      expect(await rights()).not.toContain("devices/pump-7/up");
      await json(cwd, "policy", "set", "--dir", "ca", "--id", "pump-7", "--role", "sensor", "--default-rights");
      expect(await rights()).toContain("devices/pump-7/up");
    },
  );
});

describe("hawser policy compile", () => {
  test("writes a configuration, keeps the administrator's lines, and refuses what is not its own", async () => {
    const cwd = await place();
    const flags = ["policy", "compile", "--policy", "policy.yaml", "--inventory", "names.yaml", "--for", "mosquitto", "--out", "out"];
    const { files } = await json<{ files: string[] }>(cwd, ...flags);
    expect(files).toEqual(["mtls.acl", "psk.acl", "mosquitto.conf", "mosquitto.service.d/hawser.conf", "hawser-mosquitto.service"]);
    writeFileSync(join(cwd, "out/conf.d/mine.conf"), "log_type debug\n");
    await json(cwd, ...flags);
    expect(readFileSync(join(cwd, "out/conf.d/mine.conf"), "utf8")).toBe("log_type debug\n");
    // As a kill between the two renames leaves it, and one after both.
    renameSync(join(cwd, "out"), join(cwd, ".out.old"));
    await json(cwd, ...flags);
    renameSync(join(cwd, "out"), join(cwd, ".out.old"));
    mkdirSync(join(cwd, "out"));
    await json(cwd, ...flags);
    expect(readFileSync(join(cwd, "out/conf.d/mine.conf"), "utf8")).toBe("log_type debug\n");
    expect(readdirSync(cwd).filter((name) => name.startsWith("."))).toEqual([]);
    expect(await hawser([...flags.slice(0, -1), "."], { cwd })).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("OUT_EXISTS") as string,
    });
  });

  test("compiles a mosquitto that starts as it is, and ends sessions there from the CA directory", async () => {
    const cwd = await directoryWithCa();
    const [port = 0, psk = 0] = await freePorts(2);
    await json(cwd, "policy", "init");
    const text = readFileSync(join(cwd, "policy.yaml"), "utf8")
      .replace("port: 8883", `port: ${port}`)
      .replace("port: 8884", `port: ${psk}`);
    writeFileSync(join(cwd, "policy.yaml"), text);
    await json(cwd, "issue", "--dir", "ca", "--name", "backend", "--role", "backend", "--out", "backend");
    expect(await hawser(["policy", "compile", "--for", "mosquitto", "--out", "mq", "--keys"], { cwd })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Give --dir") as string,
    });
    await json(
      cwd,
      "policy",
      "compile",
      "--policy",
      "policy.yaml",
      "--dir",
      "ca",
      "--for",
      "mosquitto",
      "--out",
      "mq",
      "--keys",
      "--user",
      userInfo().username,
    );
    const broker = spawn("/usr/sbin/mosquitto", ["-c", join(cwd, "mq/mosquitto.conf")], { stdio: ["ignore", "ignore", "pipe"] });
    const gone = once(broker, "close");
    void gone.then(watchOver(broker));
    onTestFinished(async () => {
      broker.kill("SIGKILL");
      await gone;
    });
    let log = "";
    for await (const chunk of broker.stderr.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      if (/running/.test((log += chunk.toString()))) break;
    broker.stderr.resume();
    const pem = (name: string): Buffer => readFileSync(join(cwd, "backend", name));
    const client = await connectAsync({
      host: "127.0.0.1",
      port,
      protocol: "mqtts",
      ca: pem("ca.crt.pem"),
      cert: pem("client.crt.pem"),
      key: pem("client.key.pem"),
      servername: "localhost",
      reconnectPeriod: 0,
    });
    client.on("error", () => undefined);
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    const flags = ["--dir", "ca", "--id", "backend", "--host", "127.0.0.1", "--port"];
    expect(await json(cwd, "broker", "end-sessions", ...flags, String(port))).toEqual({ broker: `127.0.0.1:${port}`, ended: ["backend"] });
    await closed;
    expect(await hawser(["broker", "end-sessions", ...flags, String(psk)], { cwd, env: ENV })).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("SESSIONS_NOT_ENDED") as string,
    });
  });

  test("refuses what the target cannot say, naming the line, and writes nothing", async () => {
    const cwd = await place();
    const { code, stderr } = await hawser(
      ["policy", "compile", "--policy", "policy.yaml", "--inventory", "names.yaml", "--for", "emqx", "--out", "out"],
      { cwd },
    );
    expect([code, stderr]).toEqual([6, expect.stringMatching(/^error POLICY_INVALID: .*:\d+: EMQX 5 cannot say .*pre-shared/)]);
    expect(readdirSync(cwd)).not.toContain("out");
  });
});
