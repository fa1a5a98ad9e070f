/** For tests and benches: a relay before a broker that counts bytes and round trips, with a latency that makes each flight one. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export interface Traffic {
  up: number;
  down: number;
  /** How often the client spoke and the broker answered, after TCP. */
  roundTrips: number;
}

const NOTHING: Traffic = { up: 0, down: 0, roundTrips: 0 };

export class FlightRelay {
  #counted = { ...NOTHING };
  #last: "up" | "down" = "down";

  private constructor(
    readonly port: number,
    private readonly server: Server,
  ) {}

  /** @param latencyMs each way */
  static async start(brokerPort: number, latencyMs: number): Promise<FlightRelay> {
    const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const relay = new FlightRelay((server.address() as AddressInfo).port, server);
    server.on("connection", (client: Socket) => {
      const up = connect({ port: brokerPort, host: "127.0.0.1", allowHalfOpen: true });
      relay.#last = "down";
      relay.#pass(client, up, "up", latencyMs);
      relay.#pass(up, client, "down", latencyMs);
    });
    return relay;
  }

  /** What went by since the last {@link taken}. */
  get traffic(): Traffic {
    return this.#counted;
  }

  /** The same, and begins to count anew. */
  taken(): Traffic {
    const all = this.#counted;
    this.#counted = { ...NOTHING };
    return all;
  }

  close(): void {
    this.server.close();
  }

  #pass(from: Socket, to: Socket, direction: "up" | "down", latencyMs: number): void {
    from.setNoDelay(true).on("error", () => to.destroy());
    from.on("end", () => setTimeout(() => to.end(), latencyMs));
    from.on("data", (chunk) => {
      this.#counted[direction] += chunk.length;
      if (direction === "down" && this.#last === "up") this.#counted.roundTrips++;
      this.#last = direction;
      setTimeout(() => to.writable && to.write(chunk), latencyMs);
    });
  }
}
