/** Strangers who open TLS connections, from many addresses of the loopback network, and finish no handshake. */
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";

/** Few enough that bounds for one address do not count. */
const PER_ADDRESS = 50;
/** Not so many at once that they are all there before the broker has looked at one. */
const AT_ONCE = 20;

export class Strangers {
  readonly #sockets: Socket[] = [];

  private constructor(
    private readonly port: number,
    private readonly kinds: readonly Uint8Array[],
  ) {}

  /** Half of them will send a whole ClientHello, which the server answers, the others a part of one. */
  static async before(port: number): Promise<Strangers> {
    const hello = await clientHello();
    return new Strangers(port, [hello, hello.subarray(0, 100)]);
  }

  /** Those whose connection is still there. */
  get held(): number {
    return this.#sockets.filter((socket) => !socket.destroyed).length;
  }

  /** Opens more until there have been so many. */
  async comeUntil(count: number): Promise<void> {
    while (this.#sockets.length < count) await Promise.all(Array.from({ length: AT_ONCE }, () => this.#one()));
  }

  leave(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }

  /** Resolves when the connection has sent what it is going to send, or was closed. */
  #one(): Promise<void> {
    const index = this.#sockets.length;
    const address = Math.floor(index / PER_ADDRESS);
    const localAddress = `127.1.${address % 250}.${1 + Math.floor(address / 250)}`;
    const socket = connect({ port: this.port, host: "127.0.0.1", localAddress }).on("error", () => undefined);
    this.#sockets.push(socket);
    const bytes = this.kinds[index % this.kinds.length] ?? Buffer.alloc(0);
    return new Promise((resolve) => {
      socket.once("connect", () => socket.write(bytes, () => resolve())).once("close", () => resolve());
    });
  }
}

/** The first bytes of a real client. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read: () => undefined, write: (chunk: Buffer) => resolve(chunk) });
    connectTls({ socket: wire, servername: "localhost" }).on("error", () => undefined);
  });
}
