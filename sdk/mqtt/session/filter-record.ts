/**
 * Remembers over reboots and firmware updates which filters the broker's session holds: MQTT has no way to ask. Without it, what an earlier
 * firmware subscribed to comes for as long as the session lives. Costs a write only when the set of filters changes.
 */
import { decodeUtf8, encodeUtf8 } from "../../encoding/utf8.js";
import { errorMessage } from "../../errors.js";
import type { Log, Storage } from "../../platform.js";

const KEY = "mq-s";
/** A record that storage takes on every platform, bytes. */
const MAX_RECORD_BYTES = 4_000;

export class FilterRecord {
  readonly #filters = new Set<string>();

  /** @param storage undefined: nothing is remembered. @param clientId what another client identifier left is not this session's */
  constructor(
    private readonly storage: Storage | undefined,
    private readonly clientId: string,
    private readonly log: Log,
  ) {
    for (const filter of this.#read()) this.#filters.add(filter);
  }

  get filters(): readonly string[] {
    return [...this.#filters];
  }

  /** The broker granted a filter. */
  granted(filter: string): void {
    if (this.#filters.has(filter)) return;
    this.#filters.add(filter);
    this.#save();
  }

  /** The broker confirmed that these are gone. */
  left(filters: readonly string[]): void {
    let isChanged = false;
    for (const filter of filters) isChanged = this.#filters.delete(filter) || isChanged;
    if (isChanged) this.#save();
  }

  /** The broker has no session: nothing of it is left. The record follows with the next change. */
  sessionLost(): void {
    this.#filters.clear();
  }

  #read(): readonly string[] {
    try {
      // Lines: neither an identifier nor a filter holds a control character.
      const [id, ...filters] = decodeUtf8(this.storage?.get(KEY) ?? new Uint8Array(0))?.split("\n") ?? [];
      return id === this.clientId ? filters : [];
    } catch (error) {
      this.log("warn", "the record of subscriptions cannot be read", { error: errorMessage(error) });
      return [];
    }
  }

  #save(): void {
    if (this.storage === undefined) return;
    try {
      const bytes = encodeUtf8([this.clientId, ...this.#filters].join("\n"));
      if (bytes.length <= MAX_RECORD_BYTES) this.storage.put(KEY, bytes);
      else this.log("warn", "too many subscriptions to remember them all", { bytes: bytes.length });
    } catch (error) {
      // Only the clean-up after a later firmware needs it.
      this.log("warn", "the record of subscriptions cannot be stored", { error: errorMessage(error) });
    }
  }
}
