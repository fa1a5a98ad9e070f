/** Moddable's module `time`: what its MQTT client uses of it. */
import { monotonicMs } from "../../../sim/xs/host-natives.js";

export default class Time {
  static get ticks(): number {
    return monotonicMs();
  }

  static delta(fromMs: number, toMs: number): number {
    return toMs - fromMs;
  }
}
