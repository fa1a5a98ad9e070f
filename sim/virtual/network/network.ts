/** The network of the world: who listens where, and the dialer each device gets. */
import { failure } from "../../../sdk/failure.js";
import type { Credential, Dialer, Endpoint, LinkHandlers } from "../../../sdk/platform.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { PowerSupply } from "../power/power-supply.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { Path } from "./path.js";
import type { Resumption, TicketOffice } from "./tickets.js";
import { showCredential, type ShownCredential } from "./virtual-tls.js";
import { VirtualLink } from "./virtual-link.js";

/** The server's end of a connection that passed TLS. */
export interface ServerSocket {
  write(bytes: Uint8Array): void;
  /** Sends what is queued, then closes. */
  close(): void;
  /** Cuts the connection; what is under way is lost. */
  reset(): void;
}

export interface ServerHandlers {
  data(bytes: Uint8Array): void;
  /** Once, when the connection is gone as far as the server can tell. */
  ended(): void;
}

export interface ServerCertificate {
  /** DER of the root it leads to. */
  root: Uint8Array;
  names: readonly string[];
  notBeforeMs: number;
  notAfterMs: number;
}

/** One listening port of a server. */
export interface Listener {
  /** False: connections are refused. */
  up: boolean;
  tlsVersion: "TLSv1.3" | "TLSv1.2";
  certificate: ServerCertificate;
  /** The TLS alert with which this server refuses the credential; undefined when it lets it in. */
  judge(shown: ShownCredential): number | undefined;
  accept(socket: ServerSocket, shown: ShownCredential): ServerHandlers;
  /** Left out, no session is resumed. */
  tickets?: TicketOffice;
}

export class VirtualNetwork {
  readonly #listeners = new Map<string, Listener>();

  constructor(private readonly time: VirtualTime) {}

  listen(host: string, port: number, listener: Listener): void {
    this.#listeners.set(`${host}:${port}`, listener);
  }

  /** The listener at an endpoint; undefined when the name does not exist. */
  find(endpoint: Endpoint): Listener | undefined {
    return this.#listeners.get(`${endpoint.host}:${endpoint.port}`);
  }

  /**
   * The dialer of one power-on of a device.
   * @param resumption left out, each connection makes a full handshake
   */
  dialer(path: Path, keys: VirtualKeys, power: PowerSupply, resumption?: Resumption): Dialer {
    return {
      dial: (endpoint: Endpoint, credential: Credential, timeoutMs: number, handlers: LinkHandlers) => {
        const link = new VirtualLink(this.time, path, power, handlers);
        const shown = showCredential(credential, keys);
        if ("code" in shown) link.fail(shown);
        else {
          const ticket = resumption?.take(endpoint, credential);
          power.check();
          link.dial({ endpoint, credential, shown, listener: this.find(endpoint), timeoutMs, resumption, ticket });
        }
        return link;
      },
    };
  }
}

/** A name that leads nowhere. */
export const unknownHost = (host: string): ReturnType<typeof failure> => failure("DNS_FAILED", `${host} does not exist`);
