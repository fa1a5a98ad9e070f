/** Looks at a device's memory and flash from time to time: nothing may grow without end. */
import type { DeviceStatus } from "../../../sdk/index.js";
import type { Flash } from "../power/flash.js";
import type { Chronicle } from "../world/chronicle.js";

export interface Bounds {
  outboxMessages: number;
  outboxBytes: number;
}

/** Timers the SDK may have at once; links likewise. An application of ours adds its own, which are not counted. */
const MOST_TIMERS = 16;
const MOST_LINKS = 3;
/** Records beside those of single messages. */
const MOST_OTHER_RECORDS = 24;

export class BoundsWatch {
  constructor(
    private readonly device: string,
    private readonly bounds: Bounds,
    private readonly chronicle: Chronicle,
  ) {}

  look(status: DeviceStatus, flash: Flash, timers: number, links: number): void {
    const { messages, bytes } = status.outbox;
    this.#atMost("messages in the outbox", messages, this.bounds.outboxMessages);
    this.#atMost("bytes in the outbox", bytes, this.bounds.outboxBytes);
    this.#atMost("records in flash", flash.recordCount, MOST_OTHER_RECORDS + this.bounds.outboxMessages);
    this.#atMost("timers", timers, MOST_TIMERS);
    this.#atMost("links", links, MOST_LINKS);
  }

  /** In the end nothing is left to be done. */
  finished(status: DeviceStatus): void {
    if (status.state === "online") this.#atMost("messages that are never finished", status.outbox.messages, 0);
  }

  /** Flash wear: what a message may cost, and what all else may cost a day. */
  settle(flash: Flash, messages: number, days: number): void {
    this.#atMost("writes to flash", flash.writes, Math.ceil(messages * MOST_WRITES_A_MESSAGE + (1 + days) * MOST_OTHER_WRITES_A_DAY));
  }

  #atMost(what: string, count: number, bound: number): void {
    if (count > bound) this.chronicle.violate("bounds", this.device, `${count} ${what}, at most ${bound} are allowed`);
  }
}

/** A message at QoS 2 is stored, marked as received, and removed; each reception is noted and released. */
const MOST_WRITES_A_MESSAGE = 6;
const MOST_OTHER_WRITES_A_DAY = 2_000;
