/** One device's way to the brokers: how fast it is, and what is wrong with it at the moment. Faults change it; links ask it. */
import type { Cancel } from "../../../sdk/platform.js";
import type { FailureCode } from "../../../sdk/failure.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { SeededRandom } from "../random.js";

/** What a retransmission costs when a segment is lost (RFC 6298: the first timeout is about a second), milliseconds. */
const RETRANSMIT_MS = { lowest: 200, highest: 3_000 };

export interface Carried {
  reset(): void;
  forget(): void;
}

export class Path {
  /** One way, milliseconds. */
  latencyMs = 30;
  /** On top of the latency, up to. */
  jitterMs = 20;
  /** How fast bytes leave the device. */
  uplinkBytesPerSecond = Infinity;
  /** The share of segments that are lost and come late. */
  loss = 0;
  /** What a handshake costs the device's processor, milliseconds. */
  handshakeMs = 400;
  dns: "works" | "fails" | "silent" = "works";
  reach: "works" | "refused" | "unreachable" = "works";
  /** Somebody in between answers TLS in the broker's place: what the device finds wrong with the server. */
  impostor: FailureCode | undefined;
  /**
   * Somebody without keys sits in between, lets the server's flight pass and then answers in its place: with this alert in the clear, or by
   * a reset.
   */
  forged: number | "reset" | undefined;
  /** The share of TLS alerts that get lost to the reset which follows them. */
  alertLoss = 0;
  #blackHole = false;
  #isJoined = true;
  readonly #joinListeners = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  readonly #links = new Set<Carried>();

  constructor(
    private readonly time: VirtualTime,
    readonly random: SeededRandom,
  ) {}

  /** The device's station is joined to its access point. The device is told; links that stand learn nothing. */
  get isJoined(): boolean {
    return this.#isJoined;
  }

  set isJoined(joined: boolean) {
    this.#isJoined = joined;
    for (const changed of [...this.#joinListeners]) changed();
  }

  onJoinChange(changed: () => void): Cancel {
    this.#joinListeners.add(changed);
    return () => this.#joinListeners.delete(changed);
  }

  /** Nothing passes and nobody is told. What was sent meanwhile arrives when it ends, as TCP retransmits. */
  get blackHole(): boolean {
    return this.#blackHole;
  }

  set blackHole(on: boolean) {
    this.#blackHole = on;
    if (on) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const run of waiting) this.time.after(this.random.between(RETRANSMIT_MS.lowest, RETRANSMIT_MS.highest), run);
  }

  /** How long one segment takes now, milliseconds. */
  delayMs(): number {
    const lost = this.loss > 0 && this.random.chance(this.loss);
    return (
      this.latencyMs + this.random.between(0, this.jitterMs) + (lost ? this.random.between(RETRANSMIT_MS.lowest, RETRANSMIT_MS.highest) : 0)
    );
  }

  /** Runs once the black hole has ended. */
  whenPassable(run: () => void): Cancel {
    this.#waiting.add(run);
    return () => this.#waiting.delete(run);
  }

  /** Keeps track of a live link, so that a fault can hit it. */
  carry(link: Carried): Cancel {
    this.#links.add(link);
    return () => this.#links.delete(link);
  }

  get linkCount(): number {
    return this.#links.size;
  }

  /** Every connection is reset, both ends are told. */
  resetLinks(): void {
    for (const link of [...this.#links]) link.reset();
  }

  /** Every connection is forgotten by a middlebox: nothing passes any more, no end is told. */
  forgetLinks(): void {
    for (const link of [...this.#links]) link.forget();
  }
}
