/** Runs a fleet against a passing broker, or against a CA and broker of the user's. */
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import type { ClientPems, FleetIdentity, FleetPlan, PublishProfile } from "../../../sim/fleet/fleet-plan.js";
import type { NatsUrl } from "../../../sim/fleet/remote/fleet-bus.js";
import { hireCrew, type Crew } from "../../../sim/fleet/remote/fleet-crew.js";
import { ProgramFaults } from "../../../sim/program/program-faults.js";
import { COMMANDS_PER_SECOND, type ProgramPlan } from "../../../sim/program/program-plan.js";
import type { FleetResult } from "../../../sim/fleet/fleet-result.js";
import { FleetRun, type CrewMember } from "../../../sim/fleet/fleet-run.js";
import { openCa } from "../../ca/certificate-authority.js";
import type { Context } from "../command-runner.js";
import { idsOf, provisionFleet, readIdentities, writeIdentities } from "../fleet/fleet-identities.js";
import { provisionCrew } from "../fleet/crew-identities.js";
import { openBus, type NatsFlags } from "../fleet/nats-options.js";
import { fleetProgram, progressLines, WATCHER, watcherOf } from "../fleet/fleet-start.js";
import { noteDenial, ownProgram, type ProgramFlags } from "../fleet/own-program.js";
import { FleetSite, usualEngine, type SiteEngine } from "../fleet/fleet-site.js";
import { caPassphrase, type PassphraseOptions } from "../passphrases.js";
import { showResult, writeResults, type ResultFiles } from "../results/write-results.js";
import { brokerUrl } from "../flag-values.js";

/** Durations are milliseconds, shares 0..1. */
export interface SimFleetOptions extends PassphraseOptions, ResultFiles, ProgramFlags, NatsFlags {
  devices: number;
  duration: number;
  drain: number;
  broker?: SiteEngine;
  dir?: string;
  url?: Endpoint;
  pskUrl?: Endpoint;
  identities?: string;
  ids: string;
  role: string;
  startRate: number;
  publishEvery: number;
  qos: "0" | "1" | "2" | "mixed";
  payload: [number, number];
  topic: string;
  commands?: number;
  sleepers: number;
  reboots: number;
  renewals: number;
  retryCap: number;
  restartBroker?: number;
  client: "hawser" | "mqttjs";
  workers?: number;
  threads?: boolean;
  seed?: string;
  coordinator?: NatsUrl;
  machines: number;
  machinesWait: number;
  json?: boolean;
}

/** A simulated device is meant to recover within a test, not within a quarter of an hour. */
const PATIENCE_MS = 5_000;

export async function runFleet(options: SimFleetOptions, context: Context): Promise<void> {
  const ids = checkOptions(options);
  const program = await ownProgram(options);
  const { dir, url, coordinator } = options;
  const play = (): Promise<FleetResult> => {
    if (dir === undefined) return onPassingSite(options, program?.plan, ids, context);
    const own = { ...options, dir, url: url as Endpoint };
    return coordinator === undefined ? onOwnCa(own, program?.plan, ids, context) : onManyMachines({ ...own, coordinator }, ids, context);
  };
  const result = await play().finally(() => program?.remove());
  writeResults(result, options, context.env, context.terminal);
  showResult(context.terminal, result);
  if (result.passed) return;
  const failed = result.checks.filter(({ passed }) => !passed).map(({ name }) => name);
  throw new HawserError("FLEET_FAILED", `failed: ${failed.join("; ")}`, `Run it again with --seed ${result.seed}`);
}

