/**
 * Watches the attempts of one device: never closer together than policy allows, never another rung without its reason, never PSK because of
 * the network. What the policy is, is written down here a second time on purpose.
 */
import { KNOWN_HERE, LOGIN_CODES, PatienceWatch, TOLD_BY_CONNACK } from "./patience-watch.js";
import type { Failure, FailureClass, FailureCode } from "../../../sdk/failure.js";
import type { DeviceEvent, Rung } from "../../../sdk/events.js";
import type { Credential } from "../../../sdk/platform.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { Chronicle } from "../world/chronicle.js";

/** The backoff of every device in the world, milliseconds; the SDK's default. */
export const POLICY = { baseMs: 1_000, capMs: 120_000, floorMs: 200, stableAfterMs: 30_000 } as const;

/** What these reasons ask for at the least, milliseconds. */
const ASKED_MS: Partial<Record<FailureCode, number>> = {
  SESSION_TAKEN_OVER: 10_000,
  SERVER_BUSY: 5_000,
  QUOTA_EXCEEDED: 60_000,
  CONNECTION_RATE_EXCEEDED: 30_000,
  BANNED: 600_000,
};
/** No reason asks for more than this, milliseconds. */
const MOST_ASKED_MS = 600_000;
/**
 * So many new certificates may be made before one is accepted: three of a recovery, one more after 20 minutes and twice as long each time,
 * and a certificate may be revoked before it is proved, or the device may boot meanwhile.
 */
const MOST_NEW_ONES = 10;
/** Whatever happens, a device makes no more attempts than this within an hour. */
const MOST_ATTEMPTS_AN_HOUR = 240;
/** Longer away from mutual TLS than this, and a connection begins a new time in contact, milliseconds. */
const CONTACT_GAP_MS = 10 * 60_000;
/** With so many delays drawn, their mean tells whether they are spread over the whole window. */
const ENOUGH_DELAYS = 60;

export class AttemptWatch {
  attempts = 0;
  connections = 0;
  #lastEndMs = -Infinity;
  #earliestNextMs = -Infinity;
  #failures = 0;
  /** The same, where a long connection on which no message got through counts as one more of them. */
  #mostFailures = 0;
  #connectedAtMs: number | undefined;
  #contactSinceMs = 0;
  #lastContactMs = -Infinity;
  #dialing = 0;
  #credentialFault = false;
  #announced: Rung = "mtls";
  readonly #patience = new PatienceWatch();
  /** New certificates since the broker last accepted one. */
  #newOnes = 0;
  #lastReason: FailureCode = "CLOSED_LOCALLY";
  #lastClass: FailureClass = "network";
  readonly #recent: number[] = [];
  /** Sum of delay / window, and how many. */
  #spread = 0;
  #delays = 0;

  constructor(
    private readonly device: string,
    private readonly time: VirtualTime,
    private readonly chronicle: Chronicle,
    private readonly usesLogin = false,
  ) {}

  /** The device was switched on: it knows nothing of before. */
  switchedOn(): void {
    this.restarted();
    this.#failures = 0;
    this.#mostFailures = 0;
    this.#connectedAtMs = undefined;
    this.#dialing = 0;
    this.#announced = "mtls";
    this.#patience.clear();
    this.#recent.length = 0;
  }

  /** The application stopped the device and started it again: it need not wait. */
  restarted(): void {
    this.#lastEndMs = -Infinity;
    this.#earliestNextMs = -Infinity;
    this.#lastClass = "network";
  }

