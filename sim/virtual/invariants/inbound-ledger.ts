/** Every message the backend sent to a device, and what became of it: handled before it is acknowledged, at QoS 2 exactly once. */
import type { Chronicle } from "../world/chronicle.js";

interface Inbound {
  readonly sequence: number;
  readonly topic: string;
  readonly qos: 1 | 2;
  /** The broker holds it for the device. */
  owed: boolean;
  handled: number;
  /** The application is done with its latest copy and asked for the next. */
  released: boolean;
  /** The device has durably noted that the application is done with it, or the broker knows. */
  recorded: boolean;
  mayRepeat: boolean;
}

export class InboundLedger {
  readonly #entries = new Map<number, Inbound>();
  readonly #lastFirst = new Map<string, number>();
  readonly #dropped = new Map<string, number>();
  readonly #handling = new Set<Inbound>();
  #sequence = 0;
  handled = 0;

  constructor(
    private readonly device: string,
    private readonly chronicle: Chronicle,
  ) {}

  get nextSequence(): number {
    return this.#sequence + 1;
  }

  /** How many a session at the broker was there for, and how many of them the application got. */
  get tally(): { sent: number; reached: number } {
    const tally = { sent: 0, reached: 0 };
    for (const { owed, handled } of this.#entries.values()) {
      if (owed || handled > 0) tally.sent++;
      if (handled > 0) tally.reached++;
    }
    return tally;
  }

  /** The backend hands one to the broker, which may have no session to keep it for: see {@link gaveUp}. */
  sent(topic: string, qos: 1 | 2): void {
    const sequence = ++this.#sequence;
    this.#entries.set(sequence, { sequence, topic, qos, owed: true, handled: 0, released: false, recorded: false, mayRepeat: false });
  }

  /** The broker gave it up, or lost the session that held it. */
  gaveUp(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (entry) entry.owed = false;
  }

  /** The application got it. */
  handedOver(topic: string, sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (!entry || entry.topic !== topic)
      return this.chronicle.violate("order", this.device, `command ${sequence} on ${topic} was never sent`);
    this.handled++;
    entry.handled++;
    entry.released = false;
    this.#handling.add(entry);
    if (entry.handled > 1) {
      if (entry.qos === 2 && !entry.mayRepeat)
        this.chronicle.violate("qos2-doubled", this.device, `command ${sequence} on ${topic} was handled ${entry.handled} times`);
      entry.mayRepeat = false;
      return;
    }
    const last = this.#lastFirst.get(topic) ?? 0;
    if (sequence < last) this.chronicle.violate("order", this.device, `command ${sequence} on ${topic} was handled after ${last}`);
    else this.#lastFirst.set(topic, sequence);
  }

  /** The application asked for the next message. */
  release(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (entry) entry.released = true;
  }

  /** The device wrote a record of its session, or has had the time to and no trouble with its flash. */
  wroteSession(): void {
    for (const entry of this.#handling) {
      if (!entry.released) continue;
      entry.recorded = true;
      this.#handling.delete(entry);
    }
  }

  /** The device reported that a message came for which it has no subscription. */
  dropped(topic: string): void {
    this.#dropped.set(topic, (this.#dropped.get(topic) ?? 0) + 1);
  }

  /** The broker got PUBACK or PUBREC. */
  acknowledged(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (!entry) return;
    const dropped = this.#dropped.get(entry.topic) ?? 0;
    if (entry.handled === 0 && dropped > 0) this.#dropped.set(entry.topic, dropped - 1);
    else if (!entry.released)
      this.chronicle.violate(
        "early-ack",
        this.device,
        `command ${sequence} on ${entry.topic} was acknowledged before the application was done with it`,
      );
    entry.recorded = true;
    entry.owed = false;
    this.#handling.delete(entry);
  }

  /**
   * What the application was at when the power went, it gets again. Without persistence, so does everything the broker has not heard of.
   */
  powerCut(persistent: boolean): void {
    for (const entry of this.#handling) entry.mayRepeat = true;
    if (!persistent) for (const entry of this.#entries.values()) if (entry.owed) entry.mayRepeat = true;
    this.#handling.clear();
  }

  settle(): void {
    for (const entry of this.#entries.values()) {
      if (!entry.owed || entry.handled > 0) continue;
      this.chronicle.violate(
        entry.qos === 2 ? "qos2-lost" : "qos1-lost",
        this.device,
        `command ${entry.sequence} on ${entry.topic} never reached the application`,
      );
    }
  }
}
