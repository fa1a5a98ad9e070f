/** The machine's clocks. An operating system's wall clock is taken as trusted: it comes from NTP or an RTC with a battery. */
import type { Clock } from "../../sdk/platform.js";

export const nodeClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  wallTrusted: () => true,
};
