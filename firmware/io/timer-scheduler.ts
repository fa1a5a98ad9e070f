/** The scheduler port over Moddable's timers, which count in 32 bits. */
import type { Scheduler } from "../../sdk/platform.js";
import type { TimerModule } from "./ecma419.js";

/** About twelve days: half of what a signed 32-bit count of milliseconds holds. A longer delay is several timers in a row. */
const LONGEST_TIMER_MS = 2 ** 30;

export function timerScheduler<Handle>(timers: TimerModule<Handle>): Scheduler {
  return {
    after(delayMs, run) {
      let remainingMs = Math.max(0, Math.ceil(delayMs));
      let timer: Handle | undefined;
      const arm = (): void => {
        const sliceMs = Math.min(remainingMs, LONGEST_TIMER_MS);
        remainingMs -= sliceMs;
        timer = timers.set(fired, sliceMs);
      };
      const fired = (): void => {
        timer = undefined;
        if (remainingMs > 0) return arm();
        run();
      };
      arm();
      return () => {
        if (timer !== undefined) timers.clear(timer);
        timer = undefined;
      };
    },
  };
}
