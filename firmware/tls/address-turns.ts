/**
 * Which of a name's addresses to begin with. A node that takes TCP and is ill behind it (no TLS, a stale certificate, a CONNACK that
 * refuses, silence) would be met first again and again: so each link that came to nothing moves on by one, and what serves is kept.
 * `sim/node/address-order.ts` does the same where the addresses are known.
 */
import type { Endpoint } from "../../sdk/platform.js";

/** A device has one broker, and for a while perhaps a second. */
const KEPT = 4;

export class AddressTurns {
  readonly #turns: { place: string; turn: number }[] = [];

  /** @returns the number of the address, from 0, to be taken modulo how many there are */
  of(endpoint: Endpoint): number {
    return this.#entry(endpoint)?.turn ?? 0;
  }

  cameToNothing(endpoint: Endpoint): void {
    const entry = this.#entry(endpoint);
    if (entry !== undefined) {
      entry.turn = (entry.turn + 1) % 0x10000;
      return;
    }
    if (this.#turns.length === KEPT) this.#turns.shift();
    this.#turns.push({ place: placeOf(endpoint), turn: 1 });
  }

  #entry(endpoint: Endpoint): { turn: number } | undefined {
    const place = placeOf(endpoint);
    return this.#turns.find((each) => each.place === place);
  }
}

function placeOf({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}
