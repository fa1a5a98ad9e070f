/** One run of a fleet: starts its processes, watches it live, drains it, and settles every message. */
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../sdk/errors.js";
import type { Endpoint } from "../../sdk/platform.js";
import { describeFault, settle } from "./delivery-account.js";
import { programChecks, programFacts } from "./program-facts.js";
import { settlePrograms } from "./program-account.js";
import type { ProgramAccount, ProgramFault, ProgramReport } from "../program/program-plan.js";
import { fleetBase } from "./fleet-topics.js";
import { FleetLink, localChannel } from "./fleet-link.js";
import { mergedQuantiles } from "./latencies.js";
import { preciseNowMs } from "./payload-source.js";
import type { ClientPems, DeviceAccount, FleetIdentity, FleetPlan, SurroundingsChange, WatcherReport, WorkerReport } from "./fleet-plan.js";
import type { Check, FleetFacts, FleetResult, Sample } from "./fleet-result.js";

/** A worker on another machine. */
export interface CrewMember {
  readonly link: FleetLink;
  /** For people. */
  readonly name: string;
  /** Devices whose keys it made, and whose certificates it has. */
  readonly ids: readonly string[];
  /** How far its machine's clock is ahead of this one's, milliseconds. */
  readonly clockAheadMs: number;
}

export interface FleetRunOptions {
  readonly name: string;
  readonly plan: FleetPlan;
  readonly identities: readonly FleetIdentity[];
  readonly watcher: ClientPems;
  /** Where the watcher connects, when devices go through a proxy. Default: the plan's broker. */
  readonly watcherBroker?: Endpoint;
  /** The built `fleet-process.js`. */
  readonly program: string;
  readonly workers: number;
  readonly workersBy: "process" | "thread";
  /** Instead of workers of this machine: `workers` of them. What `identities` says of their devices has no keys then. */
  readonly crew?: readonly CrewMember[];
  readonly durationMs: number;
  /** How long what was accepted may take to arrive once nothing more is published. */
  readonly drainMs: number;
  readonly commandsPerSecond: number;
  readonly brokerName: string;
  /** What the broker itself says that it denied a program. */
  readonly denied?: () => readonly ProgramFault[];
  /** What is said of the facts. Default: {@link usualChecks}. */
  readonly judge?: (facts: FleetFacts) => readonly Check[];
  readonly onSample?: (sample: Sample, failures: Readonly<Record<string, number>>) => void;
  /** Ends the run early, in an orderly way. */
  readonly stop?: Promise<void>;
}

const SAMPLE_EVERY_MS = 1_000;
const POLL_MS = 200;
/** Until the instant at which the machines of a crew start together. */
const AGREED_AHEAD_MS = 1_500;
/** From the first connection to subscriptions that the broker has. */
const SUBSCRIBED_MS = 2_000;
/** Nothing has come for this long: the broker has nothing more. */
const QUIET_MS = 5_000;
/** A worker that was told to stop answers by then, or is taken for dead. */
const STOP_MS = 30_000;

export class FleetRun {
  readonly samples: Sample[] = [];
  readonly events: { atMs: number; what: string }[] = [];
  readonly #options: FleetRunOptions;
  readonly #links: FleetLink[] = [];
  readonly #reports: (WorkerReport | undefined)[] = [];
  readonly #checks: Check[] = [];
  #watcher: FleetLink | undefined;
  #seen: WatcherReport | undefined;
  #baseRss = 0;
  #startedMs = 0;
  #allOnlineMs: number | undefined;
  #most = 0;
  #peakRss = 0;
  #kept: FleetIdentity[] = [];
  readonly #programs: ProgramAccount[] = [];
  readonly #programReports: ProgramReport[] = [];

  constructor(options: FleetRunOptions) {
    this.#options = options;
  }

  /** Milliseconds since the devices began to start. */
  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** The identities as the devices left them: certificates that were renewed are in here. */
  get kept(): readonly FleetIdentity[] {
    return this.#kept;
  }

  get latest(): Sample | undefined {
    return this.samples.at(-1);
  }

  note(what: string): void {
    this.events.push({ atMs: Math.round(this.elapsedMs), what });
  }

