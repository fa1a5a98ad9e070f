/** What a simulated sensor sends: one numbered reading at each interval, until it is stopped or enough are acknowledged. */
import { errorCode } from "../../../sdk/errors.js";

export interface TelemetryOptions {
  readonly everyMs: number;
  /** How many acknowledged readings are enough; without it there is no end. */
  readonly count?: number;
  /** Settles when the broker has acknowledged the reading. */
  readonly publish: (payload: string) => Promise<unknown>;
  readonly onPublished: (n: number) => void;
  readonly onFailed: (n: number, code: string) => void;
}

export class Telemetry {
  /** Resolves when `count` readings are acknowledged. */
  readonly done: Promise<void>;
  #resolve: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #next = 1;
  #inFlight = 0;
  #acknowledged = 0;
  #celsius = 21.5;

  constructor(private readonly options: TelemetryOptions) {
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Sends the first reading at once. Idempotent. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#send(), this.options.everyMs);
    this.#send();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #send(): void {
    const { count = Number.POSITIVE_INFINITY } = this.options;
    if (this.#acknowledged + this.#inFlight >= count) return;
    const n = this.#next++;
    this.#inFlight += 1;
    void this.#publish(n);
  }

  async #publish(n: number): Promise<void> {
    try {
      await this.options.publish(this.#reading(n));
      this.#acknowledged += 1;
      this.options.onPublished(n);
    } catch (error) {
      this.options.onFailed(n, errorCode(error));
    } finally {
      this.#inFlight -= 1;
    }
    if (this.#acknowledged === this.options.count) this.#resolve();
  }

  /** A temperature that drifts as a room's does. */
  #reading(n: number): string {
    this.#celsius += (Math.random() - 0.5) / 5 + (21.5 - this.#celsius) / 50;
    return JSON.stringify({ n, temperature: Math.round(this.#celsius * 100) / 100, time: new Date().toISOString() });
  }
}
