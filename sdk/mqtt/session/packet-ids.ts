/** Packet identifiers (MQTT 5.0, section 2.2.1): 1..65535, counting up from 1, then from 1 again, never one that is in use. */
import { HawserError } from "../../errors.js";
import { LazyMap } from "./lazy-map.js";

const LARGEST = 65_535;

export class PacketIds {
  #last = 0;
  readonly #inUse = new LazyMap<number, true>();

  /** @throws HawserError `TOO_MANY_IN_FLIGHT` when all are in use */
  take(): number {
    if (this.#inUse.size >= LARGEST) {
      throw new HawserError(
        "TOO_MANY_IN_FLIGHT",
        "all 65535 packet identifiers are in use",
        "Wait for the broker to acknowledge earlier packets.",
      );
    }
    do this.#last = this.#last === LARGEST ? 1 : this.#last + 1;
    while (this.#inUse.has(this.#last));
    this.#inUse.set(this.#last, true);
    return this.#last;
  }

  /** Marks an id as in use that was taken before a reboot; counting goes on behind it. False when it is in use already. */
  restore(id: number): boolean {
    if (this.#inUse.has(id)) return false;
    this.#inUse.set(id, true);
    this.#last = id;
    return true;
  }

  release(id: number): void {
    this.#inUse.delete(id);
  }

  get inUse(): number {
    return this.#inUse.size;
  }
}
