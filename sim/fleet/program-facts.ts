/** What a run found of a product's program, and what is to be said of it. */
import { describeProgramFault } from "../program/program-faults.js";
import type { HeapSample, ProgramAccount, ProgramFault, ProgramPlan, ProgramReport, TopicSummary } from "../program/program-plan.js";
import type { Check } from "./fleet-result.js";
import { straightLine } from "./straight-line.js";

export interface ProgramFacts {
  readonly source: string;
  readonly faults: readonly ProgramFault[];
  readonly topics: readonly TopicSummary[];
  /** Filters that the program subscribed to on any device. */
  readonly filters: readonly string[];
  readonly fastest: { readonly id: string; readonly perSecond: number; readonly limit: number; readonly devicesAbove: number };
  readonly commands: { readonly sent: number; readonly taken: number; readonly devicesThatMiss: number; readonly firstThatMisses: string };
  /** Absent where the run was too short to tell. */
  readonly growth?: { readonly kilobytesPerDeviceAndMinute: number; readonly limit: number; readonly isSteady: boolean };
}

/** What the devices' start leaves behind is collected by then. */
export const WARM_MS = 5_000;
/** Fewer tell nothing. */
const LEAST_SAMPLES = 6;
/** What one process's memory moves by itself. */
const NOISE_BYTES = 512 * 1024;
const FAULTS_SHOWN = 5;

export function programFacts(
  plan: ProgramPlan,
  accounts: readonly ProgramAccount[],
  reports: readonly ProgramReport[],
  denied: readonly ProgramFault[],
  commanded: ReadonlyMap<string, ReadonlyMap<number, number>>,
): ProgramFacts {
  const fastest = [...accounts].sort((a, b) => b.rate - a.rate)[0];
  const commands = accounts.map((account) => commandsOf(account, commanded.get(account.id)));
  const missing = commands.filter(({ taken, sent }) => taken < sent);
  const first = missing[0];
  const growth = growthOf(reports, plan.growthKilobytes);
  return {
    source: plan.source,
    faults: mergedFaults([...reports.flatMap(({ faults }) => faults), ...denied]),
    topics: mergedTopics(reports),
    filters: [...new Set(accounts.flatMap(({ filters }) => filters))].sort(),
    fastest: {
      id: fastest?.id ?? "",
      perSecond: Math.round((fastest?.rate ?? 0) * 10) / 10,
      limit: plan.publishesPerSecond,
      devicesAbove: accounts.filter(({ rate }) => rate > plan.publishesPerSecond).length,
    },
    commands: {
      sent: [...commanded.values()].reduce((sum, counts) => sum + total(counts), 0),
      taken: commands.reduce((sum, { taken }) => sum + taken, 0),
      devicesThatMiss: missing.length,
      firstThatMisses:
        first === undefined
          ? ""
          : `${first.id} took ${first.taken} of ${first.sent}, ${first.filters.length === 0 ? "and never subscribes" : `subscribed to ${first.filters.join(", ")}`}`,
    },
    ...(growth === undefined ? {} : { growth }),
  };
}

export function programChecks({ faults, fastest, commands, growth }: ProgramFacts): Check[] {
  const of = (name: string, kind: ProgramFault["kind"], fine: string): Check => {
    const found = faults.filter((fault) => fault.kind === kind);
    const more = found.length > FAULTS_SHOWN ? `; and ${found.length - FAULTS_SHOWN} others` : "";
    return {
      name,
      passed: found.length === 0,
      detail: found.length === 0 ? fine : found.slice(0, FAULTS_SHOWN).map(describeProgramFault).join("; ") + more,
    };
  };
  const isSlowEnough = fastest.devicesAbove === 0;
  return [
    of("the program throws nothing", "error", "no error"),
    of("the program never blocks the engine for a second", "block", "no block"),
    of("no message of the program is refused", "refused", "none"),
    {
      name: `no device publishes more than ${fastest.limit} times a second`,
      passed: isSlowEnough,
      detail: `${fastest.id} is the fastest: ${fastest.perSecond} a second in its busiest 10 s${isSlowEnough ? "" : `; ${fastest.devicesAbove} devices are above the limit`}`,
    },
    ...(commands.sent === 0
      ? []
      : [
          {
            name: "the program takes every command",
            passed: commands.devicesThatMiss === 0,
            detail:
              commands.devicesThatMiss === 0
                ? `${commands.sent} commands`
                : `${commands.sent - commands.taken} of ${commands.sent} were not taken, on ${commands.devicesThatMiss} devices: ${commands.firstThatMisses}`,
          },
        ]),
    ...(growth === undefined
      ? []
      : [
          {
            name: "the program's memory does not grow",
            passed: !(growth.isSteady && growth.kilobytesPerDeviceAndMinute > growth.limit),
            detail: `${growth.kilobytesPerDeviceAndMinute} KB a device and minute${growth.isSteady ? ", steadily" : ""}; the limit is ${growth.limit}`,
          },
        ]),
  ];
}

