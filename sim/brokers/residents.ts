/** The clients of an embedded broker, from their admission until aedes has forgotten them. */
import type { Client } from "aedes";
import type { TLSSocket } from "node:tls";
import type { LiveClient } from "./access-rules.js";
import { mendClient } from "./aedes-client.js";
import type { BrokerLimits, EndReason, PortKind } from "./broker-events.js";
import { scopeOf, type Shown } from "./credential-verdict.js";
import { GuardedConnection } from "./guarded-connection.js";
import { NetworkBytes } from "./network-bytes.js";
import type { Visitor } from "./sign-in.js";

export interface Resident extends LiveClient {
  readonly shown: Shown;
  readonly port: PortKind;
  readonly socket: TLSSocket;
  /** Aedes has forgotten it: only then may another take its client identifier. */
  readonly gone: Promise<void>;
  /** Resolves {@link gone}. */
  markGone(): void;
  /** Aedes has it in its tables and will tell of its end. */
  isRegistered: boolean;
  /** CONNACK was sent. */
  wasConnected: boolean;
}

export class Residents {
  readonly #byConnection = new Map<unknown, Resident>();
  /** The last to ask for a client identifier; it waits until the one before is gone. */
  readonly #byClientId = new Map<string, Resident>();
  readonly #countByName = new Map<string, number>();
  readonly #networkBytes = new NetworkBytes();

  /**
   * @param handle gives a connection to aedes
   * @param onGone the resident has left for good
   */
  constructor(
    private readonly handle: (connection: GuardedConnection) => Client,
    private readonly onGone: (resident: Resident) => void,
  ) {}

  get size(): number {
    return this.#byConnection.size;
  }

  /** Who has the client identifier, or is about to. */
  nameOf(clientId: string): string | undefined {
    return this.#byClientId.get(clientId)?.who.name;
  }

  /** Connections of one name, without the one that this client identifier would take over. */
  countOf(name: string, clientId: string): number {
    const count = this.#countByName.get(name) ?? 0;
    return this.#byClientId.get(clientId)?.who.name === name ? count - 1 : count;
  }

  all(): Resident[] {
    return [...this.#byConnection.values()];
  }

  of(client: Client | null): Resident | undefined {
    return this.#byConnection.get(client?.conn);
  }

  /** One client identifier, one client (MQTT 3.1.1 section 3.1.4): the newer waits until aedes has let go of the older. */
  async admit(visitor: Visitor, limits: BrokerLimits): Promise<void> {
    const resident = makeResident(visitor, limits, this.#networkBytes);
    const { connection, clientId } = resident;
    const previous = this.#byClientId.get(clientId);
    this.#byClientId.set(clientId, resident);
    this.#byConnection.set(connection, resident);
    this.#countByName.set(resident.who.name, (this.#countByName.get(resident.who.name) ?? 0) + 1);
    connection.once("close", () => {
      if (!resident.isRegistered) this.#leave(resident);
    });
    if (previous !== undefined) {
      previous.connection.cut("SESSION_TAKEN_OVER");
      await previous.gone;
    }
    if (resident.socket.destroyed) connection.destroy();
    else mendClient(this.handle(connection));
  }

  /** Aedes has the client in its tables. */
  registered(client: Client): void {
    const resident = this.of(client);
    if (resident === undefined) return;
    resident.isRegistered = true;
    resident.connection.registered();
  }

  /** Aedes has taken the client out of its tables. */
  unregistered(client: Client): void {
    const resident = this.of(client);
    if (resident !== undefined) this.#leave(resident);
  }

  /** What aedes says about an end that it brings about itself. */
  noteEnd(client: Client, reason: EndReason): void {
    const resident = this.of(client);
    if (resident !== undefined && !resident.socket.destroyed) resident.connection.endReason ??= reason;
  }

  #leave(resident: Resident): void {
    if (!this.#byConnection.delete(resident.connection)) return;
    const others = (this.#countByName.get(resident.who.name) ?? 1) - 1;
    if (others > 0) this.#countByName.set(resident.who.name, others);
    else this.#countByName.delete(resident.who.name);
    if (this.#byClientId.get(resident.clientId) === resident) this.#byClientId.delete(resident.clientId);
    this.onGone(resident);
    resident.markGone();
  }
}

function makeResident(
  { socket, port, shown, head, connectBytes, following }: Visitor,
  limits: BrokerLimits,
  networkBytes: NetworkBytes,
): Resident {
  let markGone = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    markGone = resolve;
  });
  return {
    who: { name: shown.name, scope: scopeOf(shown) },
    clientId: head.clientId,
    connection: new GuardedConnection(socket, connectBytes, following, limits, networkBytes),
    lastDelivered: "",
    shown,
    port,
    socket,
    gone,
    markGone,
    isRegistered: false,
    wasConnected: false,
  };
}
