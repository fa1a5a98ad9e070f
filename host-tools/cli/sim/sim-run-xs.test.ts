/** `hawser sim run --engine xs`, as its users run it, against a real mosquitto: one vault, two engines. */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildHost } from "../../../sim/xs/host-build.js";
import { nativeParts } from "../../../sim/xs/native-parts.js";
import { buildCli, CLI, hawser, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { ENV, json, makeCa, PASSPHRASE, runningBroker, url, Watcher } from "../../../test/support/host-tools/test-fleet.js";
import type { Ports } from "../../../test/support/host-tools/test-fleet.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

const BUILD_MS = 600_000;
/** Many processes, each with a start of its own: a bound on liveness for machines that are busy. */
const LIVENESS_MS = 180_000;

interface Place extends Ports {
  readonly vault: string;
}

let cwd: string;
let authority: RunningCli;
/** A device for the life of an identity, and one for the ends of a process. */
let first: Place;
let second: Place;
const running: (() => unknown)[] = [];

/** One CA, broker and authority for all tests. */
beforeAll(async () => {
  await buildCli();
  await buildHost({ bits: 64, native: await nativeParts(64, { keys: "store" }) });
  cwd = mkdtempSync(join(tmpdir(), "hawser-xs-cli-"));
  await makeCa(cwd);
  const atEnd = (end: () => Promise<void>): void => void running.push(end);
  for (const n of [1, 2]) {
    const args = ["provision", "--dir", "ca", "--id", `sensor-${n}`, "--vault", `v${n}`, "--json"];
    expect(await hawser(args, { cwd, env: ENV, atEnd })).toMatchObject({ code: 0, stderr: "" });
  }
  const { mtlsPort, pskPort } = await runningBroker(cwd, "mosquitto", undefined, { atEnd });
  authority = new RunningCli(["authority", "--dir", "ca", "--url", url(mtlsPort)], { cwd, env: ENV, atEnd });
  await authority.waitFor("connected");
  first = { mtlsPort, pskPort, vault: "v1" };
  second = { ...first, vault: "v2" };
}, BUILD_MS);
afterAll(async () => {
  for (const end of running.reverse()) await end();
  removeDirectory(cwd);
});

const command = ({ mtlsPort, pskPort, vault }: Place, engine: string, ...more: string[]): string[] => {
  return [
    "sim",
    "run",
    "--vault",
    vault,
    "--engine",
    engine,
    "--url",
    url(mtlsPort),
    "--psk-url",
    url(pskPort),
    "--publish-every",
    "100ms",
    "--retry-cap",
    "2s",
    ...more,
  ];
};

async function ends(cli: RunningCli): Promise<void> {
  const { code, stdout, stderr } = await cli.ended;
  expect({ code, stderr, last: cli.events.at(-1)?.["event"] }).toEqual({ code: 0, stderr: "", last: "stopped" });
  for (const secret of [PASSPHRASE, "PRIVATE KEY"]) expect(stdout).not.toContain(secret);
}

/** Serial of the certificate a short run connects with. */
async function serialOn(engine: string, place: Place): Promise<unknown> {
  const run = new RunningCli(command(place, engine, "--count", "2"), { cwd, env: ENV });
  const { serial } = await run.waitFor("connected", ({ credential }) => credential === "mtls");
  await ends(run);
  return serial;
}

/** The bundler's process is a child, too. */
function engineOf(pid: number): string {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return children.find((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("hawser-xs"))!;
}

async function gone(pid: string): Promise<void> {
  while (existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8")))
    await new Promise((resolve) => setImmediate(resolve));
}

describe("sim run --engine xs", { timeout: LIVENESS_MS }, () => {
  test("publishes, answers, rotates and recovers, and each engine goes on with the identity the other one left", async () => {
    const watcher = await Watcher.start(cwd, "operator-1", first.mtlsPort);
    const device = new RunningCli(command(first, "xs"), { cwd, env: ENV });
    const start = await device.waitFor("connected");
    expect(start).toMatchObject({ credential: "mtls", tlsVersion: "TLSv1.3", protocolVersion: 5 });
    expect(await device.waitFor("published", ({ n }) => n === 2)).toMatchObject({ topic: "devices/sensor-1/up/temperature" });
    await watcher.waitFor(({ topic, text }) => topic === "devices/sensor-1/up/temperature" && (JSON.parse(text) as { n: number }).n === 2);
    await watcher.send("devices/sensor-1/down/ping", "are you there?");
    expect(await device.waitFor("message")).toMatchObject({ topic: "devices/sensor-1/down/ping", payload: "are you there?" });
    expect(await watcher.waitFor(({ topic }) => topic === "devices/sensor-1/up/pong")).toMatchObject({ text: "are you there?" });

    device.signal("SIGUSR1");
    const renewed = await device.waitFor("renewed");
    expect(renewed).toMatchObject({ oldSerial: start["serial"] });
    await authority.waitFor("active", ({ serial }) => serial === renewed["newSerial"]);
    device.signal("SIGINT");
    await ends(device);
    expect(await serialOn("xs", first)).toBe(renewed["newSerial"]);

    const onNode = new RunningCli(command(first, "node"), { cwd, env: ENV });
    expect(await onNode.waitFor("connected")).toMatchObject({ serial: renewed["newSerial"] });
    onNode.signal("SIGUSR1");
    const { newSerial } = await onNode.waitFor("renewed");
    await authority.waitFor("active", ({ serial }) => serial === newSerial);
    onNode.signal("SIGTERM");
    await ends(onNode);
    expect(await serialOn("xs", first)).toBe(newSerial);

    await json(cwd, "revoke", "--dir", "ca", "--id", "sensor-1", "--certificate-only");
    const revoked = new RunningCli(command(first, "xs"), { cwd, env: ENV });
    await revoked.waitFor("credential-changed", ({ to, code }) => to === "psk" && code === "CERTIFICATE_REVOKED");
    const recovered = await revoked.waitFor("recovered");
    revoked.signal("SIGTERM");
    await ends(revoked);
    expect(await serialOn("node", first)).toBe(recovered["serial"]);
  });

  test("leaves no engine, no lock and a whole vault when it is killed, in a rotation too", async () => {
    const files = readdirSync(join(cwd, second.vault));
    for (const moment of ["published", "renewing", "pending"]) {
      const device = new RunningCli(command(second, "xs"), { cwd, env: ENV });
      await device.waitFor("published");
      const engine = engineOf(device.pid);
      // Its program is among its arguments.
      const bundle = readFileSync(`/proc/${engine}/cmdline`, "utf8")
        .split("\0")
        .find((word) => word.endsWith("program.mjs"))!;
      expect(existsSync(dirname(bundle))).toBe(false);
      if (moment !== "published") device.signal("SIGUSR1");
      await device.waitFor(moment);
      device.signal("SIGKILL");
      await device.ended;
      await gone(engine);
      const next = await hawser([...command(second, "xs", "--count", "2"), "--json"], { cwd, env: ENV });
      expect([next.code, next.stderr]).toEqual([0, ""]);
      expect(next.stdout).toMatch(/"event":"connected","credential":"mtls"/);
    }
    expect(readdirSync(join(cwd, second.vault)).filter((name) => name !== "lock")).toEqual(files.filter((name) => name !== "lock"));
  });

  test("stopped before its count is reached has not succeeded", async () => {
    const device = new RunningCli(command(second, "xs", "--count", "1000"), { cwd, env: ENV });
    await device.waitFor("published", ({ n }) => n === 2);
    device.signal("SIGTERM");
    const { code, stderr } = await device.ended;
    expect([code, JSON.parse(stderr)]).toEqual([
      130,
      { error: expect.objectContaining({ code: "INTERRUPTED", message: expect.stringMatching(/ of 1000 /) as string }) as unknown },
    ]);
    expect(device.events.at(-1)?.["event"]).toBe("stopped");
  });

  test("says so when the engine ends by itself", async () => {
    const device = new RunningCli(command(second, "xs"), { cwd, env: ENV });
    await device.waitFor("published");
    process.kill(Number(engineOf(device.pid)), "SIGKILL");
    const { code, stderr } = await device.ended;
    expect([code, JSON.parse(stderr)]).toEqual([1, expect.objectContaining({ error: expect.objectContaining({ code: "XS_ENDED" }) })]);
    expect(await serialOn("node", second)).toBeDefined();
  });

  test.each([
    ["a line on stderr", [], "errors", /^starting the XS engine: at first use it is built, [^\n]+\nerror MBEDTLS_MISSING: /],
    ["an event with --json", ["--json"], "output", /^\{"time":"[^"]+","event":"preparing","what":"starting the XS engine: [^"]+"\}\n/],
  ] as const)("tells a log by %s that the engine is not there at once", async (_how, flags, file, told) => {
    const there = temporaryDirectory();
    // A compiler that takes until something was told, and then fails.
    mkdirSync(join(there, "bin"));
    writeFileSync(
      join(there, "bin", "gcc"),
      `#!/bin/sh\nfor _ in $(seq 600); do [ -s ${join(there, file)} ] && exit 1; sleep 0.1; done\n`,
      {
        mode: 0o755,
      },
    );
    const [output, errors] = ["output", "errors"].map((name) => openSync(join(there, name), "w"));
    const args = [CLI, ...command({ ...second, mtlsPort: 1, pskPort: 2 }, "xs", ...flags)];
    const { status } = spawnSync(process.execPath, args, {
      cwd,
      env: { ...ENV, PATH: `${join(there, "bin")}:${process.env["PATH"] ?? ""}` },
      stdio: ["ignore", output, errors],
    });
    for (const open of [output, errors]) closeSync(open!);
    expect([status, readFileSync(join(there, file), "utf8")]).toEqual([1, expect.stringMatching(told)]);
  });

  test("ends as on Node with a wrong passphrase, a refused connection and an unknown engine", async () => {
    const nobody = { ...second, mtlsPort: 1, pskPort: 2 };
    const refused = async (engine: string, env: Readonly<Record<string, string>>): Promise<[number | null, string | undefined]> => {
      const { code, stderr } = await hawser(command(nobody, engine, "--connect-timeout", "1s"), { cwd, env });
      return [code, /^error (\w+):/m.exec(stderr)?.[1]];
    };
    for (const env of [{ HAWSER_PASSPHRASE: "wrong" }, ENV]) {
      const [onNode, onXs] = [await refused("node", env), await refused("xs", env)];
      expect([onXs, onXs[1]]).toEqual([onNode, expect.any(String)]);
    }
    expect((await refused("jsc", ENV))[0]).toBe(2);
  });
});
