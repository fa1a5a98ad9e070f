/** Whether all that a broker had for a client has been heard: a mark that the client sends to itself comes behind it. */
import { randomBytes } from "node:crypto";

export class StreamMarks {
  readonly #waiting = new Map<string, (isBack: boolean) => void>();

  /**
   * @param send brings the mark to where this client hears it
   * @returns true once it came back; false when that took too long, or the connection ended
   */
  come(send: (mark: string) => void, withinMs: number): Promise<boolean> {
    const mark = randomBytes(16).toString("hex");
    return new Promise((resolve) => {
      const timer = setTimeout(() => over(false), withinMs);
      timer.unref();
      const over = (isBack: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(mark);
        resolve(isBack);
      };
      this.#waiting.set(mark, over);
      send(mark);
    });
  }

  heard(payload: Uint8Array): void {
    this.#waiting.get(Buffer.from(payload).toString("latin1"))?.(true);
  }

  /** The connection ended: what was on its way comes with the next one, or never. */
  lost(): void {
    for (const over of [...this.#waiting.values()]) over(false);
  }
}
