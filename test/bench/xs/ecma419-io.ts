/** ECMA-419's TCP and resolver over the XS host's sockets, as far as one MQTT client asks for them. */
import { closeTcp, openTcp, TCP_DATA, TCP_ENDED, TCP_WRITABLE, writeTcp } from "../../../sim/xs/host-natives.js";

/** The host takes any number of bytes; a device's stack has a window of about this. */
const WRITABLE_BYTES = 4_096;

export interface HostTcpOptions {
  address: string;
  port: number;
  onReadable: (count: number) => void;
  onWritable: (count: number) => void;
  onError: (error?: unknown) => void;
}

export class HostTcp {
  format = "buffer";
  readonly #id: number;
  #received = new Uint8Array(0);
  #at = 0;
  /** Parts of a write with `more`, which ECMA-419 lets a stack send as one. */
  #parts: Uint8Array[] = [];

  constructor({ address, port, onReadable, onWritable, onError }: HostTcpOptions) {
    this.#id = openTcp(
      address,
      port,
      (event, value) => {
        if (event === TCP_DATA) {
          this.#keep(new Uint8Array(value as ArrayBuffer));
          onReadable(this.#received.length - this.#at);
        } else if (event === TCP_ENDED) onError(value);
        else if (event === TCP_WRITABLE || event === 0) onWritable(WRITABLE_BYTES);
      },
      0,
    );
  }

  read(count = this.#received.length - this.#at): number | ArrayBuffer | undefined {
    if (this.#at === this.#received.length) return undefined;
    if (this.format === "number") return this.#received[this.#at++];
    const end = Math.min(this.#at + count, this.#received.length);
    const bytes = this.#received.slice(this.#at, end);
    this.#at = end;
    return bytes.buffer;
  }

  write(data: ArrayBuffer | Uint8Array, options?: { more?: boolean }): number {
    this.#parts.push(data instanceof Uint8Array ? data : new Uint8Array(data));
    if (options?.more === true) return WRITABLE_BYTES;
    const bytes = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts.splice(0)) {
      bytes.set(part, at);
      at += part.length;
    }
    writeTcp(this.#id, bytes);
    return WRITABLE_BYTES;
  }

  close(): void {
    closeTcp(this.#id);
  }

  #keep(bytes: Uint8Array<ArrayBuffer>): void {
    const rest = this.#received.subarray(this.#at);
    const all = new Uint8Array(rest.length + bytes.length);
    all.set(rest);
    all.set(bytes, rest.length);
    this.#received = all;
    this.#at = 0;
  }
}

/** Addresses only. */
export class HostResolver {
  resolve({ host, onResolved }: { host: string; onResolved: (host: string, address: string) => void }): void {
    onResolved(host, host);
  }
}
