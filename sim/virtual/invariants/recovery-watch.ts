/** Measures how long a device takes to be back on mutual TLS once nothing stands in its way, and objects when it takes too long. */
import type { Cancel } from "../../../sdk/platform.js";
import type { VirtualTime } from "../time/virtual-time.js";
import { clock, type Chronicle } from "../world/chronicle.js";

/** The longest keep-alive in the world and a half, and the time a session may take to settle, milliseconds. */
const CALM_AFTER_MS = 900_000;

export class RecoveryWatch {
  /** The longest it took, milliseconds, and after which fault. */
  worstMs = 0;
  worstAfter = "";
  /** Faults that have begun so far. */
  begun = 0;
  #faults = 0;
  #sinceMs = 0;
  #clearSinceMs: number | undefined = 0;
  /** Since when the device is back and nothing is wrong. */
  #calmSinceMs: number | undefined;
  #after = "power-on";
  #cancel: Cancel = () => undefined;

  constructor(
    private readonly device: string,
    private readonly time: VirtualTime,
    private readonly chronicle: Chronicle,
    /** Within this it has to be back, milliseconds. */
    private readonly boundMs: number,
  ) {}

  /** Nothing has been wrong for a while, and what the last fault left behind is over: whatever goes wrong now, the device did. */
  get calm(): boolean {
    return this.#calmSinceMs !== undefined && this.time.nowMs - this.#calmSinceMs > CALM_AFTER_MS;
  }

  /** How long exactly one thing has been wrong, milliseconds; 0 where that is not so. */
  get oneFaultForMs(): number {
    return this.#faults === 1 ? this.time.nowMs - this.#sinceMs : 0;
  }

  faultBegins(): void {
    this.#faults++;
    this.begun++;
    this.#sinceMs = this.time.nowMs;
    this.#clearSinceMs = undefined;
    this.#calmSinceMs = undefined;
    this.#cancel();
  }

  faultEnds(kind: string): void {
    this.#faults--;
    this.#sinceMs = this.time.nowMs;
    if (this.#faults > 0) return;
    this.#clearSinceMs = this.time.nowMs;
    this.#after = kind;
    this.#cancel();
    this.#cancel = this.time.after(this.boundMs, () => {
      if (this.#clearSinceMs === undefined) return;
      this.chronicle.violate(
        "not-back-online",
        this.device,
        `not on mutual TLS ${this.boundMs} ms after ${this.#after} had ended at ${clock(this.#clearSinceMs)}`,
      );
      this.#clearSinceMs = undefined;
    });
  }

  /** The broker heard from the device over mutual TLS. */
  heard(): void {
    if (this.#clearSinceMs === undefined) return;
    const tookMs = this.time.nowMs - this.#clearSinceMs;
    this.#clearSinceMs = undefined;
    this.#calmSinceMs = this.time.nowMs;
    this.#cancel();
    if (tookMs <= this.worstMs) return;
    this.worstMs = tookMs;
    this.worstAfter = this.#after;
  }
}
