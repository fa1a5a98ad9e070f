/**
 * Names who keeps failing: many refused logins of one sender, publishes one device keeps trying where it may not, one client
 * id that two connections fight for. Scores decay by half in five minutes of the broker's time, and a bounded number of
 * names is remembered, whatever senders call themselves.
 */
import { SCORED_RULES } from "./alert.js";
import type { OffenderAlert, ScoredRule } from "./alert.js";
import type { BrokerEvent } from "./log-events.js";

/** How much of a score is too much. */
const THRESHOLDS: Readonly<Record<ScoredRule, number>> = {
  /** Wrong passwords, keys or certificates. */
  "failed-logins": 10,
  "denied-publishes": 20,
  /** A client id that is taken over again and again: a copied credential, or two devices with one name. */
  "clone-suspected": 3,
};

/** Somebody who keeps failing, whether or not that is an alert yet. */
export interface Offender {
  readonly rule: ScoredRule;
  readonly by: OffenderAlert["by"];
  readonly offender: string;
  /** About how many events in the last minutes. */
  readonly score: number;
}

const HALF_LIFE_MS = 5 * 60_000;
/** The same offender is named again only after this long. */
const REPEAT_MS = 60 * 60_000;
/** Names remembered for each rule. */
export const MAX_REMEMBERED = 10_000;

/** Scores that survive a restart, for each rule. */
const MAX_STORED = 1000;
export type StoredScores = readonly (readonly [rule: ScoredRule, key: string, value: number, atMs: number, alertedMs: number | null])[];

interface Score {
  value: number;
  atMs: number;
  alertedMs: number | undefined;
}

const LOGIN_REASONS: ReadonlySet<string> = new Set(["password", "psk", "certificate", "no_certificate"]);

export class OffenderWatch {
  readonly #scores = new Map<ScoredRule, Map<string, Score>>(SCORED_RULES.map((rule) => [rule, new Map<string, Score>()]));

  /** The newest scores of each rule, for {@link restore}. */
  get stored(): StoredScores {
    return [...this.#scores].flatMap(([rule, scores]) =>
      [...scores]
        .sort(([, a], [, b]) => b.atMs - a.atMs)
        .slice(0, MAX_STORED)
        .map(([key, { value, atMs, alertedMs }]) => [rule, key, value, atMs, alertedMs ?? null] as const),
    );
  }

  /** @throws RangeError for anything that {@link stored} never gives */
  restore(stored: unknown): void {
    if (!Array.isArray(stored) || stored.length > MAX_STORED * SCORED_RULES.length) throw new RangeError("not a list of scores");
    for (const one of stored as unknown[]) {
      const [rule, key, value, atMs, alertedMs] = Array.isArray(one) ? (one as unknown[]) : [];
      const scores = this.#scores.get(rule as ScoredRule);
      const isKey = typeof key === "string" && /^(?:address|client|claimedClient) /.test(key);
      const isAlerted = alertedMs === null || isTime(alertedMs);
      if (scores === undefined || !isKey || !isTime(value) || !isTime(atMs) || !isAlerted) throw new RangeError("not a score");
      scores.set(key, { value, atMs, alertedMs: alertedMs ?? undefined });
    }
  }

  /** @returns the alert that this event completes */
  event(event: BrokerEvent): OffenderAlert | undefined {
    const { timeMs } = event;
    if (event.kind === "denied" && event.client !== undefined) return this.#count("denied-publishes", "client", event.client, timeMs);
    if (event.kind === "taken-over" && event.client !== undefined) return this.#count("clone-suspected", "client", event.client, timeMs);
    if (event.kind !== "refused" || !LOGIN_REASONS.has(event.reason)) return undefined;
    if (event.address !== undefined) return this.#count("failed-logins", "address", event.address, timeMs);
    return event.claimedClient === undefined ? undefined : this.#count("failed-logins", "claimedClient", event.claimedClient, timeMs);
  }

  /** How many names are remembered now. */
  get remembered(): number {
    return [...this.#scores.values()].reduce((sum, scores) => sum + scores.size, 0);
  }

  /** Those with the highest scores now, of all rules; who did nothing for long is left out. */
  top(count: number, nowMs: number): Offender[] {
    const ranked: Offender[] = [];
    for (const [rule, scores] of this.#scores) {
      for (const [key, score] of scores) {
        const value = valueAt(score, nowMs);
        if (value < FORGOTTEN || value <= (ranked[count - 1]?.score ?? 0)) continue;
        const [by = "", offender = ""] = divided(key);
        const at = ranked.findIndex((other) => other.score < value);
        ranked.splice(at < 0 ? ranked.length : at, 0, { rule, by: by as OffenderAlert["by"], offender, score: value });
        ranked.length = Math.min(count, ranked.length);
      }
    }
    return ranked;
  }

  #count(rule: ScoredRule, by: OffenderAlert["by"], offender: string, timeMs: number): OffenderAlert | undefined {
    const scores = this.#scores.get(rule) ?? new Map<string, Score>();
    const key = `${by} ${offender}`;
    const known = scores.get(key);
    const score: Score = {
      value: known === undefined ? 1 : valueAt(known, timeMs) + 1,
      atMs: Math.max(timeMs, known?.atMs ?? timeMs),
      alertedMs: known?.alertedMs,
    };
    if (known === undefined && scores.size >= MAX_REMEMBERED) makeRoom(scores, timeMs);
    scores.set(key, score);
    const isTold = score.alertedMs !== undefined && score.atMs - score.alertedMs < REPEAT_MS;
    if (score.value < THRESHOLDS[rule] - ROUNDING || isTold) return undefined;
    score.alertedMs = score.atMs;
    return { kind: "alert", rule, by, offender, count: Math.round(score.value), timeMs };
  }
}

/** A single event is shown for one half-life. */
const FORGOTTEN = 0.5;
/** Ten events within a few seconds have decayed a little, and are ten. */
const ROUNDING = 0.5;

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value < 2 ** 53;
}

/** Of a key of the scores: no way of knowing somebody has a blank in its name, but an offender's name may. */
function divided(key: string): [string, string] {
  const at = key.indexOf(" ");
  return [key.slice(0, at), key.slice(at + 1)];
}

function valueAt({ value, atMs }: Score, nowMs: number): number {
  return value * 2 ** (-Math.max(0, nowMs - atMs) / HALF_LIFE_MS);
}

/** Keeps the higher half, so that the cost of sorting is spread over as many new names as the other half had. */
function makeRoom(scores: Map<string, Score>, nowMs: number): void {
  const ranked = [...scores].map(([key, score]) => ({ key, value: valueAt(score, nowMs) })).sort((a, b) => b.value - a.value);
  for (const { key } of ranked.slice(MAX_REMEMBERED / 2)) scores.delete(key);
}
