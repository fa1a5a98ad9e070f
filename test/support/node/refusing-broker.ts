/**
 * A broker of one device: takes the first connection and cuts it, refuses all later ones, and says which of them were resumed. It has
 * tickets for a device, unless told to forget them. Test material.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type SecureVersion, type Server, type TLSSocket } from "node:tls";
import { AlertInjector } from "./alert-injector.js";

const ACCEPTED = Buffer.of(0x20, 2, 0, 0);
/** MQTT 3.1.1 section 3.2.2.3: not authorised. */
const NOT_AUTHORISED = Buffer.of(0x20, 2, 0, 5);

export interface RefusingBrokerOptions {
  server: { chainPem: string; keyPem: string };
  clientCaPem: string;
  version: SecureVersion;
  /** The number of a TLS alert, on TLS 1.3 alone; "CONNACK" for the MQTT code 5. */
  refusal: "CONNACK" | number;
  forgetsTickets: boolean;
}

export class RefusingBroker {
  /** Whether each connection by certificate was resumed. */
  readonly resumed: boolean[] = [];
  readonly #server: Server;
  readonly #options: RefusingBrokerOptions;
  #injector: AlertInjector | undefined;
  port = 0;

  private constructor(options: RefusingBrokerOptions) {
    this.#options = options;
    const { server, clientCaPem, version } = options;
    this.#server = createServer(
      {
        cert: server.chainPem,
        key: server.keyPem,
        ca: clientCaPem,
        requestCert: true,
        minVersion: version,
        maxVersion: version,
        ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
      },
      (socket) => this.#serve(socket),
    );
    this.#server.on("tlsClientError", () => undefined);
  }

  static async start(options: RefusingBrokerOptions): Promise<RefusingBroker> {
    const broker = new RefusingBroker(options);
    broker.port = await broker.#listen();
    return broker;
  }

  async stop(): Promise<void> {
    await this.#injector?.stop();
    this.#server.close();
  }

  async #listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo;
    const { refusal } = this.#options;
    if (refusal === "CONNACK") return port;
    this.#injector = await AlertInjector.start(this.#server, refusal, () => this.resumed.length > 0);
    return this.#injector.port;
  }

  #serve(socket: TLSSocket): void {
    const isFirst = this.resumed.length === 0;
    this.resumed.push(socket.isSessionReused());
    socket.on("error", () => undefined);
    // That is CONNECT. The tickets of this connection are out by now.
    socket.once("data", () => {
      if (this.#options.forgetsTickets) this.#server.setTicketKeys(randomBytes(48));
      if (isFirst) socket.end(ACCEPTED);
      else if (this.#options.refusal === "CONNACK") socket.end(NOT_AUTHORISED);
      else socket.end();
    });
  }
}
