/**
 * Connections that have not signed in yet. They cost a stranger nothing, so their number is bounded; when it is reached, one makes room:
 * the first that has been silent for a while, else the oldest. So whoever opens thousands, silent or in the middle of a handshake, shuts
 * out nobody who signs in at once.
 */
import type { Socket } from "node:net";

/** A client that was accepted a moment ago has not sent anything either, milliseconds. */
const SILENT_MS = 2_000;

interface Waiting {
  readonly socket: Socket;
  readonly network: string;
  readonly sinceMs: number;
}

export class HalfOpen {
  // In the order of arrival.
  readonly #waiting = new Map<string, Waiting>();
  readonly #countByNetwork = new Map<string, number>();

  /**
   * @param max in all
   * @param maxPerNetwork of one IPv4 address or IPv6 /64
   * @param onEvicted told after a connection was closed to make room
   */
  constructor(
    private readonly max: number,
    private readonly maxPerNetwork: number,
    private readonly onEvicted: () => void,
  ) {}

  get size(): number {
    return this.#waiting.size;
  }

  add(socket: Socket): void {
    const key = keyOf(socket);
    const network = networkOf(socket.remoteAddress ?? "");
    this.#waiting.set(key, { socket, network, sinceMs: performance.now() });
    this.#countByNetwork.set(network, (this.#countByNetwork.get(network) ?? 0) + 1);
    socket.once("close", () => this.#forget(key, socket));
    if ((this.#countByNetwork.get(network) ?? 0) > this.maxPerNetwork) this.#evict(socket, network);
    else if (this.#waiting.size > this.max) this.#evict(socket);
  }

  /** The connection has signed in. The socket may be one that wraps the one that was added. */
  done(socket: Pick<Socket, "remoteAddress" | "remotePort" | "localPort">): void {
    this.#forget(keyOf(socket));
  }

  #evict(newest: Socket, network?: string): void {
    const silentSinceMs = performance.now() - SILENT_MS;
    let oldest: Waiting | undefined;
    let silent: Waiting | undefined;
    for (const waiting of this.#waiting.values()) {
      if (waiting.socket === newest || (network !== undefined && waiting.network !== network)) continue;
      oldest ??= waiting;
      if (waiting.sinceMs > silentSinceMs) break;
      if (waiting.socket.bytesRead > 0) continue;
      silent = waiting;
      break;
    }
    const victim = silent ?? oldest;
    if (victim === undefined) return;
    this.#forget(keyOf(victim.socket));
    victim.socket.destroy();
    this.onEvicted();
  }

  #forget(key: string, socket?: Socket): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined || (socket !== undefined && waiting.socket !== socket)) return;
    this.#waiting.delete(key);
    const count = (this.#countByNetwork.get(waiting.network) ?? 1) - 1;
    if (count > 0) this.#countByNetwork.set(waiting.network, count);
    else this.#countByNetwork.delete(waiting.network);
  }
}

/** No two connections have the same while they live. */
function keyOf({ remoteAddress, remotePort, localPort }: Pick<Socket, "remoteAddress" | "remotePort" | "localPort">): string {
  return `${remoteAddress ?? ""} ${remotePort ?? 0} ${localPort ?? 0}`;
}

/** IPv6 hosts choose freely within a /64. */
export function networkOf(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  const [head = "", tail] = address.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined ? front : [...front, ...Array.from({ length: 8 - front.length - back.length }, () => "0"), ...back];
  return groups.slice(0, 4).join(":");
}