  check(name: string, passed: boolean, detail: string): void {
    this.#checks.push({ name, passed, detail });
  }

  /** Changes what every device has around it. */
  surround(change: SurroundingsChange): void {
    for (const link of this.#links) link.tell({ kind: "surroundings", change });
  }

  renew(share: number): void {
    for (const link of this.#links) link.tell({ kind: "renew", share });
  }

  /** Which worker processes there are, for faults of the fleet itself. */
  killWorker(index: number): void {
    this.#links[index]?.kill();
  }

  /** @throws HawserError `FLEET_WORKER_FAILED` when one fails before the devices start */
  async play(during: (run: FleetRun) => Promise<void> = async () => undefined): Promise<FleetResult> {
    const startedAt = new Date().toISOString();
    const { durationMs, stop = new Promise<void>(() => undefined) } = this.#options;
    let sampling: NodeJS.Timeout | undefined;
    try {
      await this.#prepare();
      await this.#start();
      sampling = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
      const over = new AbortController();
      await Promise.race([Promise.all([delay(durationMs, undefined, { signal: over.signal }).catch(() => undefined), during(this)]), stop]);
      over.abort();
      const accounts = await this.#drain();
      clearInterval(sampling);
      return await this.#settle(accounts, startedAt);
    } finally {
      clearInterval(sampling);
      for (const link of [...this.#links, ...(this.#watcher ? [this.#watcher] : [])]) link.kill();
    }
  }

  /** All at one instant; each machine of a crew is told it by its own clock. */
  async #start(): Promise<void> {
    const { crew } = this.#options;
    if (crew === undefined) {
      this.#startedMs = performance.now();
      for (const link of this.#links) link.tell({ kind: "start" });
      return;
    }
    const atMs = preciseNowMs() + AGREED_AHEAD_MS;
    for (const { link, clockAheadMs } of crew) link.tell({ kind: "start", atMs: atMs + clockAheadMs });
    await delay(AGREED_AHEAD_MS);
    this.#startedMs = performance.now();
  }

  async #prepare(): Promise<void> {
    const { plan, identities, workers, workersBy, program, watcher: credentials, watcherBroker, commandsPerSecond, crew } = this.#options;
    const watcher = new FleetLink(localChannel(program, "process"));
    this.#watcher = watcher;
    watcher.listen((answer) => {
      if (answer.kind === "seen") this.#seen = answer;
    });
    const ids = identities.map(({ id }) => id);
    const watching = watcher.ask(
      {
        kind: "watch",
        credentials,
        broker: watcherBroker ?? plan.broker,
        seed: plan.seed,
        commandsPerSecond,
        ids,
        base: fleetBase(identities),
        ...(plan.program ? { program: { commands: plan.program.commands } } : {}),
      },
      "watching",
    );
    const late = delay(60_000, undefined, { ref: false }).then(() => {
      throw new HawserError(
        "WATCHER_NOT_CONNECTED",
        "the fleet's watcher could not connect to the broker within 60 s",
        "Check that the broker runs and takes the CA's clients.",
      );
    });
    await Promise.race([watching, late]);
    const prepared = Array.from({ length: workers }, async (_, index) => {
      const hired = crew?.[index];
      const link = hired?.link ?? new FleetLink(localChannel(program, workersBy));
      this.#links[index] = link;
      link.listen((answer) => {
        if (answer.kind !== "report") return;
        this.#reports[index] = answer;
        // Devices whose subscriptions are made by now.
        if (plan.program && answer.cameOnline.length > 0)
          setTimeout(() => this.#watcher?.tell({ kind: "online", ids: answer.cameOnline }), SUBSCRIBED_MS).unref();
      });
      const devices = hired ? [] : identities.filter((_identity, at) => at % workers === index);
      const ours = hired ? { ...plan, clockAheadMs: hired.clockAheadMs } : plan;
      const { rssBytes } = await link.ask({ kind: "prepare", plan: ours, devices }, "prepared");
      this.#baseRss += rssBytes;
    });
    await Promise.all(prepared);
  }

  #sample(): void {
    // A worker that is gone has nothing connected.
    const all = this.#reports.filter((report, index) => report !== undefined && this.#links[index]?.isGone !== true) as WorkerReport[];
    const sum = (of: (report: WorkerReport) => number): number => all.reduce((total, report) => total + of(report), 0);
    const connected = sum((report) => report.connected);
    const asleep = sum((report) => report.asleep);
    const rssBytes =
      this.#options.workersBy === "thread" ? Math.max(0, ...all.map((report) => report.rssBytes)) : sum((report) => report.rssBytes);
    const delivery = mergedQuantiles([this.#seen?.delivery]);
    const byCredential: Record<string, number> = {};
    for (const report of all)
      for (const [kind, count] of Object.entries(report.byCredential)) byCredential[kind] = (byCredential[kind] ?? 0) + count;
    const sample: Sample = {
      atMs: Math.round(this.elapsedMs),
      connected,
      asleep,
      attempts: sum((report) => report.attempts),
      messages: this.#seen?.messages ?? 0,
      waiting: sum((report) => report.waiting),
      ...(delivery.count === 0 ? {} : { p50Ms: delivery.p50Ms, p99Ms: delivery.p99Ms }),
      rssMb: round(rssBytes / 2 ** 20),
      byCredential,
    };
    this.samples.push(sample);
    if (connected > this.#most) [this.#most, this.#peakRss] = [connected, rssBytes];
    else if (connected === this.#most) this.#peakRss = rssBytes;
    if (connected + asleep >= this.#options.identities.length) this.#allOnlineMs ??= sample.atMs;
    this.#options.onSample?.(sample, sumOf(all.map((report) => report.failures)));
  }

  /** Lets everything that was accepted arrive, then stops the devices. */
  async #drain(): Promise<DeviceAccount[]> {
    this.#watcher?.tell({ kind: "quiet" });
    for (const link of this.#links) link.tell({ kind: "drain" });
    const deadlineMs = performance.now() + this.#options.drainMs;
    // Two reports from after the order, so that what they say is of after it.
    await delay(2 * SAMPLE_EVERY_MS);
    const waiting = (): number =>
      this.#reports.reduce((total, report, index) => total + (this.#links[index]?.isGone === true ? 0 : (report?.waiting ?? 0)), 0);
    while (performance.now() < deadlineMs && (waiting() > 0 || !this.#watcherHasAll())) await delay(POLL_MS);
    const stopped = await Promise.all(
      this.#links.map(async (link, index) => {
        const dead = delay(STOP_MS, undefined, { ref: false }).then(() => "no answer within 30 s");
        const answer = await Promise.race([link.ask({ kind: "stop" }, "stopped").catch((error: unknown) => String(error)), dead]);
        if (typeof answer !== "string") {
          this.#reports[index] = answer.report;
          this.#kept.push(...answer.kept);
          this.#programs.push(...answer.programs);
          if (answer.programReport) this.#programReports.push(answer.programReport);
          return answer.accounts;
        }
        const { identities, workers, crew } = this.#options;
        const hired = crew?.[index];
        const missed = hired?.ids ?? identities.filter((_, at) => at % workers === index).map(({ id }) => id);
        const name = hired?.name ?? `${index} of ${this.#links.length}`;
        const gone = `its ${missed.length} devices (${missed[0] ?? ""}...) are missing from every figure`;
        this.check("every worker lives to the end", false, `worker ${name}: ${answer}; ${gone}`);
        return [];
      }),
    );
    return stopped.flat();
  }

  /** All that the devices numbered has come, or nothing has for a while: what is missing then is lost. */
  #watcherHasAll(): boolean {
    const accepted = this.#reports.reduce((total, report) => total + (report?.accepted ?? 0), 0);
    const { messages = 0, quietMs = 0, commands = 0, answers = 0 } = this.#seen ?? {};
    // Of a program's messages copies are not told apart before the end.
    if (this.#options.plan.program) return (messages >= accepted && quietMs > SAMPLE_EVERY_MS) || quietMs > QUIET_MS;
    return (messages >= accepted && answers >= commands) || quietMs > QUIET_MS;
  }

  async #settle(accounts: DeviceAccount[], startedAt: string): Promise<FleetResult> {
    const { name, plan, brokerName, identities, workers } = this.#options;
    const watched = await (this.#watcher as FleetLink).ask({ kind: "stop" }, "watched");
    const reports = this.#reports.filter((report) => report !== undefined);
    const known = new Set([...accounts, ...this.#programs].map(({ id }) => id));
    const lostIds = new Set(identities.map(({ id }) => id).filter((id) => !known.has(id)));
    // What devices of a dead worker accepted nobody knows; that they are missing is said above.
    const settled = plan.program
      ? settlePrograms(this.#programs, new Map(watched.contents))
      : settle(accounts, new Map(watched.counts.filter(([id]) => !lostIds.has(id))));
    const program = plan.program
      ? programFacts(plan.program, this.#programs, this.#programReports, this.#options.denied?.() ?? [], new Map(watched.commanded))
      : undefined;
    const { commands, answers } = watched.report;
    if (watched.strangers.length > 0) this.check("nobody else publishes on the fleet's topics", false, watched.strangers.join(", "));
    const cpuMicros = reports.reduce((sum, report) => sum + report.cpuMicros, 0);
    const messages = settled.accepted.qos0 + settled.accepted.qos1 + settled.accepted.qos2;
    const durationMs = Math.round(this.elapsedMs);
    const facts: FleetFacts = {
      v: 1,
      name,
      seed: plan.seed,
      client: plan.client,
      broker: brokerName,
      startedAt,
      durationMs,
      devices: identities.length,
      workers,
      messages: { ...settled, refused: reports.reduce((sum, report) => sum + report.refused, 0) },
      commands: { sent: plan.program ? 0 : commands, answered: answers, unanswered: watched.unanswered.slice(0, 5) },
      delivery: mergedQuantiles([watched.report.delivery]),
      answer: mergedQuantiles([watched.report.answer]),
      connecting: mergedQuantiles(reports.map((report) => report.connecting)),
      connections: {
        most: this.#most,
        accepted: reports.reduce((sum, report) => sum + report.connections, 0),
        attempts: reports.reduce((sum, report) => sum + report.attempts, 0),
        allOnlineMs: this.#allOnlineMs,
        renewed: reports.reduce((sum, report) => sum + report.renewed, 0),
        devicesByCredential: sumOf(reports.map((report) => report.devicesByCredential)),
      },
      failures: sumOf(reports.map((report) => report.failures)),
      cost: {
        kilobytesPerDevice: round((this.#peakRss - this.#baseRss) / 1024 / Math.max(1, this.#most)),
        cpuPercentPerThousand: round((cpuMicros / (durationMs * 10) / Math.max(1, identities.length)) * 1_000),
        cpuMicrosPerMessage: round(cpuMicros / Math.max(1, messages)),
      },
      samples: this.samples,
      events: this.events,
      ...(program ? { program } : {}),
    };
    const checks = [...(this.#options.judge ?? usualChecks)(facts), ...(program ? programChecks(program) : []), ...this.#checks];
    return { ...facts, checks, passed: checks.every(({ passed }) => passed) };
  }
}

/** Nothing lost, everything answered, everybody online. */
export function usualChecks({ messages, commands, connections, devices }: FleetFacts): Check[] {
  const { faults, faultCount, accepted } = messages;
  const first = faults.slice(0, 5).map(describeFault).join("; ");
  const { sent, answered, unanswered } = commands;
  const { allOnlineMs, most } = connections;
  return [
    {
      name: "every accepted message is delivered",
      passed: faultCount === 0,
      detail: faultCount === 0 ? `${accepted.qos1} at QoS 1, ${accepted.qos2} at QoS 2` : `${faultCount} faults: ${first}`,
    },
    ...(sent === 0
      ? []
      : [
          {
            name: "every command is answered",
            passed: answered === sent,
            detail: answered === sent ? `${sent} commands` : `${sent - answered} of ${sent} are not: ${unanswered.join("; ")}`,
          },
        ]),
    {
      name: "every device comes online",
      passed: allOnlineMs !== undefined,
      detail: allOnlineMs === undefined ? `${most} of ${devices} at most` : `after ${(allOnlineMs / 1000).toFixed(1)} s`,
    },
  ];
}

function sumOf(parts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const part of parts) for (const [key, count] of Object.entries(part)) sums[key] = (sums[key] ?? 0) + count;
  return sums;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
