/** Measures how long a device takes to be back on mutual TLS once nothing stands in its way, and objects when it takes too long. */
import type { Cancel } from "../../../sdk/platform.js";
import type { VirtualTime } from "../time/virtual-time.js";
import { clock, type Chronicle } from "../world/chronicle.js";

export class RecoveryWatch {
  /** The longest it took, milliseconds, and after which fault. */
  worstMs = 0;
  worstAfter = "";
  #faults = 0;
  #clearSinceMs: number | undefined = 0;
  #after = "power-on";
  #cancel: Cancel = () => undefined;

  constructor(
    private readonly device: string,
    private readonly time: VirtualTime,
    private readonly chronicle: Chronicle,
    /** Within this it has to be back, milliseconds. */
    private readonly boundMs: number,
  ) {}

  faultBegins(): void {
    this.#faults++;
    this.#clearSinceMs = undefined;
    this.#cancel();
  }

  faultEnds(kind: string): void {
    this.#faults--;
    if (this.#faults > 0) return;
    this.#clearSinceMs = this.time.nowMs;
    this.#after = kind;
    this.#cancel();
    this.#cancel = this.time.after(this.boundMs, () => {
      if (this.#clearSinceMs === undefined) return;
      this.chronicle.violate("not-back-online", this.device, `not on mutual TLS ${this.boundMs} ms after ${this.#after} had ended at ${clock(this.#clearSinceMs)}`);
      this.#clearSinceMs = undefined;
    });
  }

  /** The broker heard from the device over mutual TLS. */
  heard(): void {
    if (this.#clearSinceMs === undefined) return;
    const tookMs = this.time.nowMs - this.#clearSinceMs;
    this.#clearSinceMs = undefined;
    this.#cancel();
    if (tookMs <= this.worstMs) return;
    this.worstMs = tookMs;
    this.worstAfter = this.#after;
  }
}
