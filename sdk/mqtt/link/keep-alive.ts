/**
 * Notices that a connection is dead although nobody said so (MQTT 5.0, section 3.1.2.10): asks when it was silent, and waits for the answer
 * within a bound. Whatever comes from the broker is a sign of life, so a PINGRESP may stand behind any amount of data; and bytes on a slow
 * uplink need their time before anybody can answer them. One timer runs, however many packets come and go, and a second one while a
 * PINGRESP is awaited.
 */
import type { Cancel, Scheduler } from "../../platform.js";
import type { Blame } from "../contract/blame.js";

/** What the keep-alive asks of its connection. */
export interface KeepAliveOwner {
  ping(): void;
  /** No answer came: the connection is dead. */
  expired(what: string, blame: Blame): void;
  /** What has been waiting for an acknowledgement for longest, by identity. */
  readonly oldestUnanswered: object | undefined;
}

/** Looked at so often within an interval that a packet goes out at least every four fifths of it. */
const LOOKS = 2.5;
/** The longest wait for PINGRESP, beyond what the bytes before it need. */
const MAX_ANSWER_MS = 20_000;
/** The slowest uplink that is waited for, bytes a millisecond: a cell of GPRS or NB-IoT at its edge. */
const SLOWEST_BYTES_PER_MS = 0.5;
/** So much goes at once. */
const FREE_BYTES = 1_024;
/** The longest that bytes on their way postpone a verdict. */
const MAX_TRANSIT_MS = 600_000;
/** A broker that talks, but does not acknowledge, has so many times as long. */
const TALKING_FACTOR = 5;

