import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { buildCli, hawser, RunningCli, temporaryDirectory, treeState } from "../../test/support/host-tools/test-cli.js";
import type { Finished } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

async function withDevice(): Promise<string> {
  const cwd = await directoryWithCa();
  await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
  return cwd;
}

interface Listed {
  id: string;
  kind: string;
  role: string;
  state: string;
  serial?: string;
  notAfter?: string;
  certificates: { serial: string; status: string; reason?: string }[];
}

const list = (cwd: string): Promise<Listed[]> => json<Listed[]>(cwd, "list", "--dir", "ca");

/** One line on stderr with the code, nothing on stdout, the exit code, and nothing changed on disk. */
async function expectRefusal(
  cwd: string,
  args: readonly string[],
  code: string,
  exit: number,
  env: Record<string, string> = ENV,
): Promise<Finished> {
  const before = treeState(cwd);
  const finished = await hawser(args, { cwd, env });
  expect({ code: finished.code, stdout: finished.stdout, stderr: finished.stderr }).toEqual({
    code: exit,
    stdout: "",
    stderr: expect.stringMatching(new RegExp(`^error ${code}: [^\\n]+ Next: [^\\n]+\\n$`)) as string,
  });
  expect(treeState(cwd)).toEqual(before);
  return finished;
}

describe("ca init", () => {
  test("makes a CA directory that only its owner can read, with the broker hosts asked for", async () => {
    const cwd = temporaryDirectory();
    const made = await json<{ name: string; brokerHosts: string[]; root: string }>(
      cwd,
      "ca",
      "init",
      "--dir",
      "ca",
      "--name",
      "Plant 7",
      "--broker-host",
      "mqtt.example.com",
      "--broker-host",
      "10.0.0.5",
    );
    expect(made).toMatchObject({ name: "Plant 7", brokerHosts: ["mqtt.example.com", "10.0.0.5"], root: "ca/root.crt.pem" });
    expect(readFileSync(join(cwd, made.root), "utf8")).toMatch(/^-----BEGIN CERTIFICATE-----/);
    expect(statSync(join(cwd, "ca")).mode & 0o777).toBe(0o700);
    for (const [file, state] of Object.entries(treeState(cwd)))
      expect([file, state]).toEqual([file, expect.stringMatching(/^(directory 700|600 )/)]);
    expect(await list(cwd)).toEqual([]);
  });

  test("refuses a directory that is a CA already, or holds anything else", async () => {
    const cwd = await directoryWithCa();
    await expectRefusal(cwd, ["ca", "init", "--dir", "ca"], "CA_EXISTS", 5);
    mkdirSync(join(cwd, "full"));
    writeFileSync(join(cwd, "full", "file"), "x");
    await expectRefusal(cwd, ["ca", "init", "--dir", "full"], "OUT_EXISTS", 5);
  });

  test.each([
    [["--broker-host", "a b"], "BAD_HOST", 2],
    [["--name", " x"], "INVALID_NAME", 2],
    [["--passphrase-file", "missing"], "PASSPHRASE_FILE_UNREADABLE", 3],
  ] as const)("refuses %j", async (flags, code, exit) => {
    await expectRefusal(
      temporaryDirectory(),
      ["ca", "init", "--dir", "ca", ...flags],
      code,
      exit,
      code === "PASSPHRASE_FILE_UNREADABLE" ? {} : ENV,
    );
  });

  test("asks for a passphrase and takes it from a file", async () => {
    const cwd = temporaryDirectory();
    await expectRefusal(cwd, ["ca", "init", "--dir", "ca"], "PASSPHRASE_REQUIRED", 3, {});
    writeFileSync(join(cwd, "secret"), `${PASSPHRASE}\n`, { mode: 0o600 });
    const { code } = await hawser(["ca", "init", "--dir", "ca", "--passphrase-file", "secret"], { cwd });
    expect(code).toBe(0);
    expect(await json(cwd, "ca", "crl", "--dir", "ca")).toMatchObject({ crl: "ca/crl.pem" });
    chmodSync(join(cwd, "secret"), 0o644);
    await expectRefusal(cwd, ["ca", "crl", "--dir", "ca", "--passphrase-file", "secret"], "PASSPHRASE_FILE_EXPOSED", 3, {});
  });
});

describe("ca crl", () => {
  test("signs lists that are good for longer", async () => {
    const cwd = await directoryWithCa();
    const before = readFileSync(join(cwd, "ca/crl.pem"), "utf8");
    const { nextUpdate } = await json<{ nextUpdate: string }>(cwd, "ca", "crl", "--dir", "ca");
    expect(Date.parse(nextUpdate)).toBeGreaterThan(Date.now() + 29 * 86_400_000);
    expect(readFileSync(join(cwd, "ca/crl.pem"), "utf8")).not.toBe(before);
  });
});

