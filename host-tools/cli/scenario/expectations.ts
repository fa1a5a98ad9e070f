/** What a scenario expects, in sentences; each is one check of the result. */
import { HawserError } from "../../../sdk/errors.js";
import { describeFault } from "../../../sim/fleet/delivery-account.js";
import type { Check, FleetFacts, Sample } from "../../../sim/fleet/fleet-result.js";
import { straightLine } from "../../../sim/fleet/straight-line.js";
import { parsePositiveDurationMs } from "../flag-values.js";

/** What a run found, and when its events took place: milliseconds since the start; `end of NAME` for ends. */
export interface Findings extends FleetFacts {
  readonly marks: ReadonlyMap<string, number>;
}

export interface Expectation {
  readonly sentence: string;
  /** Undefined where this run cannot tell. */
  judge(found: Findings): Check | undefined;
}

type Verdict = readonly [passed: boolean, detail: string] | undefined;

interface Form {
  readonly example: string;
  readonly pattern: RegExp;
  judge(parts: readonly string[], found: Findings): Verdict;
}

/** A shorter one's memory is still that of its start. */
const LEAST_GROWTH_MS = 2 * 60_000;
const DURATION = "(\\d+(?:\\.\\d+)?(?:ms|s|m|h|d))";

const FORMS: readonly Form[] = [
  {
    example: "within 30s of the end of NAME: at least 99% online by mtls",
    pattern: new RegExp(
      `^within ${DURATION}(?: of (?:the )?((?:end of )?[a-z][a-z0-9-]*))?: (at least |at most )?(\\d{1,3}(?:\\.\\d+)?)% online(?: by (mtls|psk))?$`,
    ),
    judge: (parts, found) => judgeOnline(parts, found),
  },
  {
    example: "at the end: 100% online by mtls",
    pattern: /^at the end: (at least |at most )?(\d{1,3}(?:\.\d+)?)% online(?: by (mtls|psk))?$/,
    judge: ([bound = "", percent = "", kind = ""], found) => {
      const share = shareOnline(found.samples.at(-1), kind, found.devices);
      return [fits(share, Number(percent), bound), `${shown(share)} online${by(kind)}`];
    },
  },
  {
    example: "no message lost",
    pattern: /^no message lost$/,
    judge: (_, { messages }) => {
      const faults = messages.faults.map(describeFault);
      return [
        messages.faultCount === 0,
        messages.faultCount === 0
          ? `${messages.accepted.qos1} at QoS 1, ${messages.accepted.qos2} at QoS 2`
          : `${messages.faultCount} faults: ${faults.slice(0, 5).join("; ")}`,
      ];
    },
  },
  {
    example: "every command answered",
    pattern: /^every command answered$/,
    judge: (_, { commands }) => [
      commands.sent > 0 && commands.answered === commands.sent,
      commands.sent === 0 ? "no command was sent: set fleet.commandsPerSecond" : `${commands.answered} of ${commands.sent}`,
    ],
  },
  {
    example: "no device used psk",
    pattern: /^no device used (psk|mtls)$/,
    judge: ([kind = ""], found) => [used(found, kind) === 0, `${used(found, kind)} devices did`],
  },
  {
    example: "at least 3 devices used psk",
    pattern: /^at (least|most) (\d+) devices? used (psk|mtls)$/,
    judge: ([bound = "", count = "", kind = ""], found) => [
      fits(used(found, kind), Number(count), bound),
      `${used(found, kind)} devices did`,
    ],
  },
  {
    example: "at least 5 certificates renewed",
    pattern: /^at (least|most) (\d+) certificates? renewed$/,
    judge: ([bound = "", count = ""], { connections }) => [fits(connections.renewed, Number(count), bound), `${connections.renewed} were`],
  },
  {
    example: "delivery p99 below 500ms",
    pattern: new RegExp(`^(delivery|answer) (p50|p90|p99|p99\\.9|max) below ${DURATION}$`),
    judge: ([of = "", at = "", limit = ""], found) => {
      const quantiles = of === "answer" ? found.answer : found.delivery;
      const valueMs =
        { p50: quantiles.p50Ms, p90: quantiles.p90Ms, p99: quantiles.p99Ms, "p99.9": quantiles.p999Ms, max: quantiles.maxMs }[at] ?? 0;
      return [
        quantiles.count > 0 && valueMs < parsePositiveDurationMs(limit),
        quantiles.count === 0 ? "nothing was measured" : `${valueMs} ms`,
      ];
    },
  },
  {
    example: "at most 100 attempts in a second",
    pattern: /^at most (\d+) attempts in a second$/,
    judge: ([count = ""], { samples }) => {
      const peak = peakRate(samples);
      return [peak <= Number(count), `${peak} at most`];
    },
  },
  {
    example: "at most 5 attempts a device",
    pattern: /^at most (\d+(?:\.\d+)?) attempts a device$/,
    judge: ([count = ""], { connections, devices }) => [
      connections.attempts / devices <= Number(count),
      (connections.attempts / devices).toFixed(1),
    ],
  },
  {
    example: "memory below 150 KB a device",
    pattern: /^memory below (\d+(?:\.\d+)?) KB a device$/,
    judge: ([limit = ""], { cost, client }) =>
      client === "virtual" ? undefined : [cost.kilobytesPerDevice < Number(limit), `${cost.kilobytesPerDevice} KB`],
  },
  {
    example: "memory grows by less than 2 KB a device and minute",
    pattern: /^memory grows by less than (\d+(?:\.\d+)?) KB a device and minute$/,
    judge: ([limit = ""], { samples, devices, client }) =>
      client === "virtual" ? undefined : judgeGrowth(Number(limit), samples, devices),
  },
];

