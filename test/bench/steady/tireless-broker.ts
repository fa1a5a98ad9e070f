/** A broker for one client that answers at once and keeps nothing but the messages that the client has not acknowledged. */
import { failure } from "../../../sdk/failure.js";
import type { Link, LinkHandlers } from "../../../sdk/platform.js";

const CONNECT = 1;
const PUBLISH = 3;
const PUBACK = 4;
const SUBSCRIBE = 8;
const PINGREQ = 12;
const LARGEST_ID = 65_535;

export class TirelessBroker {
  /** Messages of QoS 1 that came, those that came again counted again. */
  received = 0;
  repeated = 0;
  /** Of messages that the client has not acknowledged. */
  readonly unacknowledged = new Map<number, Uint8Array>();
  /** Takes in messages and answers none. */
  isMute = false;
  #handlers: LinkHandlers | undefined;
  #hasSession = false;
  #lastId = 0;

  readonly dial = (handlers: LinkHandlers): Link => {
    this.#handlers = handlers;
    queueMicrotask(() => handlers.opened({ tlsVersion: "none", cipher: "none", resumed: false }));
    return {
      write: (bytes) => {
        this.#read(bytes);
        return true;
      },
      close: () => queueMicrotask(() => this.#end("CLOSED_LOCALLY")),
    };
  };

  /** The connection breaks; what was not acknowledged is sent again on the next. */
  cut(): void {
    this.isMute = false;
    this.#end("CONNECTION_RESET");
  }

  /** Sends a message of QoS 1 to the client. */
  send(topic: string, payload: Uint8Array): void {
    do this.#lastId = (this.#lastId % LARGEST_ID) + 1;
    while (this.unacknowledged.has(this.#lastId));
    const name = new TextEncoder().encode(topic);
    const body = [name.length >> 8, name.length & 255, ...name, this.#lastId >> 8, this.#lastId & 255, 0, ...payload];
    if (body.length > 127) throw new Error("the bench sends short messages");
    const packet = Uint8Array.from([0x32, body.length, ...body]);
    this.unacknowledged.set(this.#lastId, packet);
    this.#answer(packet);
  }

  #end(code: "CONNECTION_RESET" | "CLOSED_LOCALLY"): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.ended(failure(code, "the bench ended the connection"));
  }

  #answer(bytes: Uint8Array): void {
    const handlers = this.#handlers;
    queueMicrotask(() => handlers !== undefined && handlers === this.#handlers && handlers.data(bytes));
  }

  /** The client writes whole packets. */
  #read(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const first = bytes[at] ?? 0;
      let size = 0;
      let shift = 0;
      let next: number;
      do {
        next = bytes[++at] ?? 0;
        size |= (next & 127) << shift;
        shift += 7;
      } while (next > 127);
      this.#take(first, bytes.subarray(at + 1, at + 1 + size));
      at += 1 + size;
    }
  }

  #take(first: number, body: Uint8Array): void {
    const id = ((body[0] ?? 0) << 8) | (body[1] ?? 0);
    switch (first >> 4) {
      case CONNECT:
        this.#answer(Uint8Array.from([0x20, 3, this.#hasSession ? 1 : 0, 0, 0]));
        this.#hasSession = true;
        for (const packet of this.unacknowledged.values()) this.#answer(Uint8Array.from([0x3a, ...packet.subarray(1)]));
        return;
      case PUBLISH: {
        this.received++;
        if ((first & 8) !== 0) this.repeated++;
        const at = 2 + id;
        if (!this.isMute) this.#answer(Uint8Array.from([0x40, 2, body[at] ?? 0, body[at + 1] ?? 0]));
        return;
      }
      case PUBACK:
        this.unacknowledged.delete(id);
        return;
      case SUBSCRIBE:
        return this.#answer(Uint8Array.from([0x90, 4, body[0] ?? 0, body[1] ?? 0, 0, 1]));
      case PINGREQ:
        return this.#answer(Uint8Array.from([0xd0, 0]));
    }
  }
}
