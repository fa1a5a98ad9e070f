/**
 * A fleet on several machines: workers in network namespaces of their own, hired over a real nats-server with TLS and a token, against a
 * real mosquitto over mutual TLS.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openCa } from "../../ca/certificate-authority.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { startMosquitto, type RunningMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { connectBus } from "../../../sim/fleet/remote/fleet-bus.js";
import { block } from "../../../test/end-to-end/readme-blocks.js";
import { NatsServer } from "../../../test/support/host-tools/nats-server.js";
import { buildCli, CLI, hawser, RunningCli, type EventLine } from "../../../test/support/host-tools/test-cli.js";
import { ENV, makeCa, PASSPHRASE } from "../../../test/support/host-tools/test-fleet.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stdout.write("A fleet on several machines is not tested: network namespaces need root.\n");

/** Of this process, so that two runs do not meet. */
const TAG = process.pid % 250;
const NET = `10.${TAG}.77`;
const HERE = `${NET}.1`;
const BRIDGE = `hwf${TAG}`;
const namespace = (n: number): string => `hawser-fleet-${TAG}-${n}`;
const MACHINES = [1, 2, 3];
const LIVENESS_MS = 300_000;

const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });

let cwd: string;
let port: number;
let nats: NatsServer;
let mosquitto: RunningMosquitto;
const ends: (() => unknown)[] = [];

