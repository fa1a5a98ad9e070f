/** Plays a scenario in real time: real sockets, a real broker, faults by the proxy. */
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import type { ClientPems, FleetIdentity, FleetPlan } from "../../../sim/fleet/fleet-plan.js";
import type { FleetFacts, FleetResult } from "../../../sim/fleet/fleet-result.js";
import { FleetRun } from "../../../sim/fleet/fleet-run.js";
import { FaultProxy } from "../../../sim/proxy/fault-proxy.js";
import { openCa, type CertificateAuthority } from "../../ca/certificate-authority.js";
import type { Context } from "../command-runner.js";
import { provisionFleet } from "../fleet/fleet-identities.js";
import { FleetSite, usualEngine } from "../fleet/fleet-site.js";
import { ownProgram } from "../fleet/own-program.js";
import type { ProgramPlan } from "../../../sim/program/program-plan.js";
import { fleetProgram, progressLines, WATCHER, watcherOf } from "../fleet/fleet-start.js";
import { brokerUrl } from "../flag-values.js";
import type { Scenario } from "./scenario.js";
import { stepsOf, type Step } from "./timeline.js";

/** Fewer are served sooner by one process than by two that have to start. */
const DEVICES_A_WORKER = 100;

interface Place {
  readonly brokerName: string;
  readonly ca: CertificateAuthority;
  /** The passing broker and authority; a user's own are not touched. */
  readonly site?: FleetSite;
  readonly identities: readonly FleetIdentity[];
  readonly watcher: ClientPems;
  readonly broker: Endpoint;
  readonly recovery?: Endpoint;
}

/** @param passphrase of the user's own CA, where the scenario has one */
export async function playReal(scenario: Scenario, passphrase: () => Promise<string>, context: Context): Promise<FleetResult> {
  const { own, fleet } = scenario;
  // Before anything is made: a mistake in it shows at once.
  const program = fleet.program === undefined ? undefined : await ownProgram(fleet.program);
  try {
    return own === undefined
      ? await onPassingSite(scenario, program?.plan, context)
      : await onOwnBroker(scenario, program?.plan, own, await passphrase(), context);
  } finally {
    program?.remove();
  }
}

async function onPassingSite(scenario: Scenario, program: ProgramPlan | undefined, context: Context): Promise<FleetResult> {
  const { fleet, policyText } = scenario;
  const engine = scenario.engine ?? usualEngine();
  const { certificateLifetimeMs } = fleet;
  const revokes = scenario.timeline.find(({ action }) => action.kind === "revoke");
  if (revokes && engine === "mosquitto")
    throw revokes.refuse(
      "a passing mosquitto does not end the sessions of revoked devices",
      "Use engine: embedded, or a broker of yours with url and ca.",
    );
  const site = new FleetSite({
    engine,
    devices: fleet.ids.length,
    ...(certificateLifetimeMs === undefined ? {} : { deviceLifetimeMs: certificateLifetimeMs }),
  });
  try {
    context.terminal.note(`making a CA and ${fleet.ids.length} devices`);
    await site.build();
    if (policyText !== undefined) await site.ca.applyPolicy(policyText, { force: true });
    const watcher = await watcherOf(site.ca, WATCHER);
    await site.startBroker();
    await site.startAuthority();
    // Last: short lifetimes run from here.
    const identities = await provisionFleet(site.ca, fleet.ids, fleet.role);
    await site.reload();
    context.stop.check();
    const at = (port: number): Endpoint => ({ host: "127.0.0.1", port });
    return await play(
      scenario,
      program,
      { brokerName: engine, ca: site.ca, site, identities, watcher, broker: at(site.mtlsPort), recovery: at(site.pskPort) },
      context,
    );
  } finally {
    await site.strike();
  }
}

async function onOwnBroker(
  scenario: Scenario,
  program: ProgramPlan | undefined,
  own: NonNullable<Scenario["own"]>,
  passphrase: string,
  context: Context,
): Promise<FleetResult> {
  const foreign = scenario.timeline.find(({ action }) => action.kind === "broker" || action.kind === "authority");
  if (foreign)
    throw foreign.refuse(
      "your own broker and authority are not started or stopped by a scenario",
      "Use a passing broker, or network: down.",
    );
  if (scenario.policyText !== undefined)
    throw scenario.refuse(["policy"], "your own CA keeps its policy", "Apply it with `hawser policy apply`, and leave it out here.");
  const ca = await openCa(own.ca, passphrase);
  const name = `${WATCHER}-${randomBytes(3).toString("hex")}`;
  const watcher = await watcherOf(ca, name);
  const { ids, role } = scenario.fleet;
  try {
    const identities = await provisionFleet(ca, ids, role);
    return await play(
      scenario,
      program,
      { brokerName: brokerUrl(own.url), ca, identities, watcher, broker: own.url, ...(own.pskUrl ? { recovery: own.pskUrl } : {}) },
      context,
    );
  } finally {
    for (const id of [name, ...ids])
      await ca.revoke({ id, reason: "cessationOfOperation" }).catch((error: unknown) => {
        // Not all were provisioned where that failed half-way. What stays in a user's CA is said.
        if (errorCode(error) !== "UNKNOWN_ID") context.terminal.note(`${id} is still in the CA: ${errorMessage(error)}`);
      });
  }
}