function checkOptions({
  program,
  client,
  sleepers,
  threads,
  renewals,
  commands,
  command,
  dir,
  url,
  pskUrl,
  broker,
  identities,
  restartBroker,
  ids,
  devices,
  topic,
  coordinator,
  workers,
}: SimFleetOptions): string[] {
  const usage = (what: string, next: string): HawserError => new HawserError("USAGE", what, next);
  if ((dir === undefined) !== (url === undefined))
    throw usage("--dir and --url belong together", "Give both, or neither for a passing CA and broker.");
  if (dir !== undefined && (broker !== undefined || restartBroker !== undefined))
    throw usage("--broker and --restart-broker are for a passing broker", "Leave them out with --dir.");
  if (dir === undefined && (pskUrl !== undefined || identities !== undefined))
    throw usage("--psk-url and --identities are for your own CA", "Give --dir and --url too.");
  if (coordinator !== undefined && dir === undefined)
    throw usage("--coordinator needs a broker that every machine reaches", "Give --dir and --url too.");
  if (coordinator !== undefined && (program !== undefined || identities !== undefined || pskUrl !== undefined))
    throw usage("--program, --identities and --psk-url do not go with --coordinator: neither code nor keys cross NATS", "Leave them out.");
  if (coordinator !== undefined && (threads === true || workers !== undefined))
    throw usage("--workers and --threads are each machine's own with --coordinator", "Give --workers to `hawser sim fleet-worker`.");
  if (!/^[^+#\u0000/]+(\/[^+#\u0000/]+)*$/.test(topic) || topic === "pong")
    throw new HawserError("INVALID_TOPIC", `${JSON.stringify(topic)} is not a topic below devices/{id}/up/`, "Write e.g. telemetry.");
  if (program !== undefined && (client !== "hawser" || sleepers > 0 || threads === true || renewals > 0))
    throw usage("--client, --sleepers, --renewals and --threads do not go with --program", "Leave them out.");
  if (program !== undefined && commands !== undefined && command === undefined)
    throw usage("--commands says how many, but not what your program is told", "Give --command TOPIC=PAYLOAD too.");
  return idsOf(ids, devices);
}

async function onPassingSite(
  options: SimFleetOptions,
  program: ProgramPlan | undefined,
  ids: readonly string[],
  context: Context,
): Promise<FleetResult> {
  const { terminal } = context;
  const engine = options.broker ?? usualEngine();
  const denials = new ProgramFaults(() => 0);
  const site = new FleetSite({ engine, devices: options.devices, onBrokerEvent: (event) => noteDenial(event, denials) });
  try {
    terminal.note(`making a CA and ${ids.length} devices`);
    await site.build();
    const identities = await provisionFleet(
      site.ca,
      ids,
      options.role,
      (done) => ids.length > 1_000 && terminal.note(`${done} of ${ids.length} provisioned`),
    );
    const watcher = await watcherOf(site.ca, WATCHER);
    context.stop.check();
    await site.startBroker();
    await site.startAuthority();
    const plan = planOf(options, program, { host: "127.0.0.1", port: site.mtlsPort }, { host: "127.0.0.1", port: site.pskPort });
    const run = fleetRun(options, plan, identities, watcher, engine, context, denials);
    return await run.play(async (playing) => {
      if (options.restartBroker === undefined) return;
      await delay(options.duration / 2);
      playing.note("broker killed");
      await site.killBroker();
      await delay(options.restartBroker);
      await site.startBroker();
      playing.note("broker started again");
    });
  } finally {
    await site.strike();
  }
}

async function onOwnCa(
  options: SimFleetOptions & { dir: string; url: Endpoint },
  program: ProgramPlan | undefined,
  ids: readonly string[],
  context: Context,
): Promise<FleetResult> {
  const { dir, url } = options;
  const passphrase = await caPassphrase({ ...options, dir }, context.env);
  const ca = await openCa(dir, passphrase);
  const known = options.identities === undefined ? [] : readIdentities(options.identities, passphrase);
  const byId = new Map(known.map((identity) => [identity.id, identity]));
  const fresh = ids.filter((id) => !byId.has(id));
  context.terminal.note(`${ids.length - fresh.length} devices known, ${fresh.length} to provision`);
  for (const identity of await provisionFleet(ca, fresh, options.role)) byId.set(identity.id, identity);
  const keep = (): void =>
    options.identities === undefined ? undefined : writeIdentities(options.identities, passphrase, [...byId.values()]);
  // Before anything connects: a run that is killed has not lost the keys.
  keep();
  const name = `${WATCHER}-${randomBytes(3).toString("hex")}`;
  const watcher = await watcherOf(ca, name);
  try {
    const identities = ids.map((id) => byId.get(id)).filter((identity) => identity !== undefined);
    const run = fleetRun(options, planOf(options, program, url, options.pskUrl), identities, watcher, brokerUrl(url), context);
    const result = await run.play();
    for (const identity of run.kept) byId.set(identity.id, identity);
    keep();
    return result;
  } finally {
    await ca.revoke({ id: name, reason: "cessationOfOperation" });
    if (options.identities === undefined) for (const id of fresh) await ca.revoke({ id, reason: "cessationOfOperation" });
  }
}

async function onManyMachines(
  options: SimFleetOptions & { dir: string; url: Endpoint; coordinator: NatsUrl },
  ids: readonly string[],
  context: Context,
): Promise<FleetResult> {
  const { dir, url, machines, machinesWait, role, coordinator } = options;
  const { terminal, stop } = context;
  const ca = await openCa(dir, await caPassphrase({ ...options, dir }, context.env));
  const bus = await openBus(coordinator, "hawser-fleet", options);
  const issued: string[] = [];
  const name = `${WATCHER}-${randomBytes(3).toString("hex")}`;
  let crew: Crew | undefined;
  try {
    terminal.note(`waiting for ${machines} machines on NATS`);
    crew = await hireCrew({
      bus,
      machines,
      ids,
      waitMs: machinesWait,
      onOffer: (offer) => terminal.event("machine", { ...offer }, offer.name),
    });
    stop.check();
    const { members } = crew;
    const identities = await provisionCrew(ca, members, role, (done) => void issued.push(...done));
    const watcher = await watcherOf(ca, name);
    const plan = planOf(options, undefined, url, undefined, members.length);
    return await fleetRun(options, plan, identities, watcher, brokerUrl(url), context, undefined, members).play();
  } finally {
    await crew?.dismiss();
    await bus.close();
    for (const id of [name, ...issued]) await ca.revoke({ id, reason: "cessationOfOperation" }).catch(ignoreUnknown);
  }
}

/** The run may have ended before its watcher had a name. */
function ignoreUnknown(error: unknown): void {
  if (errorCode(error) !== "UNKNOWN_ID") throw error;
}

function planOf(
  options: SimFleetOptions,
  program: ProgramPlan | undefined,
  broker: Endpoint,
  recovery: Endpoint | undefined,
  workers = workersOf(options),
): FleetPlan {
  return {
    seed: options.seed ?? randomBytes(6).toString("hex"),
    broker,
    ...(recovery ? { recovery } : {}),
    client: options.client,
    startPerSecond: options.startRate / workers,
    profiles: profilesOf(options),
    ...(options.sleepers > 0 ? { sleep: { share: options.sleepers, awakeMs: 10_000, asleepMs: 20_000 } } : {}),
    rebootsPerHour: options.reboots,
    renewalsPerHour: options.renewals,
    retryCapMs: options.retryCap,
    recoveryPatienceMs: PATIENCE_MS,
    ...(program ? { program } : {}),
  };
}

function profilesOf({ qos, publishEvery, topic, payload }: SimFleetOptions): PublishProfile[] {
  const levels = qos === "mixed" ? ([0, 1, 2] as const) : ([Number(qos) as 0 | 1 | 2] as const);
  const fields = { temperature: { number: [-20, 60] as const }, battery: { integer: [0, 100] as const } };
  return levels.map((level) => ({ topic, qos: level, everyMs: publishEvery * levels.length, jitter: 0.2, sizeBytes: payload, fields }));
}

function fleetRun(
  options: SimFleetOptions,
  plan: FleetPlan,
  identities: readonly FleetIdentity[],
  watcher: ClientPems,
  brokerName: string,
  { terminal, stop }: Context,
  denials?: ProgramFaults,
  crew?: readonly CrewMember[],
): FleetRun {
  const workers = crew?.length ?? workersOf(options);
  return new FleetRun({
    name: `fleet of ${identities.length}`,
    plan,
    identities,
    watcher,
    program: fleetProgram(),
    workers,
    ...(crew ? { crew } : {}),
    workersBy: options.threads === true ? "thread" : "process",
    durationMs: options.duration,
    drainMs: options.drain,
    commandsPerSecond: options.commands ?? (options.command ? COMMANDS_PER_SECOND : 0),
    brokerName,
    stop: stop.asked,
    ...(denials ? { denied: () => denials.all } : {}),
    onSample: progressLines(terminal),
  });
}

function workersOf({ workers, devices }: SimFleetOptions): number {
  return Math.min(workers ?? availableParallelism(), devices);
}
