/** The part of Node's EventEmitter that mqtt-packet uses, for engines without Node. Bundled in place of `events` for the device. */
type Listener = (...values: unknown[]) => void;

export class EventEmitter {
  readonly #listeners = new Map<string, Listener[]>();

  on(event: string, listener: Listener): this {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  /** As in Node, an `error` that nobody listens for is thrown. */
  emit(event: string, ...values: unknown[]): boolean {
    const listeners = this.#listeners.get(event);
    if (!listeners) {
      if (event === "error") throw values[0];
      return false;
    }
    for (const listener of listeners) listener.apply(this, values);
    return true;
  }
}
