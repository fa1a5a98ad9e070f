/** Watches the TLS sessions that a device resumes: each once, and none of a certificate that it no longer shows. */
import { hexEncode } from "../../../sdk/encoding/text.js";
import type { Credential } from "../../../sdk/platform.js";
import { KeptSession, type KeptSessionParts } from "../../../sdk/sleep/kept-tls-session.js";
import { keptTickets, type Resumption, type Ticket } from "../network/tickets.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { Chronicle } from "../world/chronicle.js";

export class SessionWatch {
  readonly #offered = new Set<number>();

  constructor(
    private readonly device: string,
    private readonly chronicle: Chronicle,
  ) {}

  /** What the device resumes in one power-on. */
  resumption(parts: KeptSessionParts, keys: VirtualKeys): Resumption {
    return keptTickets(new KeptSession(parts), keys, (ticket, credential) => this.#offer(ticket, credential));
  }

  #offer({ number, leaf }: Ticket, credential: Credential): void {
    if (this.#offered.has(number)) this.chronicle.violate("session-twice", this.device, `ticket ${number} was offered before`);
    this.#offered.add(number);
    const shown = credential.kind === "mtls" ? hexEncode(credential.chain[0] ?? new Uint8Array(0)) : "";
    if (shown !== leaf) this.chronicle.violate("session-of-before", this.device, `ticket ${number} was given to another certificate`);
  }
}
