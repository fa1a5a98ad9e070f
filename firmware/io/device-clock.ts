/** The clock port over a 32-bit tick count, with a wall clock that is trusted only once SNTP has set it. */
import type { Clock } from "../../sdk/platform.js";

export interface DeviceClockParts {
  /**
   * Milliseconds, from any start, modulo 2^32, signed or not. The ESP32's pass 2^31 after 25 days and come out negative; on Linux they are
   * the time of day, which someone may set back.
   */
  ticks(): number;
  /** The system's belief, milliseconds since the Unix epoch. */
  systemMs(): number;
  /** Sets the system's clock, for `Date` in the application; whole seconds. */
  setSystemSeconds?(seconds: number): void;
  /** True where an operating system keeps the time. */
  systemTrusted: boolean;
}

export class DeviceClock implements Clock {
  readonly #parts: DeviceClockParts;
  #lastTicks: number;
  #elapsedMs = 0;
  /** Wall time at monotonic 0, once set. */
  #wallStartMs: number | undefined;

  constructor(parts: DeviceClockParts) {
    this.#parts = parts;
    this.#lastTicks = parts.ticks();
  }

  /** Must be asked at least once in 24 days, or a wrap is missed; keep-alives and timers see to that. */
  monotonicMs(): number {
    const ticks = this.#parts.ticks();
    const passedMs = (ticks - this.#lastTicks) | 0;
    this.#lastTicks = ticks;
    if (passedMs > 0) this.#elapsedMs += passedMs;
    return this.#elapsedMs;
  }

  wallMs(): number {
    return this.#wallStartMs === undefined ? this.#parts.systemMs() : this.#wallStartMs + this.monotonicMs();
  }

  wallTrusted(): boolean {
    return this.#wallStartMs !== undefined || this.#parts.systemTrusted;
  }

  /** @param wallStartMs wall time when `monotonicMs` was 0, from a source worth trusting */
  setWallStart(wallStartMs: number): void {
    this.#wallStartMs = wallStartMs;
    this.#parts.setSystemSeconds?.(Math.floor(this.wallMs() / 1_000));
  }
}