describe("provision", () => {
  test("makes a vault that only its owner can read, and lists the device", async () => {
    const cwd = await directoryWithCa();
    const made = await json<{ serial: string; notAfter: string }>(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
    expect(made).toMatchObject({ id: "sensor-1", role: "sensor", vault: "v", replaced: [] });
    expect(await list(cwd)).toEqual([
      expect.objectContaining({
        id: "sensor-1",
        kind: "device",
        role: "sensor",
        state: "active",
        serial: made.serial,
        notAfter: made.notAfter,
      }),
    ]);
    expect(readdirSync(cwd).sort()).toEqual(["ca", "v"]);
    expect(statSync(join(cwd, "v")).mode & 0o777).toBe(0o700);
    for (const [file, state] of Object.entries(treeState(join(cwd, "v"))))
      expect([file, state]).toEqual([file, expect.stringMatching(/^(directory 700|600 )/)]);
  });

  test("keeps two passphrases apart", async () => {
    const cwd = await directoryWithCa();
    const env = { HAWSER_CA_PASSPHRASE: PASSPHRASE, HAWSER_VAULT_PASSPHRASE: "another-one" };
    expect((await hawser(["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v"], { cwd, env })).code).toBe(0);
    await expectRefusal(cwd, ["sim", "run", "--vault", "v", "--url", "mqtts://localhost:1"], "WRONG_PASSPHRASE", 3);
  });

  test("refuses an id that is taken, until told to replace it; then the old certificate is revoked", async () => {
    const cwd = await withDevice();
    const [before] = await list(cwd);
    await expectRefusal(cwd, ["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "w"], "ID_EXISTS", 5);
    const made = await json<{ serial: string; replaced: string[] }>(
      cwd,
      "provision",
      "--dir",
      "ca",
      "--id",
      "sensor-1",
      "--vault",
      "v",
      "--replace",
    );
    expect(made.replaced).toEqual([before?.serial]);
    const [after] = await list(cwd);
    expect(after).toMatchObject({ state: "active", serial: made.serial });
    expect(after?.certificates.map(({ serial, status }) => [serial, status])).toEqual([
      [before?.serial, "superseded"],
      [made.serial, "active"],
    ]);
    expect(readdirSync(cwd).sort()).toEqual(["ca", "v"]);
  });

  test("refuses a path that is taken, and a replacement of what is no vault", async () => {
    const cwd = await withDevice();
    mkdirSync(join(cwd, "other"));
    await expectRefusal(cwd, ["provision", "--dir", "ca", "--id", "sensor-2", "--vault", "v"], "VAULT_EXISTS", 5);
    await expectRefusal(cwd, ["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "other", "--replace"], "VAULT_EXISTS", 5);
  });

  test.each([
    ["with a slash", "a/b"],
    ["with a plus", "a+b"],
    ["with a hash", "#"],
    ["with a space", "a b"],
    ["that is empty", ""],
    ["that begins with a dot", ".."],
    ["longer than a certificate's name may be", "a".repeat(65)],
    ["with a newline", "a\nb"],
    ["with an escape sequence", "a\u001b[2J"],
  ])("refuses an id %s", async (_what, id) => {
    const cwd = temporaryDirectory();
    const { stderr } = await expectRefusal(cwd, ["provision", "--dir", "ca", "--id", id, "--vault", "v"], "INVALID_ID", 2);
    expect(stderr).not.toContain("\u001b");
  });

  test("refuses a role that belongs to clients", async () => {
    await expectRefusal(
      await directoryWithCa(),
      ["provision", "--dir", "ca", "--id", "x", "--role", "operator", "--vault", "v"],
      "INVALID_ROLE",
      2,
    );
  });

  test("refuses a wrong passphrase, a directory that is no CA and a vault that has nowhere to be", async () => {
    const cwd = await directoryWithCa();
    mkdirSync(join(cwd, "empty"));
    const provision = (...more: string[]): string[] => ["provision", "--id", "x", ...more];
    await expectRefusal(cwd, provision("--dir", "ca", "--vault", "v"), "WRONG_PASSPHRASE", 3, { HAWSER_PASSPHRASE: "wrong" });
    await expectRefusal(cwd, provision("--dir", "empty", "--vault", "v"), "NOT_A_CA", 6);
    await expectRefusal(cwd, provision("--dir", "missing", "--vault", "v"), "NOT_A_CA", 6);
    await expectRefusal(cwd, provision("--dir", "ca", "--vault", "missing/v"), "STORAGE_FAILED", 6);
  });

  test("refuses a damaged CA, when one of its files is cut short", async () => {
    const cwd = await withDevice();
    const files = ["ca.json", "crl.pem", "keys/issuing.sealed", "registry/sensor-1.json"];
    for (const file of files) {
      cpSync(join(cwd, "ca"), join(cwd, "damaged"), { recursive: true });
      const path = join(cwd, "damaged", file);
      truncateSync(path, statSync(path).size - 2);
      const { stderr } = await expectRefusal(cwd, ["provision", "--dir", "damaged", "--id", "y", "--vault", "y"], "CA_CORRUPT", 6);
      expect(stderr).toContain(file);
      cpSync(join(cwd, "ca", file), path);
    }
  });
});

describe("a provisioning that is killed", () => {
  // Spread over the time a whole provisioning takes: before, while and after it makes the vault.
  test.each([0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1])("after %f of its time needs no repair", async (share) => {
    const cwd = await directoryWithCa();
    const startedMs = performance.now();
    await json(cwd, "provision", "--dir", "ca", "--id", "first", "--vault", "first");
    const wholeMs = performance.now() - startedMs;
    const provisioning = new RunningCli(["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v"], { cwd, env: ENV });
    await Promise.race([provisioning.ended, new Promise((resolve) => setTimeout(resolve, share * wholeMs))]);
    provisioning.signal("SIGKILL");
    await provisioning.ended;
    await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v", "--replace");
    const [first, device, ...others] = await list(cwd);
    expect([
      first?.state,
      others,
      device?.state,
      device?.certificates.filter(({ status }) => status === "active").map(({ serial }) => serial),
    ]).toEqual(["active", [], "active", [device?.serial]]);
    // Killed before it could lock its directory beside the vault, it may leave that, empty.
    for (const left of readdirSync(cwd).filter((name) => !["ca", "first", "v"].includes(name)))
      expect([left, readdirSync(join(cwd, left))]).toEqual([expect.stringMatching(/^v\.staged-/), []]);
  });
});

describe("issue", () => {
  test("makes the files of a client, the key for its owner alone", async () => {
    const cwd = await directoryWithCa();
    const made = await json<{ serial: string; certificate: string; key: string; ca: string }>(
      cwd,
      "issue",
      "--dir",
      "ca",
      "--name",
      "backend-1",
      "--role",
      "backend",
      "--out",
      "b",
    );
    expect(treeState(join(cwd, "b"))).toEqual({
      "ca.crt.pem": expect.stringMatching(/^644 /) as string,
      "client.crt.pem": expect.stringMatching(/^644 /) as string,
      "client.key.pem": expect.stringMatching(/^600 /) as string,
    });
    expect(statSync(join(cwd, "b")).mode & 0o777).toBe(0o700);
    expect([made.certificate, made.key, made.ca].map((file) => readFileSync(join(cwd, file), "utf8").split("\n")[0])).toEqual([
      "-----BEGIN CERTIFICATE-----",
      "-----BEGIN PRIVATE KEY-----",
      "-----BEGIN CERTIFICATE-----",
    ]);
    expect(await list(cwd)).toEqual([expect.objectContaining({ id: "backend-1", kind: "client", role: "backend", serial: made.serial })]);
    expect(readdirSync(cwd).sort()).toEqual(["b", "ca"]);
  });

  test("refuses names, roles and places that are not free, until told to replace", async () => {
    const cwd = await withDevice();
    const issue = (name: string, role: string, out: string): string[] => [
      "issue",
      "--dir",
      "ca",
      "--name",
      name,
      "--role",
      role,
      "--out",
      out,
    ];
    await expectRefusal(cwd, issue("sensor-1", "backend", "b"), "ID_EXISTS", 5);
    await expectRefusal(cwd, issue("b", "sensor", "b"), "INVALID_ROLE", 2);
    await expectRefusal(cwd, issue("b/c", "backend", "b"), "INVALID_ID", 2);
    await expectRefusal(cwd, issue("b", "backend", "ca"), "OUT_EXISTS", 5);
    await expectRefusal(cwd, [...issue("b", "backend", "ca"), "--replace"], "OUT_EXISTS", 5);
    await expectRefusal(cwd, issue("b", "backend", "missing/b"), "STORAGE_FAILED", 6);
    const first = await json<{ serial: string }>(cwd, ...issue("b", "backend", "b"));
    await expectRefusal(cwd, issue("b", "backend", "b"), "OUT_EXISTS", 5);
    await expectRefusal(cwd, issue("b", "backend", "c"), "ID_EXISTS", 5);
    const second = await json<{ serial: string }>(cwd, ...issue("b", "backend", "b"), "--replace");
    expect((await list(cwd)).find(({ id }) => id === "b")?.certificates.map(({ serial, status }) => [serial, status])).toEqual([
      [first.serial, "superseded"],
      [second.serial, "active"],
    ]);
  });
});

describe("revoke", () => {
  test("finds the name by its certificate or a serial number, also one that was replaced", async () => {
    const cwd = await directoryWithCa();
    for (const more of [[], ["--replace"]])
      await json(cwd, "issue", "--dir", "ca", "--name", "panel", "--role", "operator", "--out", "panel", ...more);
    const [panel] = (await json(cwd, "list", "--dir", "ca")) as unknown as { certificates: { serial: string; status: string }[] }[];
    const old = panel?.certificates.find(({ status }) => status !== "active")?.serial ?? "";
    const args = ["revoke", "--dir", "ca"];
    const run = (...more: string[]): ReturnType<typeof hawser> => hawser([...args, ...more], { cwd, env: ENV });
    expect(await run("--serial", "00")).toMatchObject({ code: 6, stderr: expect.stringMatching(/^error UNKNOWN_ID: /) as string });
    expect(await run("--serial", "xyz")).toMatchObject({ code: 2 });
    expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining("give one of --id") as string });
    expect(await run("--id", "panel", "--serial", old)).toMatchObject({ code: 2 });
    expect(await run("--certificate", "ca/ca.json")).toMatchObject({ code: 3 });
    const spelled = (old.length % 2 === 0 ? old : `0${old}`).toUpperCase().match(/../g)?.join(":") ?? "";
    expect(await json(cwd, ...args, "--serial", spelled)).toMatchObject({ id: "panel", state: "revoked" });
    expect(await json(cwd, ...args, "--certificate", "panel/client.crt.pem")).toMatchObject({ id: "panel", state: "revoked" });
  });

  test("shuts a device out, with the reason asked for", async () => {
    const cwd = await withDevice();
    const [device] = await list(cwd);
    const revoked = await json(cwd, "revoke", "--dir", "ca", "--id", "sensor-1", "--reason", "keyCompromise");
    expect(revoked).toEqual({ id: "sensor-1", state: "revoked", reason: "keyCompromise", revoked: [device?.serial], brokers: [] });
    expect(await list(cwd)).toEqual([
      expect.objectContaining({
        state: "revoked",
        certificates: [expect.objectContaining({ status: "revoked", reason: "keyCompromise" })],
      }),
    ]);
  });

  test("leaves the way to recovery open with --certificate-only", async () => {
    const cwd = await withDevice();
    expect(await json(cwd, "revoke", "--dir", "ca", "--id", "sensor-1", "--certificate-only")).toMatchObject({
      state: "certificate-revoked",
    });
    expect((await list(cwd))[0]).toMatchObject({ state: "certificate-revoked" });
  });

  test("refuses an unknown id, an unknown reason, a wrong passphrase and a directory that is no CA", async () => {
    const cwd = await withDevice();
    await expectRefusal(cwd, ["revoke", "--dir", "ca", "--id", "nobody"], "UNKNOWN_ID", 6);
    await expectRefusal(cwd, ["revoke", "--dir", "ca", "--id", "sensor-1", "--reason", "boredom"], "INVALID_REASON", 2);
    await expectRefusal(cwd, ["revoke", "--dir", "ca", "--id", "sensor-1"], "WRONG_PASSPHRASE", 3, { HAWSER_PASSPHRASE: "wrong" });
    await expectRefusal(cwd, ["revoke", "--dir", "v", "--id", "sensor-1"], "NOT_A_CA", 6);
  });
});

describe("list", () => {
  test("shows a table to people, without a passphrase", async () => {
    const cwd = await withDevice();
    const { code, stdout } = await hawser(["list", "--dir", "ca"], { cwd });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^ID +KIND +ROLE +STATE +SERIAL +EXPIRES\nsensor-1 +device +sensor +active +[0-9a-f]{8}\.\. +\d{4}-\d\d-\d\d\n$/,
    );
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("refuses a directory that is no CA", async () => {
    await expectRefusal(temporaryDirectory(), ["list", "--dir", "."], "NOT_A_CA", 6, {});
  });
});

describe("broker config", () => {
  test("writes a configuration that every later change keeps up to date", async () => {
    const cwd = await withDevice();
    const made = await json<{ config: string; files: string[] }>(
      cwd,
      "broker",
      "config",
      "--dir",
      "ca",
      "--for",
      "mosquitto",
      "--out",
      "m",
      "--mtls-port",
      "18883",
      "--psk-port",
      "18884",
    );
    expect(made.config).toBe(join(cwd, "m/mosquitto.conf"));
    const psk = readFileSync(join(cwd, "m/psk.txt"), "utf8");
    expect(psk).toContain("sensor-1:");
    const revoke = await hawser(["revoke", "--dir", "ca", "--id", "sensor-1", "--json"], { cwd, env: ENV });
    // No broker runs with it: what holds is told, and what could not be proved ends the command with another code than 0.
    expect([revoke.code, JSON.parse(revoke.stdout)]).toMatchObject([
      4,
      {
        state: "revoked",
        brokers: [{ broker: join(cwd, "m"), filesLoaded: false, sessionsEnded: [], problem: { code: "OUTPUT_UNPROVED" } }],
      },
    ]);
    expect(JSON.parse(revoke.stderr)).toMatchObject({
      error: { code: "OUTPUT_FAILED", next: expect.stringContaining("hawser broker sync") },
    });
    expect(readFileSync(join(cwd, "m/psk.txt"), "utf8")).not.toContain("sensor-1:");
    for (const [file, state] of Object.entries(treeState(join(cwd, "m"))))
      expect([file, state]).toEqual([file, expect.stringMatching(/^(directory 700|600 )/)]);
  });

  test("refuses a place that holds something else, and two ports that are one", async () => {
    const cwd = await withDevice();
    const config = (out: string, mtls: string, psk: string): string[] => [
      "broker",
      "config",
      "--dir",
      "ca",
      "--for",
      "mosquitto",
      "--out",
      out,
      "--mtls-port",
      mtls,
      "--psk-port",
      psk,
    ];
    await expectRefusal(cwd, config("v", "18883", "18884"), "OUT_EXISTS", 5);
    await expectRefusal(cwd, config("m", "18883", "18883"), "BAD_PORT", 2);
    await expectRefusal(temporaryDirectory(), config("m", "18883", "18884"), "NOT_A_CA", 6);
  });
});

test("broker config opens a separate listener for backends, and names its port", async () => {
  const cwd = await directoryWithCa();
  const ports = ["--mtls-port", "18883", "--psk-port", "18884", "--backend-port", "18885"];
  const { stdout } = await hawser(["broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "m", ...ports], { cwd, env: ENV });
  expect(stdout).toContain("certificates on port 18883 (devices) and 18885 (all others), pre-shared keys on port 18884.");
  expect(readFileSync(join(cwd, "m/mosquitto.conf"), "utf8")).toMatch(/^listener 18885$/m);
});

describe("secrets", () => {
  test("are in no output, no registry and no file that others may read", async () => {
    const cwd = await directoryWithCa();
    const outputs: string[] = [];
    const run = async (...args: string[]): Promise<void> => {
      const { stdout, stderr } = await hawser(args, { cwd, env: { ...ENV, HAWSER_DEBUG: "1" } });
      outputs.push(stdout, stderr);
    };
    await run("provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
    await run("provision", "--dir", "ca", "--id", "sensor-1", "--vault", "w");
    await run("issue", "--dir", "ca", "--name", "b", "--role", "backend", "--out", "b");
    await run("broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "m", "--mtls-port", "18883", "--psk-port", "18884");
    await run("list", "--dir", "ca", "--json");
    await run("revoke", "--dir", "ca", "--id", "nobody");
    const keyText = (file: string): string => readFileSync(join(cwd, file), "utf8").split("\n")[1] ?? "";
    const psk = /sensor-1:([0-9a-f]{32,})/.exec(readFileSync(join(cwd, "m/psk.txt"), "utf8"))?.[1] ?? "";
    const secrets = [PASSPHRASE, psk, keyText("b/client.key.pem"), keyText("m/broker.key.pem")];
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(20);
    for (const text of outputs) for (const secret of secrets) expect(text).not.toContain(secret);
    for (const [file, state] of Object.entries(treeState(cwd))) {
      if (state.startsWith("directory") || state.startsWith("600 ")) continue;
      const content = readFileSync(join(cwd, file), "utf8");
      for (const secret of secrets) expect([file, content.includes(secret)]).toEqual([file, false]);
    }
    const registry = readFileSync(join(cwd, "ca/registry/sensor-1.json"), "utf8") + readFileSync(join(cwd, "ca/audit.jsonl"), "utf8");
    for (const secret of [...secrets, Buffer.from(psk, "hex").toString("base64")]) expect(registry).not.toContain(secret);
  });
});
