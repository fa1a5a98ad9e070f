/**
 * What is normal for one role, learned over days: how much its devices send and how often they connect, on which topics, from
 * which networks and at which hours. Robust against few odd devices (medians), against slow growth (a limit rises by a quarter
 * a day at most, and is told when it has moved far), and bounded.
 */
import { isCount, LogHistogram } from "./log-histogram.js";
import type { StoredHistogram } from "./log-histogram.js";

/** Of a device within {@link WINDOW_MS}; `gap` is the seconds between two messages, `size` a message's bytes. */
export const METRICS = ["messages", "size", "connects", "denied", "gap"] as const;
export type Metric = (typeof METRICS)[number];

export const WINDOW_MS = 10 * 60_000;
export const DAY_MS = 86_400_000;
/** Days before a role is judged by what it learned. */
export const LEARNING_DAYS = 3;
const KEPT_DAYS = 14;
/** With fewer values nothing is normal yet. */
const MIN_VALUES = 20;
/** Distances from the median that are still normal; 1.4826 makes a MAD comparable to a standard deviation. */
const TOLERANCE = 6 * 1.4826;
/** Devices that work to a timetable hardly differ: up to twice the median stays normal. */
const LEAST_FACTOR = 2;
const MOST_RISE_A_DAY = 1.25;
/** A limit this far from the first one is told: somebody may be teaching the monitor. */
const DRIFT_FACTOR = 3;
/** Below these, everything is normal. */
const FLOORS: Readonly<Record<Metric, number>> = { messages: 30, size: 256, connects: 5, denied: 5, gap: 900 };
/** Topics and networks that are remembered. A role with more of them is not judged by them. */
export const MAX_KNOWN = 500;

interface Limit {
  readonly value: number;
  /** The first one that was learned. */
  readonly first: number;
  readonly median: number;
  readonly isDriftTold: boolean;
}

type StoredValues = Readonly<Partial<Record<Metric, StoredHistogram>>>;

/** As the file has it. */
export interface StoredRole {
  readonly days: readonly { readonly day: number; readonly values: StoredValues; readonly hours: readonly number[] }[];
  readonly limits: Readonly<Partial<Record<Metric, Limit>>>;
  readonly topics: readonly string[];
  readonly networks: readonly string[];
  /** Days on which the role was active at each hour of the day, UTC. */
  readonly hours: readonly number[];
  readonly daysSeen: number;
}

interface Day {
  readonly day: number;
  readonly values: Record<Metric, LogHistogram>;
  readonly hours: Set<number>;
}

/** What is normal of one metric. */
export interface Normal {
  readonly limit: number;
  readonly median: number;
}

export class RoleProfile {
  #today: Day | undefined;
  #days: Day[] = [];
  readonly #limits = new Map<Metric, Limit>();
  readonly #topics = new Set<string>();
  readonly #networks = new Set<string>();
  readonly #hours: number[] = Array.from({ length: 24 }, () => 0);
  #daysSeen = 0;

  /** Finished days on which the role was active. */
  get daysSeen(): number {
    return this.#daysSeen;
  }

  get isLearned(): boolean {
    return this.#daysSeen >= LEARNING_DAYS;
  }

  /** Undefined while it is being learned. */
  normal(metric: Metric): Normal | undefined {
    if (!this.isLearned) return undefined;
    const known = this.#limits.get(metric);
    // A role that was hardly ever denied anything has taught that.
    if (known === undefined) return metric === "denied" ? { limit: FLOORS.denied, median: 0 } : undefined;
    return { limit: known.value, median: known.median };
  }

