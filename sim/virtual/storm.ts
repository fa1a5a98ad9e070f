/**
 * A fleet after an outage: every device lost its broker at one moment, the broker comes back and can take only so many connections a
 * second.
 * Compares reconnect policies; ours is the SDK's own backoff (reference: anchors.md, "Storm").
 */
import { Backoff, DEFAULT_BACKOFF } from "../../sdk/backoff.js";
import { SeededRandom } from "./random.js";
import { EventQueue } from "./time/event-queue.js";

export interface StormScene {
  devices: number;
  /** How long the broker is away, milliseconds. */
  downMs: number;
  acceptsPerSecond: number;
}

export interface StormFigures {
  /** The most attempts within one second, from the broker's return on. */
  peakAttemptsPerSecond: number;
  attemptsPerDevice: number;
  /** From the broker's return until 99 % of the fleet is back, milliseconds. */
  backMs: number;
}

/** Gives the delay before each next attempt of one device, milliseconds. */
export type ReconnectPolicy = (random: SeededRandom) => () => number;

export const STORM: StormScene = { devices: 10_000, downMs: 600_000, acceptsPerSecond: 200 };

const fixed =
  (delayMs: number): ReconnectPolicy =>
  () =>
  () =>
    delayMs;

/** The Azure IoT C SDK's default: 1, 2, 4 ... at most 30 s, plus 0 to 5 % of jitter. */
const azure: ReconnectPolicy = (random) => {
  let delayMs = 500;
  return () => {
    delayMs = Math.min(30_000, delayMs * 2);
    return delayMs * (1 + 0.05 * random.fraction());
  };
};

const hawser: ReconnectPolicy = (random) => {
  const backoff = new Backoff(DEFAULT_BACKOFF, () => random.fraction());
  return () => backoff.next();
};

export const POLICIES: readonly { name: string; policy: ReconnectPolicy }[] = [
  { name: "fixed 1 s (MQTT.js, Moddable)", policy: fixed(1_000) },
  { name: "fixed 10 s (esp-mqtt)", policy: fixed(10_000) },
  { name: "Azure IoT C, 0-5 % jitter", policy: azure },
  { name: "Hawser, full jitter", policy: hawser },
];

interface Waiting {
  next: () => number;
}

export function storm(scene: StormScene, policy: ReconnectPolicy, random: SeededRandom): StormFigures {
  const queue = new EventQueue();
  let attempts = 0;
  let order = 0;
  const wait = (device: Waiting, atMs: number): void => queue.push({ atMs, order: order++, run: () => attempt(device, atMs) });
  for (let number = 0; number < scene.devices; number++) {
    const next = policy(random.fork(String(number)));
    let atMs = next();
    // While the broker is away nothing a device does concerns another: each is refused and waits again.
    for (; atMs < scene.downMs; atMs += next()) attempts++;
    wait({ next }, atMs);
  }
  let back = 0;
  let second = -1;
  let inSecond = 0;
  let peak = 0;
  function attempt(device: Waiting, atMs: number): void {
    attempts++;
    const now = Math.floor(atMs / 1_000);
    if (now !== second) [second, inSecond] = [now, 0];
    peak = Math.max(peak, ++inSecond);
    if (inSecond <= scene.acceptsPerSecond) back++;
    else wait(device, atMs + device.next());
  }
  let lastMs = scene.downMs;
  while (back < scene.devices * 0.99) {
    const event = queue.pop();
    if (!event) break;
    lastMs = event.atMs;
    event.run?.();
  }
  const backMs = lastMs - scene.downMs;
  while (back < scene.devices) {
    const event = queue.pop();
    if (!event) break;
    event.run?.();
  }
  return { peakAttemptsPerSecond: peak, attemptsPerDevice: attempts / scene.devices, backMs };
}

/** The median of several seeds, figure by figure. */
export function medianStorm(scene: StormScene, policy: ReconnectPolicy, seeds: readonly string[]): StormFigures {
  const runs = seeds.map((seed) => storm(scene, policy, new SeededRandom(`storm ${seed}`)));
  const median = (of: (run: StormFigures) => number): number => runs.map(of).sort((a, b) => a - b)[Math.floor(runs.length / 2)] ?? 0;
  return {
    peakAttemptsPerSecond: median((run) => run.peakAttemptsPerSecond),
    attemptsPerDevice: median((run) => run.attemptsPerDevice),
    backMs: median((run) => run.backMs),
  };
}

export function stormTable(rows: readonly { name: string; figures: StormFigures }[]): string {
  const head = ["policy", "peak attempts/s", "attempts per device", "99 % back after"];
  const cells = rows.map(({ name, figures }) => [
    name,
    figures.peakAttemptsPerSecond.toLocaleString("en-US"),
    figures.attemptsPerDevice.toFixed(0),
    `${(figures.backMs / 1_000).toFixed(0)} s`,
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  ");
  return `${[head, ...cells].map(line).join("\n")}\n`;
}
