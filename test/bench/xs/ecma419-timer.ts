/** Moddable's module `timer` over the XS host's timers: what its MQTT client uses of it. */
import { clearTimer, setTimer } from "../../../sim/xs/host-natives.js";

interface HostTimer {
  id: number;
}

export default class Timer {
  static set(run: () => void, delayMs = 0): HostTimer {
    return { id: setTimer(delayMs, run) };
  }

  static repeat(run: () => void, intervalMs: number): HostTimer {
    const again = (): void => {
      timer.id = setTimer(intervalMs, again);
      run();
    };
    const timer: HostTimer = { id: setTimer(intervalMs, again) };
    return timer;
  }

  static clear(timer: HostTimer | undefined): void {
    if (timer !== undefined) clearTimer(timer.id);
  }
}