/** `hawser sim fleet-worker` in a network namespace. */
class Worker {
  readonly events: EventLine[] = [];
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(n: number, ...more: string[]) {
    const args = [...documented("fleet-worker"), "--workers", "1", "--json", ...more];
    this.#child = spawn("ip", ["netns", "exec", namespace(n), process.execPath, CLI, ...args], {
      cwd,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.exited = new Promise((resolve) => this.#child.once("exit", resolve));
    onTestFinished(() => this.kill());
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.events.push(JSON.parse(line) as EventLine);
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The first event that fits, past or to come. */
  waitFor(type: string): Promise<EventLine> {
    return new Promise((resolve, reject) => {
      void this.exited.then(() => reject(new Error(`the worker ended before "${type}": ${JSON.stringify(this.events)}`)));
      const look = (): void => {
        const found = this.events.find(({ event }) => event === type);
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}

/** A command of docs/testing.md, here. */
function documented(name: string): string[] {
  const places = { "nats.example.com:4222": `${HERE}:${nats.port}`, "broker.example.com:8883": `${HERE}:${port}` };
  const files = { "nats.crt": nats.caFile, "nats.token": nats.tokenFile };
  const [, ...words] = block(name, "docs/testing.md").replaceAll("\\", "").trim().split(/\s+/);
  return words.map((word) => Object.entries({ ...places, ...files }).reduce((text, [from, to]) => text.replace(from, to), word));
}

const fleet = (devices: number, machines: number, ...more: string[]): string[] => [
  ...documented("fleet-coordinator"),
  ...["--devices", String(devices), "--machines", String(machines)],
  ...["--qos", "mixed", "--publish-every", "300ms", "--commands", "5", "--start-rate", "50"],
  ...more,
];

interface Result {
  readonly checks: readonly { readonly name: string; readonly passed: boolean; readonly detail: string }[];
  readonly devices: number;
  readonly workers: number;
  readonly messages: { readonly accepted: Readonly<Record<string, number>>; readonly delivered: number; readonly faultCount: number };
  readonly connecting: { readonly count: number; readonly p99Ms: number };
  readonly connections: { readonly most: number; readonly accepted: number };
}
const read = (file: string): Result => JSON.parse(readFileSync(join(cwd, file), "utf8")) as Result;

beforeAll(async () => {
  if (!isRoot) return;
  await buildCli();
  cwd = mkdtempSync(join(tmpdir(), "hawser-machines-"));
  ip("link", "add", BRIDGE, "type", "bridge");
  ip("address", "add", `${HERE}/24`, "dev", BRIDGE);
  ip("link", "set", BRIDGE, "up");
  ends.push(() => ip("link", "delete", BRIDGE));
  for (const n of MACHINES) {
    ip("netns", "add", namespace(n));
    ends.push(() => ip("netns", "delete", namespace(n)));
    ip("link", "add", `${BRIDGE}-${n}`, "type", "veth", "peer", "name", "inner", "netns", namespace(n));
    ip("link", "set", `${BRIDGE}-${n}`, "master", BRIDGE);
    ip("link", "set", `${BRIDGE}-${n}`, "up");
    ip("-n", namespace(n), "address", "add", `${NET}.${n + 1}/24`, "dev", "inner");
    ip("-n", namespace(n), "link", "set", "inner", "up");
    ip("-n", namespace(n), "link", "set", "lo", "up");
  }
  nats = await NatsServer.start(cwd, HERE);
  ends.push(() => nats.stop());
  await makeCa(cwd, { brokerHosts: [HERE, "localhost"] });
  const ca = await openCa(join(cwd, "ca"), PASSPHRASE, { onOutput: ({ changed }) => changed.length > 0 && mosquitto.reload() });
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  port = mtlsPort;
  const out = join(cwd, "broker");
  const { configFile } = await ca.writeBrokerConfig({
    engine: "mosquitto",
    out,
    mtlsPort,
    pskPort,
    bind: HERE,
    reach: HERE,
    user: userInfo().username,
  });
  mosquitto = await startMosquitto({ configFile, ports: [], startTimeoutMs: 60_000 });
  ends.push(() => mosquitto.kill());
}, LIVENESS_MS);
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  if (isRoot) removeDirectory(cwd);
});

describe.runIf(isRoot)("a fleet on several machines", { timeout: LIVENESS_MS }, () => {
  it("settles every message of all of them together, and sends no key over NATS", async () => {
    const heard: string[] = [];
    const url = { host: HERE, port: nats.port, isTls: true };
    const spy = await connectBus({ url, name: "spy", caPem: readFileSync(nats.caFile, "utf8"), credentials: nats.token });
    spy.subscribe(">", (data) => void heard.push(Buffer.from(data).toString("latin1")));
    const workers = [new Worker(1, "--once"), new Worker(2, "--once", "--devices-at-most", "8")];
    const { code, stderr } = await hawser(
      fleet(24, 2, "--duration", "8s", "--result", "r.json", "--junit", "r.xml", "--html", "r.html", "--json"),
      {
        cwd,
        env: ENV,
      },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { messages, connections, connecting, devices, checks, workers: processes } = read("r.json");
    expect({ devices, processes, most: connections.most, faults: messages.faultCount }).toEqual({
      devices: 24,
      processes: 2,
      most: 24,
      faults: 0,
    });
    expect(checks.map(({ name, passed }) => [name, passed])).toEqual([
      ["every accepted message is delivered", true],
      ["every command is answered", true],
      ["every device comes online", true],
    ]);
    expect(messages.delivered).toBeGreaterThan(24 * 10);
    // Merged of both: each attempt of each device is in it.
    expect(connecting.count).toBe(connections.accepted);
    expect(readFileSync(join(cwd, "r.xml"), "utf8")).toContain("<testsuite");
    // Shared out as far as each takes them.
    expect(await Promise.all(workers.map(async (worker) => (await worker.waitFor("let-go"))["devices"]))).toEqual([16, 8]);
    await Promise.all(workers.map((worker) => worker.exited));

    await spy.close();
    const all = heard.join("\n");
    expect(all).toContain('"kind":"requests"');
    const secrets = [...all.matchAll(/"([A-Za-z0-9+/=]{40,})"/g)].map(([, text = ""]) => Buffer.from(text, "base64").toString("latin1"));
    // Of a P-256 key in PKCS#8, and of one by itself.
    for (const mark of ["020100301306072a8648ce3d0201", "0201010420"].map((hex) => Buffer.from(hex, "hex").toString("latin1")))
      for (const text of [all, ...secrets]) expect(text.includes(mark)).toBe(false);
    expect(all).not.toMatch(/PRIVATE KEY|"keys":\{"|"kept":\[\{/);
    const listed = await hawser(["list", "--dir", "ca", "--json"], { cwd, env: ENV });
    expect(listed.stdout).not.toMatch(/"state":"active"[^}]*fleet-1"|"id":"fleet-1"[^}]*"state":"active"/);
  });

  it("names a machine that dies, misses its devices, and still settles those of the others", async () => {
    const workers = [new Worker(1), new Worker(2), new Worker(3)];
    const ids = await Promise.all(workers.map(async (worker) => String((await worker.waitFor("offering"))["machine"])));
    const run = new RunningCli(fleet(24, 3, "--ids", "other-{n}", "--duration", "15s", "--drain", "30s", "--result", "dead.json"), {
      cwd,
      env: ENV,
    });
    await run.waitFor("progress", ({ connected }) => connected === 24);
    await workers[1]?.kill();
    // What is online is told without it, once it is missed.
    await run.waitFor("progress", ({ connected }) => connected === 16);
    const { code, stderr } = await run.ended;
    expect([code, JSON.parse(stderr)]).toMatchObject([
      1,
      { error: { code: "FLEET_FAILED", message: expect.stringContaining("every worker lives to the end") as string } },
    ]);
    const { checks, messages } = read("dead.json");
    const told = checks.find(({ name }) => name === "every worker lives to the end")?.detail;
    expect(told).toMatch(
      new RegExp(
        `^worker 0 on \\S+ \\(${ids[1] ?? ""}\\): .*no sign of its machine for 10 s.*; its 8 devices \\(other-\\d+\\.\\.\\.\\) are missing`,
      ),
    );
    expect([messages.faultCount, messages.delivered > 0]).toEqual([0, true]);
    // The others are free again.
    for (const worker of [workers[0], workers[2]]) expect(await worker?.waitFor("let-go")).toMatchObject({ devices: 8 });
  });

  it("is refused by a machine whose user named another broker", async () => {
    const worker = new Worker(1, "--url", `mqtts://${HERE}:1`);
    await worker.waitFor("offering");
    const { code, stderr } = await hawser([...fleet(2, 1, "--ids", "third-{n}", "--duration", "5s"), "--json"], { cwd, env: ENV });
    const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
    expect([code, error.code, error.message]).toEqual([
      1,
      "FLEET_WORKER_FAILED",
      expect.stringContaining(`it connects to ${HERE}:1 alone, not to ${HERE}:${port}`),
    ]);
    expect(await worker.waitFor("refused")).toMatchObject({ why: expect.stringContaining("alone") as string });
  });

  it("says how many machines offered themselves when there are too few, or too small", async () => {
    const worker = new Worker(1, "--devices-at-most", "3");
    await worker.waitFor("offering");
    const failing = async (...args: string[]): Promise<unknown> => {
      const { code, stderr } = await hawser([...args, "--json"], { cwd, env: ENV });
      return [code, (JSON.parse(stderr) as { error: { code: string; message: string } }).error];
    };
    expect(await failing(...fleet(2, 2, "--machines-wait", "3s"))).toMatchObject([
      4,
      {
        code: "FLEET_MACHINES_MISSING",
        message: expect.stringMatching(/: 1 of 2 machines offered themselves: \S+ \(3 devices\)$/) as string,
      },
    ]);
    expect(await failing(...fleet(4, 1))).toMatchObject([
      4,
      { code: "FLEET_MACHINES_MISSING", message: expect.stringContaining("take 3 devices, and there are 4") as string },
    ]);
  });

  it("takes nobody without the token, and no server that the CA does not know", async () => {
    writeFileSync(join(cwd, "wrong.token"), "wrong\n", { mode: 0o600 });
    writeFileSync(join(cwd, "open.token"), nats.token, { mode: 0o644 });
    const worker = ["sim", "fleet-worker", "--nats", `tls://${HERE}:${nats.port}`, "--url", `mqtts://${HERE}:${port}`, "--json"];
    const code = async (...args: string[]): Promise<unknown> => {
      const { stderr } = await hawser([...worker, ...args], { cwd, env: ENV });
      return (JSON.parse(stderr) as { error: { code: string } }).error.code;
    };
    expect(await code("--nats-ca", nats.caFile, "--nats-credentials", "wrong.token")).toBe("NATS_UNREACHABLE");
    expect(await code("--nats-ca", nats.caFile)).toBe("NATS_UNREACHABLE");
    expect(await code("--nats-credentials", nats.tokenFile)).toBe("NATS_UNREACHABLE");
    expect(await code("--nats-ca", nats.caFile, "--nats-credentials", "open.token")).toBe("PASSPHRASE_FILE_EXPOSED");
  });
});
