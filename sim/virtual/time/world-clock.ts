/** A device's clocks over virtual time: a monotonic one that starts at power-on, and a wall clock that may be wrong, jump and drift. */
import type { Clock } from "../../../sdk/platform.js";
import type { VirtualTime } from "./virtual-time.js";

/** The true date at which every world begins: 2026-01-01T00:00:00Z. */
export const WORLD_BEGINS_MS = Date.UTC(2026, 0, 1);

export class DeviceClock implements Clock {
  readonly #bootedAtMs: number;
  #trusted = false;
  /** What the wall clock showed at `#setAtMs` of world time, and how fast it has run since. */
  #shownMs: number;
  #setAtMs: number;
  #driftPpm = 0;

  /** @param bootWallMs what the wall clock shows at power-on: 0 for a device without a battery */
  constructor(
    private readonly time: VirtualTime,
    bootWallMs: number,
  ) {
    this.#bootedAtMs = time.nowMs;
    this.#setAtMs = time.nowMs;
    this.#shownMs = bootWallMs;
  }

  monotonicMs(): number {
    return this.time.nowMs - this.#bootedAtMs;
  }

  wallMs(): number {
    const passedMs = this.time.nowMs - this.#setAtMs;
    return this.#shownMs + passedMs + Math.round((passedMs * this.#driftPpm) / 1_000_000);
  }

  wallTrusted(): boolean {
    return this.#trusted;
  }

  /** SNTP answered: the wall clock is right and trusted. */
  synchronise(): void {
    this.#set(WORLD_BEGINS_MS + this.time.nowMs);
    this.#trusted = true;
  }

  /** Somebody, or a bad time server, moved the wall clock; it stays as trusted as it was. */
  jump(byMs: number): void {
    this.#set(this.wallMs() + byMs);
  }

  drift(ppm: number): void {
    this.#set(this.wallMs());
    this.#driftPpm = ppm;
  }

  #set(wallMs: number): void {
    this.#setAtMs = this.time.nowMs;
    this.#shownMs = wallMs;
  }
}
