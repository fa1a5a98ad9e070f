/** Which boards have published with which certificate, for whoever waits for one. */
import { HawserError } from "../../../sdk/errors.js";
import type { ConnectionSeen } from "../../station/factory/connection-proof.js";

export class SeenBoards {
  readonly #seen = new Map<string, { serial: string; topic: string }>();
  readonly #waiting = new Set<() => void>();

  add(id: string, serial: string, topic: string): void {
    this.#seen.set(id, { serial, topic });
    for (const look of [...this.#waiting]) look();
  }

  find(id: string, serial: string): ConnectionSeen | undefined {
    const found = this.#seen.get(id);
    return found?.serial === serial ? { topic: found.topic } : undefined;
  }

  /** @throws HawserError `BOARD_NOT_SEEN`, `STOPPED` */
  wait(id: string, serial: string, waitMs: number, signal: AbortSignal): Promise<ConnectionSeen> {
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        signal.removeEventListener("abort", stop);
        then();
      };
      const look = (): void => {
        const found = this.find(id, serial);
        if (found !== undefined) settle(() => resolve(found));
      };
      const stop = (): void =>
        settle(() => reject(new HawserError("STOPPED", "the station was stopped", "Start it again: it continues where it stopped.")));
      const timer = setTimeout(() => settle(() => reject(notSeen(id, waitMs))), waitMs);
      this.#waiting.add(look);
      signal.addEventListener("abort", stop);
      look();
    });
  }
}

function notSeen(id: string, waitMs: number): HawserError {
  return new HawserError(
    "BOARD_NOT_SEEN",
    `${id} did not connect and publish within ${Math.round(waitMs / 1_000)} s`,
    "Check the board's network and the broker, then try the board again.",
  );
}