async function play(scenario: Scenario, program: ProgramPlan | undefined, place: Place, { terminal, stop }: Context): Promise<FleetResult> {
  const { fleet } = scenario;
  const seed = scenario.seed === "" ? randomBytes(6).toString("hex") : scenario.seed;
  const proxies = await proxiesFor(scenario, place, seed);
  try {
    const [mtls, psk] = proxies;
    const workers = Math.min(
      fleet.workers ?? Math.min(availableParallelism(), Math.ceil(fleet.ids.length / DEVICES_A_WORKER)),
      fleet.ids.length,
    );
    const recovery = fleet.recovery && place.recovery ? { recovery: behind(place.recovery, psk) } : {};
    const plan: FleetPlan = {
      seed,
      broker: behind(place.broker, mtls),
      ...recovery,
      client: fleet.client,
      startPerSecond: fleet.startPerSecond / workers,
      profiles: fleet.profiles,
      ...(fleet.sleepers > 0 ? { sleep: { share: fleet.sleepers, awakeMs: 10_000, asleepMs: 20_000 } } : {}),
      rebootsPerHour: fleet.rebootsPerHour,
      renewalsPerHour: fleet.renewalsPerHour,
      retryCapMs: fleet.retryCapMs,
      recoveryPatienceMs: fleet.recoveryPatienceMs,
      ...(program ? { program } : {}),
    };
    const marks = new Map<string, number>();
    const run = new FleetRun({
      name: scenario.name,
      plan,
      identities: place.identities,
      watcher: place.watcher,
      watcherBroker: place.broker,
      program: fleetProgram(),
      workers,
      workersBy: "process",
      durationMs: scenario.durationMs,
      drainMs: scenario.drainMs,
      commandsPerSecond: fleet.commandsPerSecond,
      brokerName: place.brokerName,
      stop: stop.asked,
      onSample: progressLines(terminal),
      judge: (facts: FleetFacts) =>
        scenario.expectations.map((one) => one.judge({ ...facts, marks })).filter((check) => check !== undefined),
    });
    return await run.play(async (playing) => {
      for (const step of stepsOf(scenario.timeline)) {
        if (step.atMs > scenario.durationMs) break;
        await delay(Math.max(0, step.atMs - playing.elapsedMs));
        if (stop.requested) return;
        await take(step, place, proxies, playing);
        marks.set(step.mark, playing.elapsedMs);
        playing.note(step.what);
        terminal.event("timeline", { atMs: Math.round(playing.elapsedMs), what: step.what }, step.what);
      }
      playing.surround({ namesResolve: true, clockAheadMs: 0 });
      await restore(scenario, place, proxies);
    });
  } finally {
    for (const proxy of proxies) await proxy.stop();
  }
}

async function take(
  { event: { action, name }, isEnd }: Step,
  { ca, site }: Place,
  proxies: readonly FaultProxy[],
  run: FleetRun,
): Promise<void> {
  switch (action.kind) {
    case "broker":
      if (action.to !== "up" && !isEnd) await site?.killBroker();
      if (action.to !== "down" || isEnd) await site?.startBroker();
      return;
    case "authority":
      return action.to === "away" && !isEnd ? await site?.stopAuthority() : await site?.startAuthority();
    case "rollover":
      await ca.rollOver();
      return await site?.reload();
    case "revoke":
      for (const id of action.ids) await ca.revoke({ id, certificateOnly: action.certificateOnly, reason: "keyCompromise" });
      return await site?.reload();
    case "renew":
      return run.renew(action.share);
    case "reach":
      for (const proxy of proxies) await (action.to === "down" && !isEnd ? proxy.stop() : proxy.start());
      return;
    case "names":
      return run.surround({ namesResolve: action.resolve || isEnd });
    case "clock":
      return run.surround({ clockAheadMs: isEnd ? 0 : action.aheadMs });
    case "toxics":
      for (const proxy of proxies) {
        for (const toxic of action.toxics) {
          const own = `${name}-${toxic.name}`;
          if (isEnd) proxy.remove(own);
          else proxy.set({ ...toxic, name: own });
        }
      }
  }
}

/** What is still away when nothing more happens comes back: what was accepted has to be able to arrive. */
async function restore(scenario: Scenario, { site }: Place, proxies: readonly FaultProxy[]): Promise<void> {
  const last = stepsOf(scenario.timeline)
    .filter(({ atMs, event }) => atMs <= scenario.durationMs && event.action.kind === "broker")
    .at(-1);
  const isDown = last !== undefined && last.event.action.kind === "broker" && last.event.action.to === "down" && !last.isEnd;
  if (!isDown && !proxies.some(({ enabled, toxics }) => !enabled || toxics.length > 0)) return;
  if (isDown) await site?.startBroker();
  for (const proxy of proxies) {
    proxy.removeAll();
    await proxy.start();
  }
}

async function proxiesFor({ timeline }: Scenario, { broker, recovery }: Place, seed: string): Promise<FaultProxy[]> {
  if (!timeline.some(({ action }) => action.kind === "reach" || action.kind === "toxics")) return [];
  const proxies = [broker, ...(recovery ? [recovery] : [])].map(
    ({ host, port }, index) =>
      new FaultProxy({ name: index === 0 ? "mtls" : "psk", listen: { host: "127.0.0.1", port: 0 }, upstream: { host, port }, seed }),
  );
  for (const proxy of proxies) await proxy.start();
  return proxies;
}

/** The broker is still judged by its own name. */
function behind(endpoint: Endpoint, proxy: FaultProxy | undefined): Endpoint {
  if (proxy === undefined) return endpoint;
  if (proxy.port === 0) throw new HawserError("LISTEN_FAILED", "the fault proxy does not listen", "Report this.");
  return { host: "127.0.0.1", port: proxy.port, serverName: endpoint.serverName ?? endpoint.host };
}
