/**
 * Finds who holds connections open without signing in (a slow CONNECT), which costs a broker the places of its devices. mosquitto
 * writes the address and port of each connection it accepts and of each client it lets in. How the others end it says without an
 * address in 2.0, so each such end is taken for one of the accused's own: whoever is named holds that many, whatever those lines belong to.
 */
import type { OffenderAlert } from "./alert.js";
import type { BrokerEvent } from "./log-events.js";

/** Of the broker's time, whose log counts seconds. A device signs in within one or two. */
const SLOW_MS = 3000;
/** Of one address, and more than have signed in from there meanwhile. */
const THRESHOLD = 10;
/** mosquitto ends such a connection after 90 seconds; what is older has ended in a line that was lost. */
const FORGOTTEN_MS = 120_000;
const LOOK_MS = 1000;
const REPEAT_MS = 60 * 60_000;
/** Connections remembered, and addresses that were told; the oldest make room. */
export const MAX_OPEN = 20_000;
const MAX_TOLD = 10_000;

interface Source {
  open: number;
  /** Since it last had none open. */
  signedIn: number;
}

interface Held {
  count: number;
  readonly oldestMs: number;
}

export class HalfOpenWatch {
  /** By address and port, the oldest first. */
  readonly #open = new Map<string, number>();
  readonly #sources = new Map<string, Source>();
  readonly #toldMs = new Map<string, number>();
  /** When connections ended that may be any of those open then. */
  #unnamedMs: number[] = [];
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** How many connections have not signed in, as far as they are remembered. */
  get size(): number {
    return this.#open.size;
  }

  /** @param peer address and port, divided by a colon, as the broker wrote them */
  accepted(peer: string, timeMs: number): OffenderAlert[] {
    const oldest = this.#open.size >= MAX_OPEN ? this.#open.keys().next().value : undefined;
    if (oldest !== undefined) this.#close(oldest);
    this.#close(peer);
    this.#open.set(peer, timeMs);
    const address = addressOf(peer);
    const source = this.#sources.get(address) ?? { open: 0, signedIn: 0 };
    source.open += 1;
    this.#sources.set(address, source);
    return this.look(timeMs);
  }

  /** @param peer of the connection, where the broker wrote it */
  event(event: BrokerEvent, peer: string | undefined): OffenderAlert[] {
    switch (event.kind) {
      case "connected": {
        const source = peer === undefined ? undefined : this.#sources.get(addressOf(peer));
        if (peer !== undefined && source !== undefined && this.#open.has(peer)) {
          source.signedIn += 1;
          this.#close(peer);
        }
        return this.look(event.timeMs);
      }
      case "refused":
        if (peer !== undefined) this.#close(peer);
        else if (event.address === undefined) this.#endedUnnamed(event.timeMs);
        return [];
      case "disconnected":
      case "timed-out":
        if (peer !== undefined) this.#close(peer);
        else if (event.client === undefined) this.#endedUnnamed(event.timeMs);
        return [];
      case "broker-started":
      case "broker-stopped":
        this.forget();
        return [];
      default:
        return [];
    }
  }

  /** Lines were lost: what is known may be wrong. */
  forget(): void {
    this.#open.clear();
    this.#sources.clear();
    this.#unnamedMs = [];
  }

  /** Looks for those who hold too many, once a second. */
  look(nowMs: number): OffenderAlert[] {
    if (nowMs - this.#lookedMs < LOOK_MS && nowMs >= this.#lookedMs) return [];
    this.#lookedMs = nowMs;
    const slow = new Map<string, Held>();
    for (const [peer, atMs] of this.#open) {
      if (nowMs - atMs >= FORGOTTEN_MS) this.#close(peer);
      else if (nowMs - atMs >= SLOW_MS) {
        const held = slow.get(addressOf(peer));
        if (held === undefined) slow.set(addressOf(peer), { count: 1, oldestMs: atMs });
        else held.count += 1;
      }
    }
    this.#unnamedMs = this.#unnamedMs.filter((endedMs) => nowMs - endedMs < FORGOTTEN_MS);
    return [...slow].flatMap(([address, held]) => this.#judge(address, held, nowMs));
  }

  #judge(address: string, { count: most, oldestMs }: Held, nowMs: number): OffenderAlert[] {
    const count = most - this.#unnamedMs.filter((endedMs) => endedMs >= oldestMs).length;
    const toldMs = this.#toldMs.get(address);
    const isTold = toldMs !== undefined && nowMs - toldMs < REPEAT_MS;
    if (count < THRESHOLD || count <= (this.#sources.get(address)?.signedIn ?? 0) || isTold) return [];
    const oldest = this.#toldMs.size >= MAX_TOLD ? this.#toldMs.keys().next().value : undefined;
    if (oldest !== undefined) this.#toldMs.delete(oldest);
    this.#toldMs.delete(address);
    this.#toldMs.set(address, nowMs);
    return [{ kind: "alert", rule: "slow-connect", by: "address", offender: address, count, timeMs: nowMs }];
  }

  #endedUnnamed(timeMs: number): void {
    if (this.#open.size === 0) return;
    const only = this.#sources.size === 1 ? this.#open.keys().next().value : undefined;
    // Of its one source's connections: of which does not matter, and the oldest accuses the least.
    if (only !== undefined) this.#close(only);
    else if (this.#unnamedMs.length < MAX_OPEN) this.#unnamedMs.push(timeMs);
  }

  #close(peer: string): void {
    if (!this.#open.delete(peer)) return;
    const address = addressOf(peer);
    const source = this.#sources.get(address);
    if (source === undefined) return;
    source.open -= 1;
    if (source.open === 0) this.#sources.delete(address);
    if (this.#open.size === 0) this.#unnamedMs = [];
  }
}

function addressOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(":"));
}
