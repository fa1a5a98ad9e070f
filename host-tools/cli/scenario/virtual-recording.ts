/** Looks on while a virtual world plays a scenario: samples, latencies, who used which credential. */
import { build as histogramOf } from "hdr-histogram-js";
import type { Quantiles, Sample } from "../../../sim/fleet/fleet-result.js";
import type { World } from "../../../sim/virtual/world/world.js";
import type { Step } from "./timeline.js";

/** A week at once a second would be 600,000 samples. */
const MOST_SAMPLES = 5_000;
const LEAST_MS = 500;
const LONGEST_MS = 30 * 86_400_000;

export class Recording {
  readonly samples: Sample[] = [];
  readonly marks = new Map<string, number>();
  readonly events: { atMs: number; what: string }[] = [];
  readonly failures: Record<string, number> = {};
  readonly #latencies = histogramOf({ lowestDiscernibleValue: 1, highestTrackableValue: LONGEST_MS, numberOfSignificantValueDigits: 3 });
  readonly #credentials = new Map<string, string>();
  readonly #users = new Map<string, Set<string>>();
  #world: World | undefined;
  #delivered = 0;

  constructor(private readonly durationMs: number) {}

  attach(world: World): void {
    this.#world = world;
    for (const device of world.devices) {
      device.outbound.onDelivered = ({ atMs }) => {
        this.#delivered++;
        this.#latencies.recordValue(Math.max(1, Math.min(LONGEST_MS, world.time.nowMs - atMs)));
      };
      device.onEvent = (event) => {
        if (event.type === "connected") {
          this.#credentials.set(device.id, event.credential);
          this.#users.set(event.credential, (this.#users.get(event.credential) ?? new Set()).add(device.id));
        } else if (event.type === "disconnected") {
          this.#credentials.delete(device.id);
          if (event.code !== "CLOSED_LOCALLY" || !event.wasConnected) this.failures[event.code] = (this.failures[event.code] ?? 0) + 1;
        }
      };
    }
    this.#sample(world, Math.max(LEAST_MS, this.durationMs / MOST_SAMPLES));
  }

  mark({ mark, what }: Step): void {
    const atMs = this.#world?.time.nowMs ?? 0;
    this.marks.set(mark, atMs);
    this.events.push({ atMs, what });
  }

  accepted(): [number, number, number] {
    const sums: [number, number, number] = [0, 0, 0];
    for (const { outbound } of this.#world?.devices ?? []) for (const qos of [0, 1, 2] as const) sums[qos] += outbound.acceptedByQos[qos];
    return sums;
  }

  /** A virtual application answers a command by taking it. */
  commands(): { sent: number; answered: number } {
    const tallies = (this.#world?.devices ?? []).map(({ inbound }) => inbound.tally);
    const sum = (of: "sent" | "reached"): number => tallies.reduce((total, tally) => total + tally[of], 0);
    return { sent: sum("sent"), answered: sum("reached") };
  }

  devicesByCredential(): Record<string, number> {
    return Object.fromEntries([...this.#users].map(([kind, ids]) => [kind, ids.size]));
  }

  delivery(): Quantiles {
    const at = (percentile: number): number => (this.#latencies.totalCount === 0 ? 0 : this.#latencies.getValueAtPercentile(percentile));
    return { count: this.#latencies.totalCount, p50Ms: at(50), p90Ms: at(90), p99Ms: at(99), p999Ms: at(99.9), maxMs: at(100) };
  }

  #sample(world: World, everyMs: number): void {
    world.time.after(everyMs, () => {
      if (world.time.nowMs > this.durationMs) return;
      const byCredential: Record<string, number> = {};
      for (const kind of this.#credentials.values()) byCredential[kind] = (byCredential[kind] ?? 0) + 1;
      const { p50Ms, p99Ms } = this.delivery();
      this.samples.push({
        atMs: world.time.nowMs,
        connected: this.#credentials.size,
        asleep: 0,
        attempts: world.devices.reduce((sum, { attempts }) => sum + attempts.attempts, 0),
        messages: this.#delivered,
        waiting: world.devices.reduce((sum, { outbound }) => sum + outbound.open, 0),
        p50Ms,
        p99Ms,
        rssMb: 0,
        byCredential,
      });
      this.#sample(world, everyMs);
    });
  }
}
