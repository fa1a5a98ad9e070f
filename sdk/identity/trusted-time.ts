/**
 * A time to judge certificates by before any clock is set: never earlier than the build, the last time that was stored, and the start of
 * the device's own certificate once a broker has accepted it; the wall clock joins in once it can be trusted.
 *
 * Two times are kept apart. {@link TrustedTime.provedMs} owes nothing to the wall clock: nobody who forges a time source can move it, so
 * only it may be stored or speak against a certificate. {@link TrustedTime.nowMs} is the best guess.
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

  /** The best guess, milliseconds since the Unix epoch: never before anything known to have passed. */
  nowMs(): number {
    const provedMs = this.provedMs();
    return this.clock.wallTrusted() ? Math.max(this.clock.wallMs(), provedMs) : provedMs;
  }

  /** A time that has certainly passed, milliseconds since the Unix epoch; it may lag by as long as the device was without power. */
  provedMs(): number {
    return this.#floorMs + (this.clock.monotonicMs() - this.#floorAtMs);
  }

  /**
   * What was stored is later than {@link save} ever stores: it is damaged, and forgotten. @param latestMs the end of the device's
   * certificate
   */
  notStoredAfter(latestMs: number): void {
    if (this.#savedMs <= latestMs) return;
    this.#savedMs = 0;
    this.#floorMs = this.buildTimeMs;
  }

  /** That time has passed: a certificate that began then was proved, by a broker or in the factory. */
  atLeast(timeMs: number): void {
    if (timeMs <= this.provedMs()) return;
    this.#floorMs = timeMs;
    this.#floorAtMs = this.clock.monotonicMs();
  }

  /**
   * Stores the proved time now and then.
   * @param latestMs the end of the certificate that a broker has just accepted, milliseconds since the Unix epoch: nothing later is stored
   */
  save(latestMs: number): void {
    const provedMs = Math.min(this.provedMs(), latestMs);
    if (provedMs - this.#savedMs < SAVE_EVERY_MS) return;
    this.storage.put(KEY, utf8Encode(String(Math.floor(provedMs))));
    this.#savedMs = provedMs;
  }
}

function safeText(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes);
  } catch {
    return "";
  }
}
