/**
 * Watches all devices of a world together: whatever befalls their broker, they do not leave mutual TLS at one time, and so do not fall on
 * the authority together.
 */
import type { VirtualTime } from "../time/virtual-time.js";
import type { Chronicle } from "../world/chronicle.js";

/** A smaller number of devices is no fleet. */
const FLEET = 20;
/** Within this, milliseconds, */
const WINDOW_MS = 60_000;
/** no larger share of them may turn to their pre-shared keys. Spread over twelve minutes, it is a twelfth on average. */
const MOST = 1 / 3;

export class FleetWatch {
  readonly #recent: number[] = [];
  /** Those that have left and are not back: they show both credentials in turns. */
  readonly #away = new Set<string>();

  constructor(
    private readonly devices: number,
    private readonly time: VirtualTime,
    private readonly chronicle: Chronicle,
  ) {}

  /** A device turned to its pre-shared key. */
  left(id: string): void {
    if (this.devices < FLEET || this.#away.has(id)) return;
    this.#away.add(id);
    const { nowMs } = this.time;
    this.#recent.push(nowMs);
    while ((this.#recent[0] ?? nowMs) < nowMs - WINDOW_MS) this.#recent.shift();
    const together = this.#recent.length;
    if (together > this.devices * MOST)
      this.chronicle.violate(
        "fleet-left-together",
        id,
        `${together} of ${this.devices} devices turned to their pre-shared keys within ${WINDOW_MS / 1_000} s`,
      );
  }

  /** Mutual TLS works again for a device. */
  isBack(id: string): void {
    this.#away.delete(id);
  }
}
