/** Every message an application gave to its device, and what became of it: nothing lost, nothing doubled, nothing out of order. */
import type { Chronicle } from "../world/chronicle.js";

export interface Outbound {
  readonly sequence: number;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  /** `publish` settles as soon as the outbox holds it. */
  readonly queued: boolean;
  /** Power-on in which it was offered. */
  readonly boot: number;
  /** When, milliseconds of world time. */
  readonly atMs: number;
  state: "offered" | "accepted" | "delivered" | "failed";
  arrivals: number;
  /** The broker lost what it knew of this message: a second arrival is its doing. */
  mayRepeat: boolean;
  /** It was in a memory that the power took with it, or the broker itself refused it. */
  forgiven: boolean;
  /** The power took it from the device: what the broker has of it may arrive at any time. */
  isLost: boolean;
}

export class OutboundLedger {
  readonly #entries = new Map<number, Outbound>();
  readonly #lastFirst = new Map<string, number>();
  readonly #dropped = new Map<string, number>();
  #sequence = 0;
  accepted = 0;
  /** The same by QoS. */
  readonly acceptedByQos: [number, number, number] = [0, 0, 0];
  /** Told of each message that arrives for the first time. */
  onDelivered: (entry: Outbound) => void = () => undefined;
  arrived = 0;
  failed = 0;

  constructor(
    private readonly device: string,
    private readonly chronicle: Chronicle,
  ) {}

  offer(topic: string, qos: 0 | 1 | 2, queued: boolean, boot: number, atMs = 0): Outbound {
    const entry: Outbound = {
      sequence: ++this.#sequence,
      topic,
      qos,
      queued,
      boot,
      atMs,
      state: "offered",
      arrivals: 0,
      mayRepeat: false,
      forgiven: false,
      isLost: false,
    };
    this.#entries.set(entry.sequence, entry);
    return entry;
  }

  /** `publish` settled. */
  settled(entry: Outbound): void {
    this.accepted++;
    this.acceptedByQos[entry.qos]++;
    entry.state = entry.queued ? "accepted" : "delivered";
    // A promise kept before the broker had the message is the worst loss of all: nobody would ever notice.
    if (!entry.queued && entry.qos > 0 && entry.arrivals === 0 && !entry.forgiven)
      this.#lost(entry, "settled as delivered before the broker had it");
  }

  /** `publish` rejected: the application knows. */
  rejected(entry: Outbound): void {
    this.failed++;
    entry.state = "failed";
  }

  /** The device reported that a message left its outbox undelivered. */
  dropped(topic: string): void {
    this.#dropped.set(topic, (this.#dropped.get(topic) ?? 0) + 1);
  }

  /** The device reported that nobody knows what became of a message: it may be missing, and it may be there. */
  uncertain(topic: string): void {
    this.dropped(topic);
  }

  /** The broker refused a message with a reason code: retrying it for ever is not asked for. */
  refused(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (entry) entry.forgiven = true;
  }

  arrive(topic: string, sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (!entry || entry.topic !== topic)
      return this.chronicle.violate("order", this.device, `message ${sequence} on ${topic} was never offered`);
    this.arrived++;
    entry.arrivals++;
    if (entry.arrivals > 1) {
      if (entry.qos !== 1 && !entry.mayRepeat)
        this.chronicle.violate(
          "qos2-doubled",
          this.device,
          `message ${sequence} on ${topic} at QoS ${entry.qos} arrived ${entry.arrivals} times`,
        );
      return;
    }
    this.onDelivered(entry);
    const last = this.#lastFirst.get(topic) ?? 0;
    if (sequence < last && entry.isLost) return;
    if (sequence < last) this.chronicle.violate("order", this.device, `message ${sequence} on ${topic} arrived after ${last}`);
    else this.#lastFirst.set(topic, sequence);
  }

  /** The broker forgot the receipts of these messages. */
  forgotten(sequence: number): void {
    const entry = this.#entries.get(sequence);
    if (entry) entry.mayRepeat = true;
  }

  /** The power went. */
  powerCut(persistent: boolean): void {
    if (persistent) return;
    for (const entry of this.#entries.values()) {
      if (entry.arrivals > 0) continue;
      entry.forgiven = true;
      entry.isLost = true;
    }
  }

  /** Everything that was promised must have arrived by now. */
  settle(): void {
    for (const [topic, entries] of this.#missing(Infinity)) {
      const first = entries[0];
      if (first && entries.length > (this.#dropped.get(topic) ?? 0))
        this.#lost(first, `${entries.length} accepted and never delivered, ${this.#dropped.get(topic) ?? 0} reported as dropped`);
    }
  }

  /** One item is all that is wrong: what was accepted before `beforeMs` on other topics must have got through. */
  notHeldUp(poison: string, beforeMs: number): void {
    for (const [topic, entries] of this.#missing(beforeMs)) {
      const first = entries[0];
      if (!first || topic === poison || entries.length <= (this.#dropped.get(topic) ?? 0)) continue;
      this.chronicle.violate("held-up", this.device, `message ${first.sequence} on ${topic} waits behind ${poison}`);
    }
  }

  #missing(beforeMs: number): Map<string, Outbound[]> {
    const missing = new Map<string, Outbound[]>();
    for (const entry of this.#entries.values()) {
      if (entry.qos === 0 || entry.forgiven || entry.arrivals > 0 || entry.state !== "accepted" || entry.atMs >= beforeMs) continue;
      missing.set(entry.topic, [...(missing.get(entry.topic) ?? []), entry]);
    }
    return missing;
  }

  /** How many messages are accepted and not at the broker yet. */
  get open(): number {
    let open = 0;
    for (const entry of this.#entries.values()) if (entry.arrivals === 0 && entry.state === "accepted" && !entry.forgiven) open++;
    return open;
  }

  #lost(entry: Outbound, what: string): void {
    this.chronicle.violate(
      entry.qos === 2 ? "qos2-lost" : "qos1-lost",
      this.device,
      `message ${entry.sequence} on ${entry.topic}: ${what}`,
    );
  }
}
