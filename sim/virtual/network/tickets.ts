/** Tickets of TLS in this world, without any cryptography: a server's numbered ones, and those that a device keeps over its sleeps. */
import { hexEncode, utf8Decode, utf8Encode } from "../../../sdk/encoding/text.js";
import type { Credential, Endpoint } from "../../../sdk/platform.js";
import { sessionBinding, type KeptSession } from "../../../sdk/sleep/kept-tls-session.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { ShownCredential } from "./virtual-tls.js";

export interface Ticket {
  readonly number: number;
  /** The certificate of the client that it was given to, hexadecimal; empty for one without. */
  readonly leaf: string;
}

/** What a server remembers of the tickets that it gave. */
export class TicketOffice {
  readonly #given = new Map<number, ShownCredential>();
  #last = 0;

  give(shown: ShownCredential): Ticket {
    this.#given.set(++this.#last, shown);
    return { number: this.#last, leaf: leafOf(shown) };
  }

  /** @returns for whom the session is resumed; undefined where the ticket is refused, every third of them for the server's own reasons */
  take({ number }: Ticket): ShownCredential | undefined {
    const shown = this.#given.get(number);
    this.#given.delete(number);
    return number % 3 === 0 ? undefined : shown;
  }
}

/** How one power-on of a device comes by what it resumes. */
export interface Resumption {
  /** What to offer now; it is offered by nobody again. */
  take(endpoint: Endpoint, credential: Credential): Ticket | undefined;
  /** The device leaves a peer that accepted it. */
  keep(endpoint: Endpoint, credential: Credential, ticket: Ticket): void;
}

/** @param offered told of each ticket, and of what the device shows beside it */
export function keptTickets(
  kept: KeptSession,
  keys: VirtualKeys,
  offered: (ticket: Ticket, credential: Credential) => void = () => undefined,
): Resumption {
  const keyIn = (slot: string): string => {
    const stored = keys.peek(slot);
    return stored?.kind === "psk" ? hexEncode(stored.key) : "";
  };
  const lockOf = (slot: string, endpoint: Endpoint, credential: Extract<Credential, { trustAnchors: unknown }>): string =>
    `${keyIn(slot)} ${hexEncode(sessionBinding(endpoint, credential))}`;
  return {
    take(endpoint, credential) {
      if (!("trustAnchors" in credential)) return undefined;
      const ticket = kept.take((sealed, slot) => {
        const { lock, ...inside } = JSON.parse(utf8Decode(sealed)) as Ticket & { lock: string };
        return lock === lockOf(slot, endpoint, credential) ? inside : undefined;
      });
      if (ticket) offered(ticket, credential);
      return ticket;
    },
    keep(endpoint, credential, ticket) {
      if (!("trustAnchors" in credential)) return;
      kept.keep((slot) => utf8Encode(JSON.stringify({ ...ticket, lock: lockOf(slot, endpoint, credential) })));
    },
  };
}

function leafOf(shown: ShownCredential): string {
  return shown.kind === "certificate" ? hexEncode(shown.chain[0] ?? new Uint8Array(0)) : "";
}
