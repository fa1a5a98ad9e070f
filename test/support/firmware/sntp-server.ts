/** Replies as an SNTP server makes them, and a fake `embedded:io/socket/udp` to carry them. */
import type { UdpSocket } from "../../../firmware/io/ecma419.js";

export interface ReplyOptions {
  /** Milliseconds since the Unix epoch. */
  timeMs: number;
  leap?: number;
  version?: number;
  mode?: number;
  stratum?: number;
  rootDelayMs?: number;
  rootDispersionMs?: number;
  reference?: string;
  /** How long the server held the request. */
  heldMs?: number;
}

const UNIX_EPOCH_MS = 2_208_988_800_000;

/** The reply to a request: its transmit timestamp comes back as originate. */
export function sntpReply(request: Uint8Array, options: ReplyOptions): Uint8Array {
  const {
    timeMs,
    leap = 0,
    version = 4,
    mode = 4,
    stratum = 2,
    rootDelayMs = 10,
    rootDispersionMs = 5,
    reference = "",
    heldMs = 1,
  } = options;
  const packet = new Uint8Array(48);
  const view = new DataView(packet.buffer);
  packet[0] = (leap << 6) | (version << 3) | mode;
  packet[1] = stratum;
  view.setUint32(4, Math.round(rootDelayMs * 65.536));
  view.setUint32(8, Math.round(rootDispersionMs * 65.536));
  packet.set(
    Uint8Array.from(reference, (character) => character.charCodeAt(0)),
    12,
  );
  packet.set(request.subarray(40, 48), 24);
  putTimestamp(view, 32, timeMs - heldMs);
  putTimestamp(view, 40, timeMs);
  return packet;
}

function putTimestamp(view: DataView, offset: number, unixMs: number): void {
  const ntpMs = unixMs + UNIX_EPOCH_MS;
  view.setUint32(offset, Math.floor(ntpMs / 1_000) % 2 ** 32);
  view.setUint32(offset + 4, Math.floor(((ntpMs % 1_000) * 2 ** 32) / 1_000));
}

/** Datagrams queue up; `onReadable` comes only when {@link delivers} is called; after `close` every method throws. */
export class FakeUdp implements UdpSocket {
  static readonly made: FakeUdp[] = [];
  static failWith: string | undefined;

  readonly sent: { bytes: Uint8Array; address: string; port: number }[] = [];
  closed = false;
  readonly #onReadable: (count: number) => void;
  readonly #queue: (ArrayBuffer & { address: string; port: number })[] = [];

  constructor(options: { onReadable(count: number): void }) {
    if (FakeUdp.failWith !== undefined) throw new Error(FakeUdp.failWith);
    this.#onReadable = (count) => options.onReadable(count);
    FakeUdp.made.push(this);
  }

  read(): (ArrayBuffer & { address: string; port: number }) | undefined {
    this.#alive();
    return this.#queue.shift();
  }

  write(bytes: Uint8Array, address: string, port: number): void {
    this.#alive();
    this.sent.push({ bytes, address, port });
  }

  close(): void {
    this.#alive();
    this.closed = true;
  }

  delivers(...datagrams: { bytes: Uint8Array; address: string; port: number }[]): void {
    for (const { bytes, address, port } of datagrams) this.#queue.push(Object.assign(new Uint8Array(bytes).buffer, { address, port }));
    this.#onReadable(this.#queue.length);
  }

  #alive(): void {
    if (this.closed) throw new Error("closed");
  }
}
