/**
 * Keeps the session over reboots, in small records that are each written atomically. Between any two writes power may fail: each order here
 * is such that then no accepted message is missing and no QoS 2 message can be delivered twice.
 *
 * | key | record |
 * |---|---|
 * | `mq-id` | the client identifier the rest belongs to |
 * | `mq-o` + 8 hex digits | a message, in the order of acceptance; `-` + 2 hex digits: its further parts |
 * | `mq-rx` | QoS 2 identifiers received and not released: a format byte, then two bytes each |
 *
 * A message costs one put and one delete, at QoS 2 one put more, for each 4,000 bytes; a received QoS 2 message costs two puts, fewer in a
 * burst.
 */
import { errorMessage, HawserError } from "../../errors.js";
import type { Cancel, Clock, Log, Scheduler, Storage } from "../../platform.js";
import type { Journal } from "./session-journal.js";
import { LazyMap } from "./lazy-map.js";
import { messageRecords, readMessage, type Stage, type StoredMessage } from "./message-records.js";
import { OutgoingMessage } from "./outgoing-message.js";
import { decodeUtf8, encodeUtf8 } from "../../encoding/utf8.js";

const ID_KEY = "mq-id";
const RECEIVED_KEY = "mq-rx";
const MESSAGE_PREFIX = "mq-o";
const RECEIVED_FORMAT = 1;
const RETRY_MS = 1_000;
const HOUR_MS = 3_600_000;

/** What the client has done to the storage since it was made. */
export interface Wear {
  puts: number;
  deletes: number;
  bytesWritten: number;
}

export interface JournalPlatform {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly log: Log;
}

/** Something still to be written; `thens` wait for it. */
interface Task {
  readonly kind: "received" | "message";
  readonly run: () => void;
  readonly thens: (() => void)[];
}

/** A message as the last run left it. */
export interface RestoredMessage {
  readonly message: OutgoingMessage;
  readonly stage: Stage;
}

export class StoredJournal implements Journal {
  readonly received = new LazyMap<number, true>();
  readonly wear: Wear = { puts: 0, deletes: 0, bytesWritten: 0 };
  /** In the order of acceptance; for the client to take over. */
  readonly restored: RestoredMessage[] = [];
  #tasks: Task[] = [];
  #isCommitting = false;
  #nextRecord = 0;
  /** What the record of {@link received} holds. */
  #storedIds: number[] = [];
  #isClaimed: boolean;
  readonly #hasOtherOwner: boolean;
  #cancelRetry: Cancel | undefined;
  #storedThisHour = 0;
  #hourBeganMs: number;

