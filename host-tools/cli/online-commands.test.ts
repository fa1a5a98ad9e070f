import { exec } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../sim/brokers/free-port.js";
import { block } from "../../test/end-to-end/readme-blocks.js";
import { buildCli, hawser, RunningCli, treeState } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE, runningBroker, url, Watcher } from "../../test/support/host-tools/test-fleet.js";
import type { Ports } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const TOPIC = "devices/sensor-1/up/temperature";

/** A device's own patience is made for fleets and hours. */
const IMPATIENT = ["--recovery-patience", "500ms", "--retry-cap", "2s"];

function simulatedDevice(cwd: string, { mtlsPort, pskPort }: Ports, ...more: string[]): RunningCli {
  return new RunningCli(
    ["sim", "run", "--vault", "v", "--url", url(mtlsPort), "--psk-url", url(pskPort), "--publish-every", "100ms", ...IMPATIENT, ...more],
    { cwd, env: ENV },
  );
}

async function withDevice(): Promise<string> {
  const cwd = await directoryWithCa();
  await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
  return cwd;
}

async function endsWell(cli: RunningCli, signal: NodeJS.Signals): Promise<void> {
  cli.signal(signal);
  const { code, stderr } = await cli.ended;
  expect({ code, stderr, last: cli.events.at(-1)?.["event"] }).toEqual({ code: 0, stderr: "", last: "stopped" });
}

/** Numbers of the readings that came, without those that came twice. */
function numbers(watcher: Watcher): number[] {
  const found = watcher.seen.filter(({ topic }) => topic === TOPIC).map(({ text }) => (JSON.parse(text) as { n: number }).n);
  return [...new Set(found)].sort((a, b) => a - b);
}

/** Many processes, each with a start of its own: a bound on liveness for machines that are busy. */
const LIVENESS_MS = 180_000;