export class KeepAlive {
  #cancelTick: Cancel | undefined;
  #cancelAnswer: Cancel | undefined;
  /** Between two looks at the traffic; 0: none. */
  #lookMs = 0;
  #ackTimeoutMs = 0;
  #tickMs = 0;
  #sinceLookMs = 0;
  #hasSent = true;
  #hasReceived = true;
  #silentLooks = 0;
  /** A sign of life, or bytes that went out, since the answer was last waited for. */
  #isMoving = false;
  #oldest: object | undefined;
  #oldestForMs = 0;
  /** How long of that nothing but PINGRESP came, and no bytes went out. */
  #stalledForMs = 0;
  #pieces = 0;
  #pongs = 0;
  /**
   * Bytes given to the link that no answer has proved to be with the broker; of them, those up to the last PINGREQ, and up to {@link
   * #oldest}.
   */
  #unprovedBytes = 0;
  #pingMark = 0;
  #oldestMark = 0;
  /** The uplink's speed at the last proof, bytes a millisecond. */
  #speed = SLOWEST_BYTES_PER_MS;
  #sinceProofMs = 0;
  /** This side does not read: what the broker says cannot be known. */
  isDeaf = false;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly owner: KeepAliveOwner,
  ) {}

  /**
   * @param ownSeconds what CONNECT asked for; 0: no pings
   * @param serverSeconds what CONNACK wants instead: the longest silence it allows, so that a shorter one of ours stays; 0: any
   * @param ackTimeoutMs 0: acknowledgements are not watched
   */
  start(ownSeconds: number, serverSeconds: number, ackTimeoutMs: number): void {
    const intervalSeconds = ownSeconds === 0 || serverSeconds === 0 ? ownSeconds + serverSeconds : Math.min(ownSeconds, serverSeconds);
    this.#unprovedBytes = 0;
    this.#lookMs = (intervalSeconds * 1_000) / LOOKS;
    this.#ackTimeoutMs = ackTimeoutMs;
    // A whole number of ticks makes a look, so that none comes late.
    const shorter = ackTimeoutMs > 0 && ackTimeoutMs < this.#lookMs;
    this.#tickMs = this.#lookMs === 0 ? ackTimeoutMs : shorter ? this.#lookMs / Math.ceil(this.#lookMs / ackTimeoutMs) : this.#lookMs;
    if (this.#tickMs > 0) this.#schedule();
  }

  stop(): void {
    this.#cancelTick?.();
    this.#cancelAnswer?.();
    this.#cancelTick = undefined;
    this.#cancelAnswer = undefined;
  }

  /** Bytes were given to the link. */
  sent(sizeBytes: number): void {
    this.#hasSent = true;
    this.#unprovedBytes += sizeBytes;
  }

  /** The link took all that it had been given. */
  drained(): void {
    this.#isMoving = true;
    this.#stalledForMs = 0;
  }

  /** Bytes came, whatever they are. */
  received(): void {
    this.#hasReceived = true;
    this.#isMoving = true;
    this.#pieces++;
  }

  /** PINGRESP. */
  answered(): void {
    this.#pongs++;
    if (this.#cancelAnswer === undefined) return;
    this.#cancelAnswer();
    this.#cancelAnswer = undefined;
    this.#proved(this.#pingMark);
  }

  #schedule(): void {
    this.#cancelTick = this.scheduler.after(this.#tickMs, () => {
      this.#schedule();
      this.#sinceLookMs += this.#tickMs;
      this.#sinceProofMs += this.#tickMs;
      // Half a tick of tolerance for sums of fractions.
      if (this.#lookMs > 0 && this.#sinceLookMs >= this.#lookMs - this.#tickMs / 2) this.#look();
      this.#watch();
    });
  }

  #look(): void {
    this.#sinceLookMs = 0;
    this.#silentLooks = this.#hasReceived ? 0 : this.#silentLooks + 1;
    // Silence from the broker counts too: a client that only sends would never learn that nobody listens.
    if (!this.#hasSent || this.#silentLooks >= 2) this.#ping();
    this.#hasSent = false;
    this.#hasReceived = false;
  }

  #ping(): void {
    if (this.#cancelAnswer !== undefined) return;
    this.owner.ping();
    this.#pingMark = this.#unprovedBytes;
    this.#awaitAnswer(Math.min(MAX_ANSWER_MS, this.#lookMs * LOOKS), 0);
  }

  #awaitAnswer(boundMs: number, waitedMs: number): void {
    this.#isMoving = false;
    const stepMs = waitedMs < boundMs ? boundMs : Math.min(boundMs, Math.max(1, boundMs + this.#transitMs(this.#pingMark) - waitedMs));
    this.#cancelAnswer = this.scheduler.after(stepMs, () => {
      if (this.#isMoving || this.isDeaf) return this.#awaitAnswer(boundMs, 0);
      const stillMs = waitedMs + stepMs;
      if (stillMs < boundMs + this.#transitMs(this.#pingMark)) return this.#awaitAnswer(boundMs, stillMs);
      this.owner.expired(`PINGREQ for ${Math.round(stillMs)} ms`, "none");
    });
  }

  #watch(): void {
    const oldest = this.owner.oldestUnanswered;
    const isTalking = this.#pieces > this.#pongs || this.isDeaf;
    this.#pieces = 0;
    this.#pongs = 0;
    if (oldest !== this.#oldest) {
      if (this.#oldest !== undefined) this.#proved(this.#oldestMark);
      this.#oldest = oldest;
      this.#oldestMark = this.#unprovedBytes;
      this.#oldestForMs = 0;
      this.#stalledForMs = 0;
      return;
    }
    if (oldest === undefined || this.#ackTimeoutMs === 0) return;
    this.#oldestForMs += this.#tickMs;
    this.#stalledForMs = isTalking ? 0 : this.#stalledForMs + this.#tickMs;
    const transitMs = this.#transitMs(this.#oldestMark);
    const isOver =
      this.#stalledForMs >= this.#ackTimeoutMs + transitMs ||
      (this.#oldestForMs >= TALKING_FACTOR * this.#ackTimeoutMs + transitMs && !this.isDeaf);
    if (isOver) this.owner.expired(`a packet for ${Math.round(this.#oldestForMs)} ms`, "unanswered");
  }

  /** The broker has answered what stood behind so many bytes. */
  #proved(bytes: number): void {
    this.#speed = Math.max(SLOWEST_BYTES_PER_MS, bytes / Math.max(this.#tickMs, this.#sinceProofMs));
    this.#sinceProofMs = 0;
    this.#unprovedBytes -= bytes;
    this.#pingMark = Math.max(0, this.#pingMark - bytes);
    this.#oldestMark = Math.max(0, this.#oldestMark - bytes);
  }

  /** How long so many bytes may be on their way. */
  #transitMs(bytes: number): number {
    return Math.min(MAX_TRANSIT_MS, Math.max(0, bytes - FREE_BYTES) / this.#speed);
  }
}
