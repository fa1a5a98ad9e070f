/**
 * Which of a name's addresses to begin with. TCP goes on to the next address by itself (RFC 8305); a node that takes TCP and is ill behind
 * it (no TLS, a stale certificate, a CONNACK that refuses, silence) would be met first again and again. So an address with which a link
 * came to nothing stands behind the others at the next attempt, until one with it goes well.
 */
import { lookup as systemLookup } from "node:dns";
import type { LookupAddress, LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";

const KEPT = 64;

export class AddressOrder {
  /** "address:port" of those that failed, the latest last. */
  readonly #failed = new Set<string>();
  readonly #lookup: LookupFunction;

  constructor(lookup: LookupFunction = systemLookup as LookupFunction) {
    this.#lookup = lookup;
  }

  /**
   * Name resolution whose answers are in the order of this memory, and never come at once: who connects could not yet hear which address is
   * tried.
   */
  lookupFor(port: number): LookupFunction {
    return (host: string, options: LookupOptions, done: Parameters<LookupFunction>[2]) =>
      this.#lookup(host, options, (error, found, family) => {
        const answer = error === null && Array.isArray(found) ? this.#sorted(found, port) : found;
        process.nextTick(done, error, answer, family);
      });
  }

  /** A link through this address came to nothing, though TCP was up. */
  failed(address: string, port: number): void {
    const key = `${address}:${port}`;
    this.#failed.delete(key);
    this.#failed.add(key);
    for (const oldest of this.#failed) {
      if (this.#failed.size <= KEPT) return;
      this.#failed.delete(oldest);
    }
  }

  served(address: string, port: number): void {
    this.#failed.delete(`${address}:${port}`);
  }

  #sorted(found: readonly LookupAddress[], port: number): LookupAddress[] {
    const order = [...this.#failed];
    const rank = ({ address }: LookupAddress): number => order.indexOf(`${address}:${port}`);
    return [...found].sort((one, other) => rank(one) - rank(other));
  }
}
