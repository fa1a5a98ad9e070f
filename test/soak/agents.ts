/**
 * `npm run soak:agents -- [--revocations N]`, as root: three brokers under agents, each in a network namespace of its own, one of them cut
 * off. How long a revoked device's session lives at the brokers that are reached, whether the third is reported each time, and whether it
 * serves anybody who was shut out when it comes back. Ends with 1 when something is not as promised.
 */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { connect } from "mqtt";
import type { MqttClient } from "mqtt";
import { AgentHub } from "../../host-tools/broker-agent/agent-hub.js";
import { makeAgentDirectory } from "../../host-tools/broker-agent/agent-identity.js";
import { pemChain } from "../../host-tools/ca/context.js";
import { RevocationUnproved } from "../../host-tools/ca/revocation-outcome.js";
import type { RevokeOutcome } from "../../host-tools/ca/revocation-outcome.js";
import { provisionDevice, Scene } from "../support/host-tools/scene.js";
import type { TestDevice } from "../support/host-tools/scene.js";
import { percentile } from "./shut-out.js";

const { values } = parseArgs({ options: { revocations: { type: "string", default: "100" } } });
const revocations = Number(values.revocations);

const CLI = join(import.meta.dirname, "../../host-tools/cli/main.js");
const ALONE_MS = 5000;
const [MTLS, PSK] = [8883, 8884];
/** Of this process, so that two runs do not meet. */
const TAG = process.pid % 200;

interface Place {
  readonly namespace: string;
  readonly outside: string;
  readonly inside: string;
  readonly link: string;
}

const places: Place[] = [1, 2, 3].map((n) => ({
  namespace: `hawser-agents-${TAG}-${n}`,
  outside: `10.${50 + TAG}.${n}.1`,
  inside: `10.${50 + TAG}.${n}.2`,
  link: `hwa${TAG}-${n}`,
}));

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}

function makePlace({ namespace, outside, inside, link }: Place): void {
  ip("netns", "add", namespace);
  ip("link", "add", link, "type", "veth", "peer", "name", "inner", "netns", namespace);
  ip("address", "add", `${outside}/30`, "dev", link);
  ip("link", "set", link, "up");
  ip("-n", namespace, "address", "add", `${inside}/30`, "dev", "inner");
  ip("-n", namespace, "link", "set", "inner", "up");
  ip("-n", namespace, "link", "set", "lo", "up");
}

/** Prints what happens and resolves waits for the next event of a name. */
class AgentProcess {
  readonly #child: ChildProcess;
  readonly #waiting: { name: string; resolve: () => void }[] = [];

  constructor(place: Place, home: string, out: string, port: number) {
    const args = ["broker", "agent", "--dir", home, "--authority", `${place.outside}:${port}`, "--out", out];
    this.#child = spawn("ip", ["netns", "exec", place.namespace, process.execPath, CLI, ...args, "--alone", `${ALONE_MS}ms`, "--json"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    if (this.#child.stdout === null) throw new Error("no output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const { event } = JSON.parse(line) as { event: string };
      for (const one of this.#waiting.splice(0)) {
        if (one.name === event) one.resolve();
        else this.#waiting.push(one);
      }
    });
  }

  next(name: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ name, resolve }));
  }

  stop(): Promise<void> {
    const exited = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    this.#child.kill("SIGTERM");
    return exited;
  }
}

const scene = new Scene();
const agents: AgentProcess[] = [];

function clientOf({ id, keyPem, chainPem, trustAnchorPem }: TestDevice, host: string): MqttClient {
  const tls = { key: keyPem, cert: chainPem, ca: trustAnchorPem, checkServerIdentity: () => undefined };
  return scene.client(
    connect({ protocol: "mqtts", host, port: MTLS, protocolVersion: 4, clientId: id, reconnectPeriod: 0, connectTimeout: 2000, ...tls }),
  );
}

function opened(client: MqttClient): Promise<boolean> {
  return new Promise((resolve) => {
    client.once("connect", () => resolve(true));
    client.on("error", () => resolve(false));
    client.once("close", () => resolve(false));
  });
}

async function closedAfter(client: MqttClient, sinceMs: number): Promise<number> {
  await new Promise<void>((resolve) => client.once("close", () => resolve()));
  return performance.now() - sinceMs;
}