  /**
   * Reads what the last run left, and clears away what it left half done.
   * @param onTask something waits for {@link commit}
   * @param maxStoredPerHour messages kept in an hour at most
   * @throws HawserError `STORAGE_FAILED`
   */
  constructor(
    private readonly platform: JournalPlatform,
    private readonly clientId: string,
    private readonly maxStoredPerHour: number,
    private readonly onTask: () => unknown,
  ) {
    this.#hourBeganMs = platform.clock.monotonicMs();
    const owner = platform.storage.get(ID_KEY);
    this.#isClaimed = owner !== undefined && decodeUtf8(owner) === clientId;
    this.#hasOtherOwner = owner !== undefined && !this.#isClaimed;
    this.#readMessages();
    if (!this.#hasOtherOwner) this.#readReceived();
  }

  /** False: what was restored belongs to another client identifier, whose session this one does not have. */
  get isSameSession(): boolean {
    return !this.#hasOtherOwner;
  }

  store(message: OutgoingMessage): void {
    const { clock } = this.platform;
    this.#checkRate();
    const expiresWallMs =
      message.expiresAtMs === undefined || !clock.wallTrusted()
        ? undefined
        : Math.max(1, clock.wallMs() + message.expiresAtMs - clock.monotonicMs());
    const records = messageRecords(message, 0, expiresWallMs);
    if (records === undefined)
      throw new HawserError(
        "MESSAGE_TOO_LARGE",
        `the message of ${message.sizeBytes} bytes is too large for storage`,
        "Send smaller messages.",
      );
    this.#claim();
    const number = message.recordNumber >= 0 ? message.recordNumber : this.#nextRecord;
    try {
      for (let part = records.length - 1; part >= 0; part--) this.#put(recordKey(number, part), records[part] as Uint8Array);
    } catch (error) {
      if (message.recordNumber < 0) this.#clearAway(number, records.length);
      throw error;
    }
    message.recordNumber = number;
    message.recordParts = records.length;
    if (number === this.#nextRecord) this.#nextRecord++;
    this.#storedThisHour++;
  }

  release(message: OutgoingMessage, then: () => void): void {
    this.#setStage(message, 1, then);
  }

  doubt(message: OutgoingMessage, then: () => void): void {
    this.#setStage(message, 2, then);
  }

  /** Only the first record changes. */
  #setStage(message: OutgoingMessage, stage: Stage, then: () => void): void {
    const { recordNumber } = message;
    if (recordNumber < 0) return then();
    this.#add("message", then, () => {
      const [head] = messageRecords(message, stage, undefined) as [Uint8Array];
      this.#put(recordKey(recordNumber, 0), head);
    });
  }

  remove(message: OutgoingMessage, then: () => void): void {
    const { recordNumber, recordParts } = message;
    if (recordNumber < 0) return then();
    this.#add("message", then, () => {
      this.#delete(recordKey(recordNumber, 0));
      this.#deleteParts(recordNumber, recordParts);
    });
  }

  saveReceived(then: () => void): void {
    const last = this.#tasks[this.#tasks.length - 1];
    if (last?.kind === "received" && !this.#isCommitting) last.thens.push(then);
    else this.#add("received", then, () => this.#putReceived());
  }

  commit(): boolean {
    if (this.#isCommitting || this.#tasks.length === 0) return this.#tasks.length === 0;
    this.#isCommitting = true;
    try {
      this.#runTasks();
    } finally {
      this.#isCommitting = false;
    }
    return this.#tasks.length === 0;
  }

  #runTasks(): void {
    for (let task = this.#tasks[0]; task !== undefined; task = this.#tasks[0]) {
      try {
        task.run();
      } catch (error) {
        return this.#retryLater(error);
      }
      this.#tasks.shift();
      for (const then of task.thens) then();
    }
  }

  #retryLater(error: unknown): void {
    if (this.#cancelRetry !== undefined) return;
    this.platform.log("error", "the MQTT session cannot be stored; acknowledgements wait", { error: errorMessage(error) });
    this.#cancelRetry = this.platform.scheduler.after(RETRY_MS, () => {
      this.#cancelRetry = undefined;
      this.onTask();
    });
  }

  #add(kind: Task["kind"], then: () => void, run: () => void): void {
    this.#tasks.push({ kind, run, thens: [then] });
    this.onTask();
  }

  #putReceived(): void {
    const ids = [...this.received.keys()];
    // A repetition of the broker's changes nothing.
    if (ids.length === this.#storedIds.length && ids.every((id, i) => id === this.#storedIds[i])) return;
    if (ids.length === 0) this.#delete(RECEIVED_KEY);
    else {
      this.#claim();
      this.#put(RECEIVED_KEY, Uint8Array.from([RECEIVED_FORMAT, ...ids.flatMap((id) => [id >> 8, id & 0xff])]));
    }
    this.#storedIds = ids;
  }

  /** From here on the records are this client identifier's. */
  #claim(): void {
    if (this.#isClaimed) return;
    // What another client identifier had received would hide messages from this one.
    if (this.#hasOtherOwner) this.#delete(RECEIVED_KEY);
    this.#put(ID_KEY, encodeUtf8(this.clientId));
    this.#isClaimed = true;
  }

  #readMessages(): void {
    const { storage, log } = this.platform;
    const keys = storage.list(MESSAGE_PREFIX);
    const known = new Set<string>();
    for (const key of keys) {
      if (!/^mq-o[0-9a-f]{8}$/.test(key)) continue;
      const recordNumber = parseInt(key.slice(MESSAGE_PREFIX.length), 16);
      const stored = readMessage(storage.get(key) ?? new Uint8Array(0), (part) => storage.get(recordKey(recordNumber, part)));
      if (stored === undefined) {
        log("error", "a stored MQTT message is damaged and was removed", { key });
        continue;
      }
      for (let part = 0; part < stored.parts; part++) known.add(recordKey(recordNumber, part));
      this.restored.push({ message: this.#restore(stored, recordNumber), stage: stored.stage });
      this.#nextRecord = recordNumber + 1;
    }
    for (const key of keys) if (!known.has(key)) this.#delete(key);
  }

  #restore(stored: StoredMessage, recordNumber: number): OutgoingMessage {
    const { clock } = this.platform;
    const { topic, payload, qos, retain, messageId, properties } = stored.packet;
    const interval = properties?.messageExpiryInterval;
    // Without two trusted times nobody knows how long the device was off: the interval then begins again.
    const leftMs =
      stored.expiresWallMs !== undefined && clock.wallTrusted() ? stored.expiresWallMs - clock.wallMs() : (interval ?? 0) * 1000;
    const expiresAtMs = interval === undefined ? undefined : clock.monotonicMs() + leftMs;
    const message = new OutgoingMessage(topic, payload, qos, retain, properties, expiresAtMs);
    message.messageId = messageId;
    message.recordNumber = recordNumber;
    message.recordParts = stored.parts;
    return message;
  }

  #readReceived(): void {
    const record = this.platform.storage.get(RECEIVED_KEY);
    if (record === undefined || record[0] !== RECEIVED_FORMAT || record.length % 2 === 0) return;
    for (let at = 1; at < record.length; at += 2) this.received.set(((record[at] as number) << 8) | (record[at + 1] as number), true);
    this.received.delete(0);
    this.#storedIds = [...this.received.keys()];
  }

  #checkRate(): void {
    const nowMs = this.platform.clock.monotonicMs();
    if (nowMs - this.#hourBeganMs >= HOUR_MS) {
      this.#hourBeganMs = nowMs;
      this.#storedThisHour = 0;
    }
    if (this.#storedThisHour < this.maxStoredPerHour) return;
    throw new HawserError(
      "STORAGE_WEAR_LIMIT",
      `${this.#storedThisHour} messages were stored within the hour`,
      "Publish less, use `persist: false`, or raise maxStoredPerHour.",
    );
  }

  /** Parts of a message whose head found no room: they would take the room of others until the next boot. */
  #clearAway(recordNumber: number, parts: number): void {
    try {
      this.#deleteParts(recordNumber, parts);
    } catch {
      // the next boot does it
    }
  }

  #deleteParts(recordNumber: number, parts: number): void {
    for (let part = 1; part < parts; part++) this.#delete(recordKey(recordNumber, part));
  }

  #put(key: string, value: Uint8Array): void {
    this.platform.storage.put(key, value);
    this.wear.puts++;
    this.wear.bytesWritten += value.length;
  }

  #delete(key: string): void {
    this.platform.storage.delete(key);
    this.wear.deletes++;
  }
}

function recordKey(recordNumber: number, part: number): string {
  const key = MESSAGE_PREFIX + recordNumber.toString(16).padStart(8, "0");
  return part === 0 ? key : `${key}-${part.toString(16).padStart(2, "0")}`;
}