  /** Begins a new day by the broker's clock; an older time changes nothing. Returns metrics whose limit has moved far, once each. */
  advance(timeMs: number): Metric[] {
    const day = Math.floor(timeMs / DAY_MS);
    if (this.#today === undefined) this.#today = newDay(day);
    if (day <= this.#today.day) return [];
    const ended = this.#today;
    this.#today = newDay(day);
    return this.#end(ended);
  }

  /** Learns a value; one beyond what is normal is not learned. */
  add(metric: Metric, value: number): void {
    const normal = this.normal(metric);
    if (normal === undefined || value <= normal.limit) this.#today?.values[metric].add(value);
  }

  /** Whether the role is known and was never active at this hour of the day. */
  isUnusualHour(timeMs: number): boolean {
    const hour = hourOf(timeMs);
    const isUnusual = this.isLearned && this.#hours[hour] === 0 && this.#today?.hours.has(hour) === false;
    this.#today?.hours.add(hour);
    return isUnusual;
  }

  /** Whether the role is known and never used this topic. It is known from now on. */
  isNewTopic(topic: string): boolean {
    return this.#isNew(this.#topics, topic);
  }

  isNewNetwork(network: string): boolean {
    return this.#isNew(this.#networks, network);
  }

  get stored(): StoredRole {
    const days = this.#today === undefined ? this.#days : [...this.#days, this.#today];
    const valuesOf = ({ values }: Day): StoredValues =>
      Object.fromEntries(METRICS.map((metric) => [metric, values[metric].stored] as const).filter(([, pairs]) => pairs.length > 0));
    return {
      days: days.map((day) => ({ day: day.day, values: valuesOf(day), hours: [...day.hours] })),
      limits: Object.fromEntries(this.#limits),
      topics: [...this.#topics],
      networks: [...this.#networks],
      hours: this.#hours,
      daysSeen: this.#daysSeen,
    };
  }

  /** @throws RangeError for anything that {@link stored} never gives */
  static read(stored: unknown): RoleProfile {
    const profile = new RoleProfile();
    const { days, limits, topics, networks, hours, daysSeen } = (stored ?? {}) as Readonly<Record<string, unknown>>;
    profile.#days = arrayOf(days, KEPT_DAYS + 1).map(readDay);
    profile.#today = profile.#days.pop();
    for (const metric of METRICS) {
      const limit = (limits as Readonly<Record<string, unknown>> | undefined)?.[metric];
      if (limit !== undefined) profile.#limits.set(metric, readLimit(limit));
    }
    for (const topic of arrayOf(topics, MAX_KNOWN)) profile.#topics.add(textOf(topic));
    for (const network of arrayOf(networks, MAX_KNOWN)) profile.#networks.add(textOf(network));
    const counts = arrayOf(hours, 24);
    for (let hour = 0; hour < 24; hour += 1) profile.#hours[hour] = countOf(counts[hour]);
    profile.#daysSeen = countOf(daysSeen);
    return profile;
  }

  #end(ended: Day): Metric[] {
    // A day without anything of the role's teaches nothing.
    if (ended.hours.size === 0) return [];
    this.#days = [...this.#days, ended].slice(-KEPT_DAYS);
    this.#daysSeen += 1;
    for (const hour of ended.hours) this.#hours[hour] = (this.#hours[hour] ?? 0) + 1;
    return METRICS.filter((metric) => this.#learn(metric));
  }

  /** @returns whether the limit has moved far for the first time */
  #learn(metric: Metric): boolean {
    const all = new LogHistogram();
    for (const { values } of this.#days) all.addAll(values[metric]);
    const { spread } = all;
    if (spread === undefined || spread.count < MIN_VALUES) return false;
    const wanted = Math.max(FLOORS[metric], spread.median * LEAST_FACTOR, spread.median + TOLERANCE * spread.mad);
    const before = this.#limits.get(metric);
    const isFree = before === undefined || this.#daysSeen <= LEARNING_DAYS;
    const value = isFree ? wanted : Math.min(wanted, before.value * MOST_RISE_A_DAY);
    const first = isFree ? value : before.first;
    const hasDrifted = value > first * DRIFT_FACTOR;
    const isDriftTold = hasDrifted || before?.isDriftTold === true;
    this.#limits.set(metric, { value, first, median: spread.median, isDriftTold });
    return hasDrifted && before?.isDriftTold !== true;
  }

  #isNew(known: Set<string>, text: string): boolean {
    if (known.has(text) || known.size >= MAX_KNOWN) return false;
    known.add(text);
    return this.isLearned;
  }
}

function newDay(day: number): Day {
  return { day, values: histograms(() => new LogHistogram()), hours: new Set() };
}

function histograms(make: (metric: Metric) => LogHistogram): Record<Metric, LogHistogram> {
  return Object.fromEntries(METRICS.map((metric) => [metric, make(metric)])) as Record<Metric, LogHistogram>;
}

function hourOf(timeMs: number): number {
  return Math.floor((timeMs % DAY_MS) / 3_600_000);
}

function readDay(stored: unknown): Day {
  const { day, values, hours } = (stored ?? {}) as Readonly<Record<string, unknown>>;
  const of = (values ?? {}) as Readonly<Record<string, unknown>>;
  const read = histograms((metric) => LogHistogram.read(of[metric] ?? []));
  const active = arrayOf(hours, 24).map(countOf);
  if (active.some((hour) => hour > 23)) throw new RangeError("not an hour");
  return { day: countOf(day), values: read, hours: new Set(active) };
}

function readLimit(stored: unknown): Limit {
  const { value, first, median, isDriftTold } = (stored ?? {}) as Readonly<Record<string, unknown>>;
  const numbers = [value, first, median].map((number) => {
    if (typeof number !== "number" || !(number >= 0 && number < 2 ** 60)) throw new RangeError("not a limit");
    return number;
  });
  const [a = 0, b = 0, c = 0] = numbers;
  return { value: a, first: b, median: c, isDriftTold: isDriftTold === true };
}

function arrayOf(value: unknown, most: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > most) throw new RangeError("not a list, or too long");
  return value as unknown[];
}

function countOf(value: unknown): number {
  if (!isCount(value)) throw new RangeError("not a count");
  return value;
}

const MOST_TEXT = 1024;

function textOf(value: unknown): string {
  if (typeof value !== "string" || value.length > MOST_TEXT) throw new RangeError("not a text, or too long");
  return value;
}
