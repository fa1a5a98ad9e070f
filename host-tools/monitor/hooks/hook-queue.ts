/**
 * Between the events and one hook: which of them it is told, at most so many a minute, one after another, again when it failed.
 * What it is not told is counted, and the count is sent once the minute is over, so that silence never means that all is well.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Backoff } from "../../../sdk/backoff.js";
import { eventFields } from "../log-monitor.js";
import type { MonitorEvent } from "../log-monitor.js";
import type { AlertRule } from "../alert.js";
import { SEVERITIES, severityOf } from "./event-severity.js";
import type { Severity } from "./event-severity.js";

/** How one attempt ended. `retry` only where another attempt may end otherwise. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "retry"; readonly reason: string; readonly afterMs?: number }
  | { readonly kind: "failed"; readonly reason: string };

/** Where messages go. */
export interface HookTarget {
  /** One attempt, bounded in time; ends early when `stop` is aborted. Never throws. */
  send(message: HookMessage, stop: AbortSignal): Promise<Outcome>;
}

export interface HookMessage {
  /** The same for every attempt. */
  readonly id: string;
  /** One JSON object. */
  readonly body: string;
}

/** Which events a hook is told: those that pass every condition there is. */
export interface HookFilter {
  readonly events?: readonly MonitorEvent["kind"][] | undefined;
  readonly severity?: Severity | undefined;
  /** Of alerts. */
  readonly rules?: readonly AlertRule[] | undefined;
}

/** What became of an event that passed the filter. What failed or was held back is in the next count. */
export const HOOK_RESULTS = ["delivered", "failed", "held_back"] as const;
export type HookResult = (typeof HOOK_RESULTS)[number];

export interface HookOwner {
  /** For each event, and for each count of others. */
  settled(result: HookResult): void;
  /** A delivery failed, or events are held back: said once until it works again. */
  failed(reason: string): void;
}

export interface HookLimits {
  readonly perMinute: number;
  /** How long a stop waits for what is still to be delivered. */
  readonly graceMs?: number;
  /** For tests, which do not wait a minute. */
  readonly minuteMs?: number;
  readonly backoff?: { readonly baseMs: number; readonly capMs: number };
}

/** Messages that wait. Their number bounds the memory: none is longer than a line of the log and a little. */
export const MAX_WAITING = 100;
export const MAX_ATTEMPTS = 6;
const MINUTE_MS = 60_000;
const GRACE_MS = 15_000;
const BACKOFF = { baseMs: 1000, capMs: 60_000 };

/** What was not delivered, by kind of event. */
interface Counts {
  readonly byKind: ReadonlyMap<string, number>;
  readonly fromMs: number;
  readonly toMs: number;
}

export class HookQueue {
  readonly #target: HookTarget;
  readonly #filter: HookFilter;
  readonly #owner: HookOwner;
  readonly #limits: Required<HookLimits>;
  readonly #waiting: (HookMessage & { readonly counts: Counts })[] = [];
  readonly #stop = new AbortController();
  #draining: Promise<void> | undefined;
  #minuteEndsMs = 0;
  #takenThisMinute = 0;
  #heldBack: Counts | undefined;
  #minuteEnd: NodeJS.Timeout | undefined;
  #isFailing = false;
  #isHolding = false;

  constructor(target: HookTarget, filter: HookFilter, limits: HookLimits, owner: HookOwner) {
    this.#target = target;
    this.#filter = filter;
    this.#limits = { graceMs: GRACE_MS, minuteMs: MINUTE_MS, backoff: BACKOFF, ...limits };
    this.#owner = owner;
  }

