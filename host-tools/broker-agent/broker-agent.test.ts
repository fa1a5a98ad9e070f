import { copyFileSync, readFileSync, renameSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { connect } from "mqtt";
import type { MqttClient } from "mqtt";
import { afterEach, expect, test } from "vitest";
import { freePorts, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import type { TestDevice } from "../../test/support/host-tools/scene.js";
import { pemChain } from "../ca/context.js";
import { RevocationUnproved } from "../ca/revocation-outcome.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import type { RevokeOutcome } from "../ca/revocation-outcome.js";
import { findMosquitto } from "../brokers/mosquitto/mosquitto-process.js";
import { BrokerAgent } from "./agent.js";
import type { AgentEvent } from "./agent.js";
import { AgentHub } from "./agent-hub.js";
import type { HubEvent } from "./agent-hub.js";
import { makeAgentDirectory } from "./agent-identity.js";
import { SPOOL_FILES } from "./agent-spool.js";

const scene = new Scene();
let stopAgents: () => void = () => undefined;
const running: Promise<void>[] = [];

afterEach(async () => {
  stopAgents();
  await Promise.all(running.splice(0));
  await scene.clean();
});

/** Events of an agent or of the authority's port, to wait for. */
class Heard<Event extends AgentEvent | HubEvent> {
  readonly events: Event[] = [];
  #wake: () => void = () => undefined;

  readonly hear = (event: Event): void => {
    this.events.push(event);
    this.#wake();
  };

  /** That it serves nobody, and will not by itself. */
  async untilShut(): Promise<void> {
    while (this.events.filter(({ event }) => event === "serving" || event === "shut").at(-1)?.event !== "shut")
      await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** The first one from `from` on. */
  async until<Name extends Event["event"]>(name: Name, from = 0): Promise<Extract<Event, { event: Name }>> {
    for (;;) {
      const found = this.events.slice(from).find(({ event }) => event === name);
      if (found !== undefined) return found as Extract<Event, { event: Name }>;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function deviceClient({ id, keyPem, chainPem, trustAnchorPem }: TestDevice, port: number): MqttClient {
  const options = { host: "localhost", port, key: keyPem, cert: chainPem, ca: trustAnchorPem, clientId: id, reconnectPeriod: 0 };
  return scene.client(connect({ protocol: "mqtts", protocolVersion: 4, connectTimeout: 60_000, ...options }));
}

/** Whether the device gets in. */
function getsIn(device: TestDevice, port: number): Promise<boolean> {
  const client = deviceClient(device, port);
  return new Promise((resolve) => {
    client.once("connect", () => resolve(true));
    client.on("error", () => resolve(false));
    client.once("close", () => resolve(false));
  });
}

const noted = new Heard<HubEvent>();

async function startHub(ca: CertificateAuthority, port = 0): Promise<AgentHub> {
  const brokers = await ca.agentBrokers();
  const identity = await ca.agentHubIdentity(3_600_000);
  return AgentHub.start({ host: "localhost", port, identity, brokers: () => brokers, onEvent: noted.hear });
}

/** What came of it, also when not everything is proved yet: on a machine that is busy an agent may be late. */
function revoke(ca: CertificateAuthority, id: string): Promise<RevokeOutcome> {
  return ca.revoke({ id }).catch((error: unknown) => {
    if (error instanceof RevocationUnproved) return error.outcome;
    throw error;
  });
}

/** Until the broker is proved to be up to date, and the sessions that were owed there have ended. */
async function synced(ca: CertificateAuthority): Promise<void> {
  for (;;) {
    const [result] = await ca.syncOutputs();
    if (result?.loaded === true && result.problem === undefined) return;
  }
}

test("a broker on another machine is cut off with the authority, and shut before it serves again", { timeout: 300_000 }, async () => {
  const ca = await scene.ca({}, { onOutput: () => undefined });
  const [first, second, third] = [
    await provisionDevice(ca, "dev-1"),
    await provisionDevice(ca, "dev-2"),
    await provisionDevice(ca, "dev-3"),
  ];
  const [mtlsPort, pskPort] = await freePorts();
  const [home, out, spool] = [scene.directory(), join(scene.directory(), "files"), join(scene.directory(), "east")];
  const { fingerprint } = await makeAgentDirectory(home, pemChain(ca.trustAnchors));
  const agentOf = { certificate: fingerprint, directory: out };
  const listening = { mtlsPort, pskPort, bind: "localhost", reach: "localhost" };
  // As in a unit: mosquitto is the agent's user.
  await ca.writeBrokerConfig({ engine: "mosquitto", out: spool, ...listening, agent: agentOf, user: userInfo().username });

  // Nobody has heard of the agent yet: the change is there, and said to be unproved.
  const early = await ca.syncOutputs(["nobody"]);
  expect(early[0]?.problem).toMatchObject({ code: "OUTPUT_UNPROVED", message: expect.stringMatching(/was never heard of/) as string });

  const hub = await startHub(ca);
  const heard = new Heard<AgentEvent>();
  const settings = { home, out, authority: { host: "localhost", port: hub.port }, mosquitto: findMosquitto() ?? "mosquitto" };
  const start = (more: { aloneMs?: number }): void => {
    const stop = new Promise<void>((resolve) => (stopAgents = resolve));
    running.push(new BrokerAgent({ ...settings, ...more, onEvent: heard.hear }).run(stop));
  };
  start({});
  const { sequence } = await heard.until("serving");
  await synced(ca);

  // Revoked: its live session ends, and it does not come back.
  const live = deviceClient(first, mtlsPort);
  await new Promise<void>((resolve) => live.once("connect", () => resolve()));
  const closed = new Promise<void>((resolve) => live.once("close", () => resolve()));
  const kept = join(spool, "older.json");
  copyFileSync(join(spool, SPOOL_FILES.bundle), kept);
  await revoke(ca, "dev-1");
  await closed;
  expect(await getsIn(first, mtlsPort)).toBe(false);
  expect(await getsIn(second, mtlsPort)).toBe(true);

  // An older bundle, put back, is refused; what counts goes on counting, and the next change reaches the agent again.
  renameSync(kept, join(spool, SPOOL_FILES.bundle));
  expect(await heard.until("failed")).toMatchObject({ code: "BUNDLE_REFUSED", message: expect.stringMatching(/not newer/) as string });
  expect(await getsIn(first, mtlsPort)).toBe(false);
  await synced(ca);

  // Cut off: with a bound on being alone the broker stops by itself. What is revoked meanwhile is reported.
  stopAgents();
  await Promise.all(running.splice(0));
  const restarted = noted.events.length;
  start({ aloneMs: 3000 });
  await noted.until("agent-updated", restarted);
  const { port } = hub;
  await hub.close();
  expect((await revoke(ca, "dev-2")).brokers).toMatchObject([
    { loaded: false, problem: { code: "OUTPUT_UNPROVED", message: expect.stringMatching(/and then stops$/) as string } },
  ]);
  await heard.untilShut();
  expect(await getsIn(third, mtlsPort)).toBe(false);
  const before = heard.events.length;

  // Back: it has the new files before anybody gets in.
  const again = await startHub(ca, port);
  let [isServing, wasIn] = [false, false];
  const back = heard.until("serving", before).then((event) => {
    isServing = true;
    return event;
  });
  while (!isServing) wasIn ||= await getsIn(second, mtlsPort);
  expect((await back).sequence).toBeGreaterThan(sequence);
  while (!(await getsIn(third, mtlsPort))) wasIn ||= await getsIn(second, mtlsPort);
  expect([wasIn, await getsIn(second, mtlsPort)]).toEqual([false, false]);
  await synced(ca);

  // An agent that no broker has gets nothing.
  const strangersHome = scene.directory();
  await makeAgentDirectory(strangersHome, pemChain(ca.trustAnchors));
  const refused = new Heard<AgentEvent>();
  const stranger = new BrokerAgent({
    home: strangersHome,
    out: join(scene.directory(), "files"),
    authority: { host: "localhost", port: again.port },
    mosquitto: "/nonexistent/mosquitto",
    onEvent: refused.hear,
  });
  let stopStranger: () => void = () => undefined;
  running.push(stranger.run(new Promise<void>((resolve) => (stopStranger = resolve))));
  expect(await refused.until("cut-off")).toMatchObject({ code: "AGENT_REFUSED" });
  stopStranger();
  stopAgents();
  await Promise.all(running.splice(0));
  await again.close();
  expect(readFileSync(join(out, "crl.pem"), "utf8")).toBe(readFileSync(join(spool, "crl.pem"), "utf8"));
});
