/** Timers of the event loop, for any delay: setTimeout alone runs at once when asked for more than 2^31-1 ms (24.8 days). */
import type { Cancel, Scheduler } from "../../sdk/platform.js";

/** What setTimeout can count. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** @param options.keepAlive false: a pending run does not keep the process from ending (default true) */
export function nodeScheduler(options: { keepAlive?: boolean } = {}): Scheduler {
  const keepAlive = options.keepAlive ?? true;
  return {
    after(delayMs: number, run: () => void): Cancel {
      let timer: NodeJS.Timeout | undefined;
      const wait = (leftMs: number): void => {
        const stepMs = Math.min(leftMs, LONGEST_TIMEOUT_MS);
        timer = setTimeout(() => (leftMs > stepMs ? wait(leftMs - stepMs) : run()), stepMs);
        if (!keepAlive) timer.unref();
      };
      wait(Math.max(0, delayMs));
      return () => clearTimeout(timer);
    },
  };
}
