/**
 * A time to judge certificates by before any clock is set: never earlier than the build, the last time that was stored, and the start of
 * the device's own certificate; the wall clock joins in once it can be trusted (docs/architecture.md, "Time").
 */
import { utf8Decode, utf8Encode } from "../encoding/text.js";
import type { Clock, Storage } from "../platform.js";

const KEY = "time-floor";
/** Flash wear: one write in so many milliseconds at most. */
const SAVE_EVERY_MS = 6 * 3_600_000;

export class TrustedTime {
  /** The latest time known to have passed, and when on the monotonic clock it was known. */
  #floorMs: number;
  #floorAtMs: number;
  #savedMs: number;

  /** @param buildTimeMs when the program was built, milliseconds since the Unix epoch; 0 when unknown */
  constructor(
    private readonly clock: Clock,
    private readonly storage: Storage,
    private readonly buildTimeMs: number,
  ) {
    const stored = storage.get(KEY);
    const storedMs = stored ? Number(safeText(stored)) : 0;
    this.#savedMs = Number.isSafeInteger(storedMs) && storedMs > 0 ? storedMs : 0;
    this.#floorMs = Math.max(buildTimeMs, this.#savedMs);
    this.#floorAtMs = clock.monotonicMs();
  }

  /** Milliseconds since the Unix epoch, never before anything known to have passed. */
  nowMs(): number {
    const passedMs = this.#floorMs + (this.clock.monotonicMs() - this.#floorAtMs);
    return this.clock.wallTrusted() ? Math.max(this.clock.wallMs(), passedMs) : passedMs;
  }

  /** What was stored is later than {@link save} ever stores: it is damaged, and forgotten. @param latestMs the end of the device's certificate */
  notStoredAfter(latestMs: number): void {
    if (this.#savedMs <= latestMs) return;
    this.#savedMs = 0;
    this.#floorMs = this.buildTimeMs;
  }

  /** Something that began at `timeMs` exists (a certificate of ours): it is at least that late. */
  atLeast(timeMs: number): void {
    const nowMs = this.nowMs();
    if (timeMs > nowMs) {
      this.#floorMs = timeMs;
      this.#floorAtMs = this.clock.monotonicMs();
    }
  }

  /**
   * Stores the time now and then. Called while a broker has proved itself, so that a wall clock set wrong by a forged time source cannot by itself
   * write a far future into flash: the certificate that the broker has just accepted bounds it.
   * @param latestMs the end of that certificate, milliseconds since the Unix epoch: nothing later is stored
   */
  save(latestMs: number): void {
    const nowMs = Math.min(this.nowMs(), latestMs);
    if (nowMs - this.#savedMs < SAVE_EVERY_MS) return;
    this.storage.put(KEY, utf8Encode(String(Math.floor(nowMs))));
    this.#savedMs = nowMs;
  }
}

function safeText(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes);
  } catch {
    return "";
  }
}