export const EXPECTATION_EXAMPLES: readonly string[] = FORMS.map(({ example }) => example);

/**
 * @param events names of the timeline's events, and whether each has an end
 * @throws HawserError `SCENARIO_INVALID` that names the sentences there are
 */
export function readExpectation(sentence: string, events: ReadonlyMap<string, boolean>): Expectation {
  const plain = sentence.trim().replace(/\s+/g, " ");
  for (const form of FORMS) {
    const match = form.pattern.exec(plain);
    if (match === null) continue;
    const parts = match.slice(1).map((part: string | undefined) => part ?? "");
    const [, anchor = ""] = parts;
    if (plain.startsWith("within") && anchor !== "") checkAnchor(anchor, events);
    return {
      sentence: plain,
      judge: (found) => {
        const verdict = form.judge(parts, found);
        return verdict && { name: plain, passed: verdict[0], detail: verdict[1] };
      },
    };
  }
  throw new HawserError(
    "SCENARIO_INVALID",
    `${JSON.stringify(plain)} is not a sentence that can be checked`,
    `Write one of: ${EXPECTATION_EXAMPLES.join(" | ")}`,
  );
}

function checkAnchor(anchor: string, events: ReadonlyMap<string, boolean>): void {
  const name = anchor.replace(/^end of /, "");
  const hasEnd = events.get(name);
  const names = [...events.keys()].join(", ") || "none";
  if (hasEnd === undefined) throw new HawserError("SCENARIO_INVALID", `there is no event ${name}`, `The timeline has: ${names}.`);
  if (anchor !== name && !hasEnd)
    throw new HawserError("SCENARIO_INVALID", `event ${name} has no end`, "Give the event `for:`, or name the event that ends it.");
}

function judgeOnline([within = "", anchor = "", bound = "", percent = "", kind = ""]: readonly string[], found: Findings): Verdict {
  const fromMs = anchor === "" ? 0 : found.marks.get(anchor);
  if (fromMs === undefined) return [false, `${anchor} did not take place: the run was over before`];
  const untilMs = fromMs + parsePositiveDurationMs(within);
  const seen = found.samples.filter(({ atMs }) => atMs > fromMs && atMs <= untilMs);
  const share = (sample: Sample | undefined): number => shareOnline(sample, kind, found.devices);
  if (seen.length === 0) return [false, "nothing was seen in that time: it is shorter than a sample, or beyond the run"];
  // A moment that fits and passes again is not enough: it has to hold when the time is over.
  const misfits = seen.map((sample) => !fits(share(sample), Number(percent), bound));
  const since = seen[misfits.lastIndexOf(true) + 1];
  if (since) return [true, `${shown(share(since))} online${by(kind)} from ${((since.atMs - fromMs) / 1000).toFixed(1)} s on`];
  return [false, `${shown(share(seen.at(-1)))} online${by(kind)} after ${within}`];
}

/** Percent of the devices that are not asleep. */
function shareOnline(sample: Sample | undefined, kind: string, devices: number): number {
  if (sample === undefined) return 0;
  const online = kind === "" ? sample.connected : (sample.byCredential[kind] ?? 0);
  return (online / Math.max(1, devices - sample.asleep)) * 100;
}

function fits(value: number, limit: number, bound: string): boolean {
  return bound.includes("most") ? value <= limit : value >= limit;
}

function used({ connections }: Findings, kind: string): number {
  return connections.devicesByCredential[kind] ?? 0;
}

/** From the second half of the run: an engine takes memory as it warms up, and keeps it. */
function judgeGrowth(limit: number, samples: readonly Sample[], devices: number): Verdict {
  const endMs = samples.at(-1)?.atMs ?? 0;
  if (endMs < LEAST_GROWTH_MS) return [false, `a run of ${LEAST_GROWTH_MS / 60_000} minutes or more can tell`];
  const points = samples.filter(({ atMs }) => atMs >= endMs / 2).map(({ atMs, rssMb }) => ({ atMs, value: rssMb * 1024 }));
  const grows = (straightLine(points).slope * 60_000) / devices;
  return [grows < Number(limit), `${grows.toFixed(2)} KB`];
}

/** The most attempts in one second, from the sums that samples hold. */
export function peakRate(samples: readonly Sample[]): number {
  return samples.reduce((peak, { atMs, attempts }, index) => {
    const before = samples[index - 1] ?? { atMs: 0, attempts: 0 };
    return Math.max(peak, Math.round((attempts - before.attempts) / Math.max(0.5, (atMs - before.atMs) / 1000)));
  }, 0);
}

const shown = (share: number): string => `${Math.floor(share * 10) / 10}%`;
const by = (kind: string): string => (kind === "" ? "" : ` by ${kind}`);
