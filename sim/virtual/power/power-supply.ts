/**
 * The power of one device from one power-on to the next cut. Every change to durable memory passes through here, so that the power can
 * fail before and after each of them.
 */
import type { Cancel } from "../../../sdk/platform.js";

/** Thrown through the SDK by the port that was called when the power went. Not a HawserError: nothing may handle it. */
export class PowerCut extends Error {
  override readonly name: string = "PowerCut";
  constructor() {
    super("the power went");
  }
}

export class PowerSupply {
  #on = true;
  #cutPoints = 0;
  #cutAt = Infinity;
  readonly #onCut = new Set<() => void>();

  get on(): boolean {
    return this.#on;
  }

  /** Moments so far at which a cut was possible: two for each durable change, before and after it. */
  get cutPoints(): number {
    return this.#cutPoints;
  }

  /** Cuts at the `index`-th cut point from power-on, counting from 0. */
  cutAt(index: number): void {
    this.#cutAt = index;
  }

  /** Cuts at the `count`-th cut point from now, counting from 0. */
  cutAfter(count: number): void {
    this.#cutAt = this.#cutPoints + count;
  }

  onCut(run: () => void): Cancel {
    this.#onCut.add(run);
    return () => this.#onCut.delete(run);
  }

  /** Ends this power-on, outside of any durable change. Nothing happens the second time. */
  cut(): void {
    if (!this.#on) return;
    this.#on = false;
    for (const run of this.#onCut) run();
    this.#onCut.clear();
  }

  /** Throws when the power is off: code that outlives its device must not touch anything. */
  check(): void {
    if (!this.#on) throw new PowerCut();
  }

  /** Makes one durable change, with a chance for the power to fail before and after it. */
  change(apply: () => void): void {
    this.check();
    this.#point();
    apply();
    this.#point();
  }

  #point(): void {
    if (this.#cutPoints++ !== this.#cutAt) return;
    this.cut();
    throw new PowerCut();
  }
}
