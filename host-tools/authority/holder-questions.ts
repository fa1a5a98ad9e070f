/**
 * Who asks for a certificate without showing the key of the present one has lost it, or is a thief of the pre-shared key. Whoever holds the
 * present certificate is asked; this remembers who was asked, and what came of it.
 */

/**
 * How long the holder of a certificate has to say that it is in use, milliseconds, each time it is asked. A device with a busy application
 * stops reading for half a minute, and a broker that keeps every order sends the question only when the messages before it were taken.
 */
const ANSWERS_WITHIN_MS = 100_000;
/** So often it has to be silent: its session may have just ended, and the question with it. */
const QUESTIONS = 3;
/** An objection counts for so long, milliseconds; then the holder is asked again. */
const FINDING_LASTS_MS = 600_000;
/** Silence counts for so long, milliseconds: a device that has asked in vain for hours asks no more than once an hour. */
const SILENCE_LASTS_MS = 86_400_000;
/** Oldest forgotten first; one that is forgotten is asked again. */
const MAX_NAMES = 10_000;

interface Inquiry {
  /** The requests that the holder was asked about. */
  readonly requestIds: string[];
  lastMs: number;
  isInUse: boolean;
}

export type Finding =
  /** Ask: the holder may object to this request. `seconds` until more is known. */
  | { readonly kind: "ask"; readonly seconds: number }
  /** It was asked a moment ago; `seconds` until more is known. */
  | { readonly kind: "wait"; readonly seconds: number }
  /** The holder objected; asked again in `seconds`. */
  | { readonly kind: "in-use"; readonly seconds: number }
  /** The holder was asked, again and again, and said nothing. */
  | { readonly kind: "silent" };

export class HolderQuestions {
  readonly #inquiries = new Map<string, Inquiry>();

  /** @param nowMs monotonic milliseconds */
  constructor(private readonly nowMs: () => number) {}

  /** What is known about the present certificate of a name, for a request that does not show its key. */
  about(id: string, requestId: string): Finding {
    const nowMs = this.nowMs();
    const known = this.#current(id);
    if (known === undefined) {
      this.#begin(id, { requestIds: [requestId], lastMs: nowMs, isInUse: false });
      return { kind: "ask", seconds: inSeconds(ANSWERS_WITHIN_MS) };
    }
    const ageMs = nowMs - known.lastMs;
    if (known.isInUse) return { kind: "in-use", seconds: inSeconds(FINDING_LASTS_MS - ageMs) };
    if (ageMs < ANSWERS_WITHIN_MS) return { kind: "wait", seconds: inSeconds(ANSWERS_WITHIN_MS - ageMs) };
    if (known.requestIds.length >= QUESTIONS) return { kind: "silent" };
    known.requestIds.push(requestId);
    known.lastMs = nowMs;
    return { kind: "ask", seconds: inSeconds(ANSWERS_WITHIN_MS) };
  }

  /** Whether the holder was asked about this request and has not objected yet. */
  isOpen(id: string, requestId: string): boolean {
    const known = this.#current(id);
    return known?.isInUse === false && known.requestIds.includes(requestId);
  }

  /** The holder objects. @returns the seconds for which that counts */
  object(id: string): number {
    const known = this.#current(id);
    if (known !== undefined) {
      known.isInUse = true;
      known.lastMs = this.nowMs();
    }
    return inSeconds(FINDING_LASTS_MS);
  }

  /** The name has another certificate now, or silence means nothing. */
  forget(id: string): void {
    this.#inquiries.delete(id);
  }

  /** The same of every name. */
  forgetAll(): void {
    this.#inquiries.clear();
  }

  #current(id: string): Inquiry | undefined {
    const known = this.#inquiries.get(id);
    const lastsMs = known?.isInUse === true ? FINDING_LASTS_MS : SILENCE_LASTS_MS;
    return known !== undefined && this.nowMs() - known.lastMs < lastsMs ? known : undefined;
  }

  #begin(id: string, inquiry: Inquiry): void {
    this.#inquiries.delete(id);
    this.#inquiries.set(id, inquiry);
    if (this.#inquiries.size <= MAX_NAMES) return;
    for (const oldest of this.#inquiries.keys()) {
      this.#inquiries.delete(oldest);
      return;
    }
  }
}

function inSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}