describe.each(["embedded", "mosquitto"] as const)("with the %s broker", { timeout: LIVENESS_MS }, (engine) => {
  test("a device publishes, answers, rotates, recovers and is shut out", async () => {
    const cwd = await withDevice();
    const { broker, ...ports } = await runningBroker(cwd, engine);
    const service = ["authority", "--dir", "ca", "--url", url(ports.mtlsPort), "--crl-port", "0", "--ocsp"];
    const authority = new RunningCli(service, { cwd, env: ENV });
    await authority.waitFor("connected");
    const lists = (await authority.waitFor("crl-ready")) as { port?: number; paths?: readonly string[] };
    expect((await fetch(`http://127.0.0.1:${lists.port}${lists.paths?.[0]}`)).headers.get("content-type")).toBe("application/pkix-crl");
    const watcher = await Watcher.start(cwd, "operator-1", ports.mtlsPort);
    const question = block("ca-ocsp", "docs/ca-lists.md").replace("8880", String(lists.port)).replaceAll("plant-9", "ca");
    const { stdout, stderr } = await promisify(exec)(question.replaceAll("erp/", "operator-1/"), { cwd });
    expect(stderr + stdout).toMatch(/Response verify OK[\s\S]*client\.crt\.pem: good/);

    const device = simulatedDevice(cwd, ports);
    const first = await device.waitFor("connected");
    expect(first).toMatchObject({ credential: "mtls" });
    await device.waitFor("published", ({ n }) => n === 2);
    await watcher.waitFor(({ topic, text }) => topic === TOPIC && (JSON.parse(text) as { n: number }).n === 2);
    await watcher.send("devices/sensor-1/down/ping", "are you there?");
    expect(await device.waitFor("message")).toMatchObject({ topic: "devices/sensor-1/down/ping", payload: "are you there?" });
    expect(await watcher.waitFor(({ topic }) => topic === "devices/sensor-1/up/pong")).toMatchObject({ text: "are you there?" });

    device.signal("SIGUSR1");
    const renewed = await device.waitFor("renewed");
    expect(renewed).toMatchObject({ oldSerial: first["serial"] });
    expect(renewed["newSerial"]).not.toBe(first["serial"]);
    expect(await authority.waitFor("active")).toMatchObject({ id: "sensor-1", serial: renewed["newSerial"], retired: [first["serial"]] });

    await json(cwd, "revoke", "--dir", "ca", "--id", "sensor-1", "--certificate-only");
    await device.waitFor("credential-changed", ({ to }) => to === "psk");
    expect(await device.waitFor("connected", ({ credential }) => credential === "psk")).toBeDefined();
    const recovered = await device.waitFor("recovered");
    const before = device.events.indexOf(recovered);
    await device.waitFor("published", (event) => device.events.indexOf(event) > before);
    const listed = await json<{ id: string }[]>(cwd, "list", "--dir", "ca");
    expect(listed.find(({ id }) => id === "sensor-1")).toMatchObject({ state: "active", serial: recovered["serial"] });

    await json(cwd, "revoke", "--dir", "ca", "--id", "sensor-1");
    await device.waitFor("disconnected", ({ code, credential }) => credential === "psk" && code === "PSK_REJECTED");
    await endsWell(device, "SIGINT");
    const late = await hawser(["sim", "run", "--vault", "v", "--url", url(ports.mtlsPort), "--psk-url", url(ports.pskPort), ...IMPATIENT], {
      cwd,
      env: ENV,
    });
    expect([late.code, late.stderr]).toEqual([3, expect.stringMatching(/^error PSK_REJECTED: /)]);
    await endsWell(authority, "SIGTERM");
    await endsWell(broker, "SIGTERM");
    for (const { stdout, stderr } of await Promise.all([device.ended, authority.ended, broker.ended])) {
      for (const secret of [PASSPHRASE, "PRIVATE KEY"]) expect(stdout + stderr).not.toContain(secret);
    }
  });

  test("no reading is lost when the broker dies and comes back", async () => {
    const cwd = await withDevice();
    const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
    const ports = { mtlsPort, pskPort };
    const { broker } = await runningBroker(cwd, engine, ports);
    const device = simulatedDevice(cwd, ports, "--count", "20");
    await device.waitFor("published", ({ n }) => n === 3);
    broker.signal("SIGKILL");
    await broker.ended;
    await device.waitFor("retrying");
    const { broker: successor } = await runningBroker(cwd, engine, ports);
    const { code } = await device.ended;
    expect(code).toBe(0);
    expect(device.events.filter(({ event }) => event === "published").map(({ n }) => n)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    await endsWell(successor, "SIGINT");
  });

  test("a port in use ends with one line, and nothing changes on disk", async () => {
    const cwd = await withDevice();
    const port = await occupiedPort();
    const before = treeState(cwd);
    const { code, stdout, stderr } = await hawser(
      ["broker", "run", "--dir", "ca", "--engine", engine, "--mtls-port", String(port), "--psk-port", "0"],
      { cwd, env: ENV },
    );
    expect([code, stdout, stderr]).toEqual([4, "", expect.stringMatching(/^error PORT_IN_USE: [^\n]+ Next: [^\n]+\n$/)]);
    expect(treeState(cwd)).toEqual(before);
  });
});

test("what a killed broker on free ports left, its key among it, the next one clears away", async () => {
  const cwd = await directoryWithCa();
  const left = (): string[] => readdirSync(join(cwd, "ca", "brokers")).sort();
  const { broker: killed } = await runningBroker(cwd, "mosquitto");
  const { broker: neighbour } = await runningBroker(cwd, "mosquitto");
  expect(left()).toEqual(["passing-1", "passing-1.lock", "passing-2", "passing-2.lock"]);
  killed.signal("SIGKILL");
  await killed.ended;
  await endsWell(neighbour, "SIGTERM");
  const { broker: successor } = await runningBroker(cwd, "mosquitto");
  expect(left()).toEqual(["passing-1", "passing-1.lock"]);
  await endsWell(successor, "SIGTERM");
  expect(left()).toEqual([]);
});

test("the passphrase is not handed on to mosquitto", async () => {
  const cwd = await directoryWithCa();
  const { broker } = await runningBroker(cwd, "mosquitto");
  const children = readFileSync(`/proc/${broker.pid}/task/${broker.pid}/children`, "utf8").trim().split(" ");
  expect(children).not.toEqual([""]);
  for (const pid of children) expect(readFileSync(`/proc/${pid}/environ`, "utf8")).not.toContain(PASSPHRASE);
  await endsWell(broker, "SIGTERM");
});

test("what a watcher with issued credentials sees is what the device counted", async () => {
  const cwd = await withDevice();
  const { mtlsPort, pskPort } = await runningBroker(cwd, "embedded");
  const watcher = await Watcher.start(cwd, "operator-1", mtlsPort);
  const { code } = await simulatedDevice(cwd, { mtlsPort, pskPort }, "--count", "5").ended;
  expect(code).toBe(0);
  await watcher.waitFor(({ topic, text }) => topic === TOPIC && (JSON.parse(text) as { n: number }).n === 5);
  expect(numbers(watcher)).toEqual([1, 2, 3, 4, 5]);
});

describe("sim run --count", { timeout: LIVENESS_MS }, () => {
  test.each(["SIGINT", "SIGTERM"] as const)(
    "stopped by %s before it is reached says how far it came, and has not succeeded",
    async (signal) => {
      const cwd = await withDevice();
      const { broker, ...ports } = await runningBroker(cwd, "embedded");
      const device = simulatedDevice(cwd, ports, "--count", "1000");
      await device.waitFor("published", ({ n }) => n === 2);
      expect(await interrupted(device, signal)).toMatch(/^stopped after ([2-9]|[1-9]\d+) of 1000 messages were acknowledged$/);
      await endsWell(broker, "SIGTERM");
    },
  );

  test("stopped before it ever connected has not succeeded; without a count that is an end as good as any", async () => {
    const cwd = await withDevice();
    const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
    const waiting = (...more: string[]): RunningCli => simulatedDevice(cwd, { mtlsPort, pskPort }, "--connect-timeout", "0", ...more);
    const counting = waiting("--count", "3");
    await counting.waitFor("retrying");
    expect(await interrupted(counting, "SIGTERM")).toBe("stopped after 0 of 3 messages were acknowledged");
    const endless = waiting();
    await endless.waitFor("retrying");
    await endsWell(endless, "SIGTERM");
  });
});

/** The message of the one error line. */
async function interrupted(cli: RunningCli, signal: NodeJS.Signals): Promise<string> {
  cli.signal(signal);
  const { code, stderr } = await cli.ended;
  const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
  expect({ code, error: error.code, last: cli.events.at(-1)?.["event"] }).toEqual({ code: 130, error: "INTERRUPTED", last: "stopped" });
  return error.message;
}

async function occupiedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
