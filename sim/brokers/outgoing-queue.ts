/** The messages a session has not acknowledged yet, in their order, and their replay when its client returns. */
import type { BrokerLimits } from "./broker-events.js";

/** What is kept and read of aedes' packets. */
export interface QueuedPacket {
  cmd: string;
  brokerId: string;
  brokerCounter: number;
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  dup: boolean;
  messageId?: number | undefined;
  clientId?: string;
}

interface Entry {
  packet: QueuedPacket;
  sizeBytes: number;
}

/** An estimate of what a message costs beside its topic and payload. */
const ENTRY_OVERHEAD_BYTES = 200;

const MAX_PACKET_ID = 65_535;

export class OutgoingQueue {
  readonly #entries = new Map<string, Entry>();
  readonly #byPacketId = new Map<number, Entry>();
  #sizeBytes = 0;
  #isReplaying = false;
  /** Keys of the replayed packets that were handed out and not sent yet. */
  readonly #handedOut = new Set<string>();
  #wakeReplay: (() => void) | undefined;

  get size(): number {
    return this.#entries.size;
  }

  /** Queues a copy; false when it has no room. */
  add(packet: QueuedPacket, qos: number, limits: BrokerLimits): boolean {
    const sizeBytes = packet.topic.length + packet.payload.length + ENTRY_OVERHEAD_BYTES;
    if (this.#entries.size >= limits.maxQueuedMessages || this.#sizeBytes + sizeBytes > limits.maxQueuedBytes) return false;
    const { brokerId, brokerCounter, topic, payload } = packet;
    // To an established subscription a message goes without the retain flag (MQTT 3.1.1 section 3.3.1.3).
    const copy: QueuedPacket = { cmd: "publish", brokerId, brokerCounter, topic, payload, qos, retain: false, dup: false };
    this.#entries.set(keyOf(packet), { packet: copy, sizeBytes });
    this.#sizeBytes += sizeBytes;
    return true;
  }

  /**
   * The packet is about to be sent: remembers its packet identifier, after changing it where another unacknowledged message has it. A
   * PUBREL takes the place of its message.
   */
  sending(packet: QueuedPacket): void {
    if (this.#handedOut.delete(keyOf(packet))) this.#wakeReplay?.();
    if (packet.cmd === "pubrel") this.#released(packet.messageId);
    else this.#identify(packet);
  }

  #released(packetId: number | undefined): void {
    const entry = packetId === undefined ? undefined : this.#byPacketId.get(packetId);
    if (entry !== undefined) entry.packet = { ...entry.packet, cmd: "pubrel", payload: Buffer.alloc(0) };
  }

  #identify(packet: QueuedPacket): void {
    const entry = this.#entries.get(keyOf(packet));
    // One that found no room in the queue is sent all the same.
    if (entry === undefined || packet.messageId === undefined) return;
    let packetId = packet.messageId;
    for (let tries = 0; tries < MAX_PACKET_ID; tries += 1) {
      const holder = this.#byPacketId.get(packetId);
      if (holder === undefined || holder === entry) break;
      packetId = (packetId % MAX_PACKET_ID) + 1;
    }
    packet.messageId = packetId;
    entry.packet.messageId = packetId;
    this.#byPacketId.set(packetId, entry);
  }

  /** PUBACK or PUBCOMP: the message is done. */
  acknowledged(packetId: number): QueuedPacket | undefined {
    const entry = this.#byPacketId.get(packetId);
    if (entry !== undefined) this.#remove(entry);
    return entry?.packet;
  }

  /** From here until {@link replay} is through, new messages wait in the queue. */
  beginReplay(): void {
    this.#isReplaying = true;
    this.#handedOut.clear();
  }

  endReplay(): void {
    this.#isReplaying = false;
    this.#wakeReplay?.();
  }

  waitsInReplay(packet: { brokerId: string; brokerCounter: number }): boolean {
    return this.#isReplaying && this.#entries.has(keyOf(packet));
  }

  /**
   * All unacknowledged packets in order, those too that come in meanwhile; ends when every packet handed out has been sent, so that no
   * new message can overtake an old one.
   */
  async *replay(verdictOn: (topic: string) => "send" | "keep" | "drop"): AsyncGenerator<QueuedPacket> {
    const seen = new Set<Entry>();
    while (this.#isReplaying) {
      for (const entry of this.#entries.values()) {
        if (seen.has(entry)) continue;
        seen.add(entry);
        const verdict = verdictOn(entry.packet.topic);
        if (verdict === "drop") this.#remove(entry);
        if (verdict !== "send") continue;
        this.#handedOut.add(keyOf(entry.packet));
        yield { ...entry.packet, dup: entry.packet.cmd === "publish" && entry.packet.messageId !== undefined };
      }
      if (this.#handedOut.size > 0) await this.#somethingSent();
      else if ([...this.#entries.values()].every((entry) => seen.has(entry))) break;
    }
    this.#isReplaying = false;
  }

  async #somethingSent(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wakeReplay = resolve;
    });
    this.#wakeReplay = undefined;
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(keyOf(entry.packet))) return;
    this.#sizeBytes -= entry.sizeBytes;
    if (entry.packet.messageId !== undefined) this.#byPacketId.delete(entry.packet.messageId);
  }
}

function keyOf(packet: { brokerId: string; brokerCounter: number }): string {
  return `${packet.brokerId}:${packet.brokerCounter}`;
}
