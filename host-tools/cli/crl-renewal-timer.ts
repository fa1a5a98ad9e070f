/** Signs new revocation lists in time, for as long as a broker runs: with an expired one a broker refuses everybody. */

export interface CrlKeeperOptions {
  /** When the lists on disk stop being believed, milliseconds since the epoch. */
  readonly nextUpdateMs: () => number;
  readonly renew: () => Promise<{ nextUpdateMs: number }>;
  readonly onRenewed: (nextUpdateMs: number) => void;
  readonly onFailed: (error: unknown) => void;
}

const LONGEST_WAIT_MS = 86_400_000;
const SHORTEST_WAIT_MS = 1_000;
/** When the directory cannot be read. */
const RETRY_MS = 60_000;

export class CrlKeeper {
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(private readonly options: CrlKeeperOptions) {}

  /** Renews at once what has expired already; then once a day, or at half of what is left where that is sooner. */
  async start(): Promise<void> {
    if (this.options.nextUpdateMs() <= Date.now()) await this.#renew();
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(): void {
    if (this.#stopped) return;
    const seenMs = this.#nextUpdateMs();
    const delayMs = seenMs === undefined ? RETRY_MS : Math.max(SHORTEST_WAIT_MS, Math.min(LONGEST_WAIT_MS, (seenMs - Date.now()) / 2));
    this.#timer = setTimeout(() => void this.#look(seenMs ?? 0), delayMs);
  }

  /** Any change of the CA may have renewed them meanwhile. */
  async #look(seenMs: number): Promise<void> {
    const nowMs = this.#nextUpdateMs();
    try {
      if (nowMs !== undefined && nowMs <= seenMs) await this.#renew();
    } catch (error) {
      this.options.onFailed(error);
    }
    this.#wait();
  }

  async #renew(): Promise<void> {
    const { nextUpdateMs } = await this.options.renew();
    this.options.onRenewed(nextUpdateMs);
  }

  #nextUpdateMs(): number | undefined {
    try {
      return this.options.nextUpdateMs();
    } catch (error) {
      this.options.onFailed(error);
      return undefined;
    }
  }
}