try {
  const ca = await scene.ca({}, { onOutput: () => undefined });
  const devices: TestDevice[] = [];
  for (let n = 0; n < revocations + 1; n++) devices.push(await provisionDevice(ca, `dev-${n}`));
  for (const place of places) makePlace(place);
  const homes: string[] = [];
  for (const { inside } of places) {
    const home = scene.directory();
    const { fingerprint } = await makeAgentDirectory(home, pemChain(ca.trustAnchors));
    homes.push(home);
    const agent = { certificate: fingerprint, directory: join(home, "broker") };
    const out = join(scene.directory(), inside);
    await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort: MTLS, pskPort: PSK, reach: inside, agent, user: userInfo().username });
  }
  const brokers = await ca.agentBrokers();
  const hub = await AgentHub.start({
    port: 0,
    identity: await ca.agentHubIdentity(3_600_000),
    brokers: () => brokers,
    onEvent: () => undefined,
  });
  for (const [n, place] of places.entries()) {
    const agent = new AgentProcess(place, homes[n] ?? "", join(homes[n] ?? "", "broker"), hub.port);
    agents.push(agent);
    await agent.next("serving");
  }
  process.stderr.write("three brokers serve; one is cut off now\n");
  const [, , cutOff] = places;
  const [, , third] = agents;
  if (cutOff === undefined || third === undefined) throw new Error("three brokers are needed");
  const shut = third.next("shut");
  ip("link", "set", cutOff.link, "down");

  const [goneMs, commandMs]: [number[], number[]] = [[], []];
  let [reported, proved] = [0, 0];
  for (const device of devices.slice(0, revocations)) {
    const clients = places.slice(0, 2).map(({ inside }) => clientOf(device, inside));
    if (!(await Promise.all(clients.map(opened))).every(Boolean)) throw new Error(`${device.id} did not get in`);
    const startMs = performance.now();
    const ends = clients.map((client) => closedAfter(client, startMs));
    const outcome: RevokeOutcome = await ca.revoke({ id: device.id }).catch((error: unknown) => {
      if (error instanceof RevocationUnproved) return error.outcome;
      throw error;
    });
    commandMs.push(performance.now() - startMs);
    goneMs.push(...(await Promise.all(ends)));
    const of = (place: Place): RevokeOutcome["brokers"][number] | undefined =>
      outcome.brokers.find(({ directory }) => basename(directory) === place.inside);
    if (of(cutOff)?.problem !== undefined) reported += 1;
    proved += places.slice(0, 2).filter((place) => of(place)?.ended.includes(device.id) === true).length;
  }
  await shut;

  let [isServing, survivors] = [false, 0];
  const serving = third.next("serving").then(() => (isServing = true));
  ip("link", "set", cutOff.link, "up");
  for (let n = 0; !isServing; n = (n + 1) % revocations) {
    const device = devices[n];
    if (device !== undefined && (await opened(clientOf(device, cutOff.inside)))) survivors += 1;
  }
  await serving;
  for (const device of devices.slice(0, revocations)) if (await opened(clientOf(device, cutOff.inside))) survivors += 1;
  const honest = devices.at(-1);
  const isHonestIn = honest !== undefined && (await opened(clientOf(honest, cutOff.inside)));
  const show = (list: readonly number[]): string =>
    `p50 ${percentile(list, 0.5).toFixed(0)} ms, p99 ${percentile(list, 0.99).toFixed(0)} ms, longest ${Math.max(...list).toFixed(0)} ms`;
  const lines = [
    `${revocations} revocations, three brokers in network namespaces, one cut off`,
    `session gone at the two brokers that are reached: ${show(goneMs)}`,
    `command: ${show(commandMs)}`,
    `proved at those: ${proved} of ${2 * revocations}; the third reported: ${reported} of ${revocations}`,
    `shut-out devices that got in at the third when it came back: ${survivors}; another device gets in: ${isHonestIn}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  if (survivors > 0 || reported < revocations || proved < 2 * revocations || !isHonestIn) process.exitCode = 1;
  await hub.close();
} finally {
  await Promise.all(agents.map((agent) => agent.stop()));
  for (const { namespace } of places) {
    try {
      execFileSync("ip", ["netns", "delete", namespace], { stdio: "ignore" });
    } catch {
      // It was not made.
    }
  }
  await scene.clean();
}