  /**
   * The station is joined, and the device was waiting: where only the network was to blame it has to try now, whatever it had announced.
   * To find that its key is gone is a try as well.
   * @param isWaiting whether the device is still waiting
   */
  networkUp(isWaiting: () => boolean): void {
    if (this.#lastClass !== "network") return;
    this.#earliestNextMs = -Infinity;
    this.#failures = 0;
    const before = this.attempts;
    this.time.after(POLICY.floorMs + 1, () => {
      const hasTried = this.attempts !== before || this.#lastClass !== "network";
      if (!hasTried && isWaiting()) this.#networkIgnored("waits on, though the network is back");
    });
  }

  /** Something made the device's certificate unusable; PSK is in order until mutual TLS works again. */
  credentialFault(): void {
    this.#credentialFault = true;
  }

  dialled(credential: Credential, hasNetwork = true): void {
    const nowMs = this.time.nowMs;
    if (!hasNetwork) this.#networkIgnored("an attempt though there is no network");
    this.attempts++;
    this.#recent.push(nowMs);
    while ((this.#recent[0] ?? nowMs) < nowMs - 3_600_000) this.#recent.shift();
    if (this.#recent.length > MOST_ATTEMPTS_AN_HOUR) this.#spacing(`${this.#recent.length} attempts within an hour`);
    if (nowMs < this.#lastEndMs + POLICY.floorMs) this.#spacing(`an attempt ${nowMs - this.#lastEndMs} ms after the last one ended`);
    if (nowMs < this.#earliestNextMs) this.#spacing(`an attempt ${this.#earliestNextMs - nowMs} ms before the delay it announced was over`);
    if (this.#dialing > 0) this.#spacing("an attempt while another was under way");
    this.#dialing++;
    if (credential.kind === "none") this.chronicle.violate("rung-without-reason", this.device, "a plaintext attempt");
    if (credential.kind === "psk" && !this.#credentialFault)
      this.chronicle.violate("psk-on-network-fault", this.device, "an attempt by PSK though nothing spoke against the certificate");
    if (credential.kind === "psk" && this.#announced !== "psk")
      this.chronicle.violate("rung-without-reason", this.device, "an attempt by PSK that no event announced");
  }

  linkEnded(reason: Failure): void {
    this.#dialing = Math.max(0, this.#dialing - 1);
    this.#lastEndMs = this.time.nowMs;
    this.#connectionEnded();
    // A missing key is found out without asking anybody.
    if (reason.code === "KEY_MISSING" || reason.code === "KEY_MISMATCH") this.#credentialFault = true;
  }

  /** How long the device has been on mutual TLS, short breaks counted in, milliseconds. */
  get inContactForMs(): number {
    return this.time.nowMs - this.#lastContactMs > CONTACT_GAP_MS && this.#connectedAtMs === undefined
      ? 0
      : this.time.nowMs - this.#contactSinceMs;
  }

  #contact(): void {
    if (this.time.nowMs - this.#lastContactMs > CONTACT_GAP_MS) this.#contactSinceMs = this.time.nowMs;
    this.#lastContactMs = this.time.nowMs;
  }

  /** The broker accepted the certificate that serves. */
  activeIsGood(): void {
    this.#credentialFault = false;
    this.#patience.clear();
    this.#newOnes = 0;
  }

  event(event: DeviceEvent): void {
    if (event.type === "connected") {
      this.connections++;
      if (event.credential === "mtls") this.#contact();
      this.#connectedAtMs = this.time.nowMs;
    } else if (event.type === "disconnected") {
      this.#disconnected(event);
    } else if (event.type === "retrying") {
      this.#retrying(event.delayMs, event.attempt);
    } else if (event.type === "pending") {
      this.#newOnes++;
      if (this.#newOnes > MOST_NEW_ONES)
        this.chronicle.violate("useless-certificates", this.device, `${this.#newOnes} new certificates without being on mutual TLS once`);
    } else if (event.type === "renewed") {
      this.activeIsGood();
    } else if (event.type === "credential-changed") {
      this.#announced = event.to;
      if (event.to === "psk") this.#left(event.code);
      if (event.to === "psk" && !this.#credentialFault)
        this.chronicle.violate("rung-without-reason", this.device, `down to PSK because of ${event.code}`);
    }
  }

  #disconnected(event: Extract<DeviceEvent, { type: "disconnected" }>): void {
    this.#lastReason = event.code;
    this.#lastClass = event.class;
    const blamesLogin = this.usesLogin && LOGIN_CODES.has(event.code);
    // Refused by CONNACK, or known without asking; what a broker's alert really said, the broker tells.
    if (!event.wasConnected && event.class === "credential" && !blamesLogin) {
      if (TOLD_BY_CONNACK.has(event.code) || KNOWN_HERE.has(event.code)) this.#credentialFault = true;
    }
    if (event.credential === "mtls" && event.wasConnected) this.#lastContactMs = this.time.nowMs;
    if (event.credential === "mtls" && !event.wasConnected && !blamesLogin) this.#patience.refused(event.code, this.time.nowMs);
    this.#connectionEnded();
  }

  /** The link's end and the device's event come in either order. */
  #connectionEnded(): void {
    if (this.#connectedAtMs !== undefined && this.time.nowMs - this.#connectedAtMs >= POLICY.stableAfterMs) this.#failures = 0;
    this.#connectedAtMs = undefined;
  }

  #retrying(delayMs: number, attempt: number): void {
    const askedMs = ASKED_MS[this.#lastReason] ?? 0;
    if (attempt > this.#mostFailures + 1 || attempt < 1) this.#spacing(`attempt ${attempt} after ${this.#mostFailures + 1} failures`);
    if (attempt <= this.#failures)
      this.#spacing(`the backoff restarted (attempt ${attempt}) after ${this.#failures + 1} failures in a row`);
    const windowMs = Math.min(POLICY.capMs, POLICY.baseMs * 2 ** Math.min(attempt - 1, 30));
    this.#failures = attempt;
    this.#mostFailures = attempt;
    if (delayMs < Math.max(POLICY.floorMs, askedMs)) this.#spacing(`a delay of ${delayMs} ms after ${this.#lastReason}`);
    if (delayMs > MOST_ASKED_MS + windowMs + 1) this.#spacing(`a delay of ${delayMs} ms, longer than anything asks for`);
    this.#earliestNextMs = this.time.nowMs + delayMs;
    // Small windows are cut off by the floor, and a reason's own wish lies below the jitter: neither tells of the spread.
    if (windowMs < 16_000 || askedMs > 0 || delayMs > windowMs) return;
    this.#spread += delayMs / windowMs;
    this.#delays++;
  }

  settle(): void {
    if (this.#delays < ENOUGH_DELAYS) return;
    const mean = this.#spread / this.#delays;
    if (mean < 0.3 || mean > 0.7) this.#spacing(`${this.#delays} delays with a mean of ${mean.toFixed(2)} of their window: no full jitter`);
  }

  #left(code: FailureCode): void {
    const objection = this.#patience.left(code, this.time.nowMs);
    if (objection !== undefined) this.chronicle.violate("left-too-soon", this.device, objection);
  }

  #networkIgnored(what: string): void {
    this.chronicle.violate("network-ignored", this.device, what);
  }

  #spacing(what: string): void {
    this.chronicle.violate("attempt-spacing", this.device, what);
  }
}
