/**
 * Tells an order system or a cloud of each board that passed, one row a request. Its failure never fails a board: what could not be told
 * waits in the ledger.
 */
import { HawserError } from "../../../sdk/errors.js";
import type { Ledger } from "./ledger.js";
import type { BoardRecord } from "./ledger-records.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
const IDLE_MS = 500;
const ANSWER_MS = 10_000;

export class ReportQueue {
  readonly #abort = new AbortController();
  #done: Promise<void> = Promise.resolve();

  /**
   * @param url `https://` or `http://`; gets a POST with JSON for each board. Any 2xx answer, and 409 (it has the row), takes the row off
   *   the queue
   * @throws HawserError `BAD_URL`
   */
  constructor(
    private readonly ledger: Ledger,
    private readonly url: string,
    private readonly onTrouble: (message: string) => void,
  ) {
    if (!/^https?:\/\/[^\s/]+/.test(url) || !URL.canParse(url))
      throw new HawserError("BAD_URL", `invalid URL ${JSON.stringify(url)}`, "Use https://HOST/PATH.");
  }

  start(): void {
    this.#done = this.#work();
  }

  /** What is left is told by the next station that is started with this ledger. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #work(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const board = [...this.ledger.boards()].find(({ passedAt, isReported }) => passedAt !== undefined && !isReported);
      if (board === undefined) {
        await this.#pause(IDLE_MS);
        continue;
      }
      try {
        await this.#report(board);
        this.ledger.append({ event: "reported", id: board.id, to: new URL(this.url).host });
        pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        if (signal.aborted) return;
        this.onTrouble(error instanceof Error ? error.message : String(error));
        await this.#pause(pauseMs);
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      }
    }
  }

  async #report({ id, mac, role, order, serial, notAfterMs, passedAt }: BoardRecord): Promise<void> {
    const row = {
      id,
      mac,
      role,
      order,
      serial,
      notAfter: notAfterMs === undefined ? undefined : new Date(notAfterMs).toISOString(),
      passedAt,
    };
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(ANSWER_MS)]);
    // Nobody but the host that was named gets the row.
    const response = await fetch(this.url, {
      method: "POST",
      redirect: "error",
      signal,
      headers: { "content-type": "application/json", "idempotency-key": `${id}-${serial ?? ""}` },
      body: JSON.stringify(row),
    });
    await response.body?.cancel();
    if (!response.ok && response.status !== 409) throw new Error(`${new URL(this.url).host} answered ${response.status}`);
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#abort;
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, delayMs);
      signal.addEventListener("abort", end);
    });
  }
}
