/** What a reconnect storm looked like, from the samples of a scenario's result: real or virtual, so that the two can be compared. */
import type { FleetResult, Sample } from "../../sim/fleet/fleet-result.js";

/** A single second holds too few attempts to be compared: their number varies by chance alone. */
const WINDOW_MS = 5_000;
const SHARE_BACK = 0.99;

export interface StormCurve {
  /** The most attempts a second, over five seconds, from the broker's return on. */
  readonly peakPerSecond: number;
  /** From the broker's return until 99 % of the fleet is online, milliseconds; undefined when it never was. */
  readonly backMs: number | undefined;
  readonly attemptsPerDevice: number;
  /** From the broker's return on, every five seconds. */
  readonly points: readonly { readonly atMs: number; readonly online: number; readonly attemptsPerSecond: number }[];
}

type Storm = Pick<FleetResult, "samples" | "events" | "devices" | "connections">;

/** The broker returns with the last event of the timeline. */
export function stormCurve({ samples, events, devices, connections }: Storm): StormCurve {
  const returnMs = events.at(-1)?.atMs ?? 0;
  const endMs = samples.at(-1)?.atMs ?? 0;
  const points = [];
  for (let fromMs = returnMs; fromMs + WINDOW_MS <= endMs; fromMs += WINDOW_MS)
    points.push({
      atMs: fromMs + WINDOW_MS - returnMs,
      online: at(samples, fromMs + WINDOW_MS, "connected"),
      attemptsPerSecond: ((at(samples, fromMs + WINDOW_MS, "attempts") - at(samples, fromMs, "attempts")) * 1_000) / WINDOW_MS,
    });
  const back = samples.find(({ atMs, connected }) => atMs >= returnMs && connected >= SHARE_BACK * devices);
  return {
    peakPerSecond: Math.max(0, ...points.map(({ attemptsPerSecond }) => attemptsPerSecond)),
    backMs: back === undefined ? undefined : back.atMs - returnMs,
    attemptsPerDevice: connections.attempts / devices,
    points,
  };
}

/** Between two samples, as if it had changed evenly. */
function at(samples: readonly Sample[], atMs: number, key: "connected" | "attempts"): number {
  const after = samples.findIndex((sample) => sample.atMs >= atMs);
  const [later, earlier] = [samples[after], samples[after - 1]];
  if (later === undefined) return samples.at(-1)?.[key] ?? 0;
  if (earlier === undefined) return later[key];
  return earlier[key] + ((later[key] - earlier[key]) * (atMs - earlier.atMs)) / (later.atMs - earlier.atMs);
}
