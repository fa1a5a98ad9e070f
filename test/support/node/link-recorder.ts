/** Records what a link reports, for this folder's tests, and checks the order that the port promises. Not part of the product. */
import type { Failure } from "../../../sdk/failure.js";
import type { Credential, Dialer, Endpoint, Link, LinkInfo } from "../../../sdk/platform.js";

export class RecordedLink {
  readonly link: Link;
  /** "opened", "data", "drain" and "ended", as they came. */
  readonly events: string[] = [];
  readonly received: Buffer[] = [];
  info: LinkInfo | undefined;
  readonly opened: Promise<LinkInfo>;
  readonly ended: Promise<Failure>;
  #onData: (() => void) | undefined;
  #onDrain: (() => void) | undefined;

  constructor(
    dialer: Dialer,
    endpoint: Endpoint,
    credential: Credential,
    options: { timeoutMs?: number; onOpened?: (link: Link) => void } = {},
  ) {
    let returned = false;
    const note = (event: string): void => {
      if (!returned) throw new Error(`${event} came before dial returned`);
      if (this.events.at(-1) === "ended") throw new Error(`${event} came after ended`);
      if (event === "opened" && this.events.length > 0) throw new Error("opened must come first");
      if ((event === "data" || event === "drain") && this.events[0] !== "opened") throw new Error(`${event} came before opened`);
      this.events.push(event);
    };
    let tellOpened: (info: LinkInfo) => void = () => undefined;
    let tellNotOpened: (error: Error) => void = () => undefined;
    let tellEnded: (failure: Failure) => void = () => undefined;
    this.opened = new Promise((resolve, reject) => {
      tellOpened = resolve;
      tellNotOpened = reject;
    });
    // A test that waits for the end alone must not be failed by this.
    this.opened.catch(() => undefined);
    this.ended = new Promise((resolve) => {
      tellEnded = resolve;
    });
    this.link = dialer.dial(endpoint, credential, options.timeoutMs ?? 20_000, {
      opened: (info) => {
        note("opened");
        this.info = info;
        options.onOpened?.(this.link);
        tellOpened(info);
      },
      data: (bytes) => {
        note("data");
        this.received.push(Buffer.from(bytes));
        this.#onData?.();
      },
      drain: () => {
        note("drain");
        this.#onDrain?.();
      },
      ended: (failure) => {
        note("ended");
        tellNotOpened(new Error(`ended before opened: ${failure.code} ${failure.message}`));
        tellEnded(failure);
      },
    });
    returned = true;
  }

  /** Resolves once this many bytes have come in all. */
  bytes(count: number): Promise<Buffer> {
    return new Promise((resolve) => {
      const look = (): void => {
        const all = Buffer.concat(this.received);
        if (all.length >= count) resolve(all);
      };
      this.#onData = look;
      look();
    });
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrain = resolve;
    });
  }
}

/** An MQTT 3.1.1 CONNECT with clean session and a keep-alive of a minute. */
export function connectPacket(clientId: string): Uint8Array {
  const id = Buffer.from(clientId);
  const body = Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, id.length >> 8, id.length & 0xff]), id]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}