  /** How many messages wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes an event if the hook is to be told. Returns at once. */
  offer(event: MonitorEvent): void {
    if (!passes(event, this.#filter)) return;
    const counts: Counts = { byKind: new Map([[event.kind, 1]]), fromMs: event.timeMs, toMs: event.timeMs };
    if (performance.now() >= this.#minuteEndsMs) this.#beginMinute();
    if (this.#takenThisMinute >= this.#limits.perMinute || this.#waiting.length >= MAX_WAITING) {
      this.#hold(counts);
      this.#owner.settled("held_back");
      if (!this.#isHolding)
        this.#owner.failed(`events come faster than they can be sent (${this.#limits.perMinute} a minute): counting them`);
      this.#isHolding = true;
      return;
    }
    this.#takenThisMinute += 1;
    this.#push({ time: new Date(event.timeMs).toISOString(), ...eventFields(event), severity: severityOf(event) }, counts);
  }

  /**
   * Sends what waits and the count of what was held back, for as long as a stop may take; then gives up the rest.
   * @returns how many events the hook was told neither one by one nor in a count
   */
  async close(): Promise<number> {
    clearTimeout(this.#minuteEnd);
    this.#summarize();
    const patience = setTimeout(() => this.#stop.abort(), this.#limits.graceMs);
    await this.#draining;
    clearTimeout(patience);
    const lost = [...(this.#heldBack?.byKind.values() ?? [])].reduce((sum, count) => sum + count, 0);
    if (lost > 0) this.#owner.failed(`${lost} events were not delivered before the stop`);
    return lost;
  }

  #push(fields: Readonly<Record<string, unknown>>, counts: Counts): void {
    this.#waiting.push({ id: crypto.randomUUID(), body: JSON.stringify(fields), counts });
    this.#draining ??= this.#drain();
  }

  #beginMinute(): void {
    clearTimeout(this.#minuteEnd);
    this.#minuteEnd = undefined;
    this.#minuteEndsMs = performance.now() + this.#limits.minuteMs;
    this.#takenThisMinute = 0;
    this.#isHolding = false;
    this.#summarize();
    if (this.#heldBack !== undefined) this.#awaitMinuteEnd();
  }

  #hold(counts: Counts): void {
    this.#heldBack = this.#heldBack === undefined ? counts : together(this.#heldBack, counts);
    this.#awaitMinuteEnd();
  }

  #awaitMinuteEnd(): void {
    this.#minuteEnd ??= setTimeout(() => this.#beginMinute(), Math.max(1, this.#minuteEndsMs - performance.now())).unref();
  }

  /** The count takes its turn behind the messages; while nothing is delivered it grows instead. */
  #summarize(): void {
    const counts = this.#heldBack;
    if (counts === undefined || this.#waiting.length >= MAX_WAITING) return;
    this.#heldBack = undefined;
    const { byKind, fromMs, toMs } = counts;
    const [from, to] = [fromMs, toMs].map((timeMs) => new Date(timeMs).toISOString());
    const count = [...byKind.values()].reduce((sum, one) => sum + one, 0);
    const summary = { time: new Date().toISOString(), event: "held-back", count, events: Object.fromEntries(byKind), from, to };
    this.#push({ ...summary, severity: "critical" }, counts);
  }

  async #drain(): Promise<void> {
    // Not within the call that brings the event.
    await Promise.resolve();
    for (let message = this.#waiting.shift(); message !== undefined; message = this.#waiting.shift()) {
      const failure = this.#stop.signal.aborted ? "the monitor stops" : await this.#deliver(message);
      this.#owner.settled(failure === undefined ? "delivered" : "failed");
      if (failure === undefined) this.#isFailing = false;
      else this.#hold(message.counts);
    }
    this.#draining = undefined;
  }

  /** @returns why the message was given up */
  async #deliver(message: HookMessage): Promise<string | undefined> {
    const backoff = new Backoff({ ...this.#limits.backoff, floorMs: 0, stableAfterMs: 0 }, Math.random);
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#target.send(message, this.#stop.signal);
      if (outcome.kind === "done") return undefined;
      if (!this.#isFailing) this.#owner.failed(outcome.reason);
      this.#isFailing = true;
      if (outcome.kind === "failed" || attempt === MAX_ATTEMPTS || this.#stop.signal.aborted) return outcome.reason;
      await delay(backoff.next(outcome.afterMs), undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }
}

function passes(event: MonitorEvent, { events, severity, rules }: HookFilter): boolean {
  if (events !== undefined && !events.includes(event.kind)) return false;
  if (severity !== undefined && SEVERITIES.indexOf(severityOf(event)) < SEVERITIES.indexOf(severity)) return false;
  return rules === undefined || event.kind !== "alert" || rules.includes(event.rule);
}

function together(one: Counts, other: Counts): Counts {
  const byKind = new Map(one.byKind);
  for (const [kind, count] of other.byKind) byKind.set(kind, (byKind.get(kind) ?? 0) + count);
  return { byKind, fromMs: Math.min(one.fromMs, other.fromMs), toMs: Math.max(one.toMs, other.toMs) };
}
