/** Tells events to functions that listen and to streams that are iterated over. */
import { errorMessage, HawserError } from "./errors.js";
import type { Log } from "./platform.js";

/** Events that a slow reader of a stream has not taken; older ones are dropped. */
const STREAM_EVENTS = 256;

const DONE: IteratorResult<never, undefined> = Object.freeze({ value: undefined, done: true });

export class EventHub<Event extends { readonly type: string }> {
  /** Made for the first listener: gateways have thousands of clients that nobody listens to. */
  #listeners: Set<(event: Event) => void> | undefined;

  constructor(private readonly log: Log) {}

  emit(event: Event): void {
    for (const listener of this.#listeners ?? []) {
      try {
        listener(event);
      } catch (error) {
        // A listener's mistake must not cost the connection; on XS it would end the virtual machine.
        this.log("error", "a listener threw", { event: event.type, error: errorMessage(error) });
      }
    }
  }

  /** @returns a function that ends it */
  listen(listener: (event: Event) => void): () => void {
    if (typeof listener !== "function")
      throw new HawserError("BAD_OPTION", "the listener must be a function", "Pass a function that takes an event.");
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  stream(): AsyncIterableIterator<Event, undefined> {
    const kept: Event[] = [];
    const waiting: ((result: IteratorResult<Event, undefined>) => void)[] = [];
    let isOver = false;
    const end = this.listen((event) => {
      const reader = waiting.shift();
      if (reader !== undefined) reader({ value: event, done: false });
      else if (kept.push(event) > STREAM_EVENTS) kept.shift();
    });
    return {
      next: () => {
        const value = kept.shift();
        if (value !== undefined) return Promise.resolve({ value, done: false });
        return isOver ? Promise.resolve(DONE) : new Promise((resolve) => waiting.push(resolve));
      },
      return: () => {
        isOver = true;
        end();
        kept.length = 0;
        for (const reader of waiting.splice(0)) reader(DONE);
        return Promise.resolve(DONE);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}