/** A command at QoS 1 may come twice: a copy does not stand for another one, where commands differ by `{n}`. */
function commandsOf(
  { id, filters, commandsTaken }: ProgramAccount,
  sent: ReadonlyMap<number, number> = new Map(),
): { id: string; filters: readonly string[]; sent: number; taken: number } {
  const taken = [...sent].reduce((sum, [content, count]) => sum + Math.min(count, commandsTaken.get(content) ?? 0), 0);
  return { id, filters, sent: total(sent), taken };
}

function total(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function growthOf(reports: readonly ProgramReport[], limit: number): ProgramFacts["growth"] {
  const trends = reports.map(trendOf).filter((trend) => trend !== undefined);
  if (trends.length === 0) return undefined;
  const devices = trends.reduce((sum, trend) => sum + trend.devices, 0);
  const bytesPerMs = trends.reduce((sum, trend) => sum + trend.bytesPerMs, 0);
  return {
    kilobytesPerDeviceAndMinute: Math.round((bytesPerMs * 60_000) / 102.4 / devices) / 10,
    limit,
    isSteady: trends.some(({ isSteady }) => isSteady),
  };
}

function trendOf({ heap, devices }: ProgramReport): { bytesPerMs: number; devices: number; isSteady: boolean } | undefined {
  const startedMs = heap.find((sample) => sample.devices === devices)?.atMs ?? Infinity;
  const growth = steadyGrowth(
    heap.filter(({ atMs }) => atMs >= startedMs + WARM_MS),
    NOISE_BYTES,
  );
  return growth && { ...growth, devices };
}

/**
 * How memory grows over samples of which the start's are left out already; undefined where they are too few to tell.
 * @param noiseBytes what it moves by itself
 */
export function steadyGrowth(
  samples: readonly Pick<HeapSample, "atMs" | "bytes">[],
  noiseBytes: number,
): { bytesPerMs: number; isSteady: boolean } | undefined {
  if (samples.length < LEAST_SAMPLES) return undefined;
  const { slope, explained } = straightLine(samples.map(({ atMs, bytes }) => ({ atMs, value: bytes })));
  const grownBytes = slope * ((samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0));
  // The line explains nearly all that the samples differ by.
  return { bytesPerMs: slope, isSteady: grownBytes > noiseBytes && explained > 0.8 };
}

function mergedFaults(faults: readonly ProgramFault[]): ProgramFault[] {
  const merged = new Map<string, ProgramFault>();
  for (const fault of faults) {
    const key = `${fault.kind} ${fault.what} ${fault.where}`;
    const known = merged.get(key);
    const first = known === undefined || fault.atMs < known.atMs ? fault : known;
    merged.set(key, { ...first, count: fault.count + (known?.count ?? 0), longestMs: Math.max(fault.longestMs, known?.longestMs ?? 0) });
  }
  return [...merged.values()].sort((a, b) => b.count - a.count);
}

function mergedTopics(reports: readonly ProgramReport[]): TopicSummary[] {
  const merged = new Map<string, TopicSummary>();
  for (const row of reports.flatMap(({ topics }) => topics)) {
    const known = merged.get(row.topic);
    merged.set(
      row.topic,
      known === undefined
        ? row
        : {
            ...known,
            qos: Math.max(known.qos, row.qos),
            count: known.count + row.count,
            leastBytes: Math.min(known.leastBytes, row.leastBytes),
            mostBytes: Math.max(known.mostBytes, row.mostBytes),
          },
    );
  }
  return [...merged.values()].sort((a, b) => (a.topic < b.topic ? -1 : 1));
}
