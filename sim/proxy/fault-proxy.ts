/** A TCP proxy that puts faults between a device and its broker, seeded: connection n of a seed draws the same every time. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { HawserError } from "../../sdk/errors.js";
import { SeededRandom } from "../virtual/random.js";
import { ToxicStream } from "./toxic-stream.js";
import { numberOf, type Toxic, type ToxicStreamName } from "./toxics.js";

/** What a network that wants a login first says to whoever connects. */
const PORTAL = "HTTP/1.1 302 Found\r\nLocation: http://login.invalid/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

export interface FaultProxyOptions {
  readonly name: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly upstream: { readonly host: string; readonly port: number };
  /** Read MQTT packets, for the `mqtt_...` toxics: for plaintext only, TLS hides them. */
  readonly mqtt?: boolean;
  readonly seed?: string;
}

export class FaultProxy {
  readonly #toxics = new Map<string, Toxic>();
  readonly #connections = new Set<ProxiedConnection>();
  #server: Server | undefined;
  #count = 0;
  port = 0;

  constructor(readonly options: FaultProxyOptions) {}

  get name(): string {
    return this.options.name;
  }

  get enabled(): boolean {
    return this.#server !== undefined;
  }

  get toxics(): readonly Toxic[] {
    return [...this.#toxics.values()];
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED` */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    const { host, port } = this.options.listen;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const next = "Choose another address or port.";
        reject(
          new HawserError(
            error.code === "EADDRINUSE" ? "PORT_IN_USE" : "LISTEN_FAILED",
            `cannot listen on ${host}:${port}: ${error.message}`,
            next,
          ),
        );
      });
      // The port it had, when it is started again.
      server.listen(this.port || port, host, resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Refuses new connections and ends all. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const connection of [...this.#connections]) connection.end("reset");
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  /** @throws HawserError `BAD_TOXIC` for an `mqtt_` toxic where packets are not read, `TOXIC_EXISTS` */
  add(toxic: Toxic): void {
    if (toxic.type.startsWith("mqtt_") && this.options.mqtt !== true)
      throw new HawserError(
        "BAD_TOXIC",
        `${toxic.type} needs a proxy that reads MQTT`,
        "Give --mqtt, on a plaintext listener of the broker.",
      );
    if (this.#toxics.has(toxic.name))
      throw new HawserError("TOXIC_EXISTS", `there is a toxic ${toxic.name} already`, "Remove it first, or give another name.");
    this.set(toxic);
  }

  /** Adds or replaces. Connections that stand feel it at once. */
  set(toxic: Toxic): void {
    this.#toxics.set(toxic.name, toxic);
    for (const connection of [...this.#connections]) connection.toxicsChanged(toxic);
  }

  remove(name: string): boolean {
    const removed = this.#toxics.delete(name);
    for (const connection of [...this.#connections]) connection.toxicsChanged();
    return removed;
  }

  removeAll(): void {
    for (const name of [...this.#toxics.keys()]) this.remove(name);
  }

  #accept(device: Socket): void {
    const number = this.#count++;
    const broker = connect({ ...this.options.upstream, allowHalfOpen: true });
    const random = new SeededRandom(`${this.options.seed ?? ""}/${this.name}/${number}`);
    const connection = new ProxiedConnection(
      device,
      broker,
      random,
      () => this.toxics,
      this.options.mqtt === true,
      () => this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    for (const toxic of this.toxics) connection.toxicsChanged(toxic, true);
  }
}

class ProxiedConnection {
  readonly #streams: readonly ToxicStream[];
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Whether a toxic works on this connection: drawn once for each. */
  readonly #drawn = new Map<string, boolean>();
  #wake: () => void = () => undefined;
  #changed = this.#nextChange();
  #isOver = false;

  constructor(
    private readonly device: Socket,
    private readonly broker: Socket,
    private readonly random: SeededRandom,
    private readonly all: () => readonly Toxic[],
    mqtt: boolean,
    private readonly onEnd: () => void,
  ) {
    const state = mqtt ? { protocolVersion: 4 } : undefined;
    for (const socket of [device, broker]) {
      socket.setNoDelay(true);
      socket.on("error", () => this.end("reset"));
    }
    const stream = (from: Socket, to: Socket, name: ToxicStreamName): ToxicStream => {
      const owner = { toxics: () => this.#toxicsOf(name), end: (how: "close" | "reset") => this.end(how), changed: () => this.#changed };
      return new ToxicStream(from, to, owner, random.fork(name), state);
    };
    this.#streams = [stream(device, broker, "upstream"), stream(broker, device, "downstream")];
    const closed = (): void => {
      if (device.destroyed && broker.destroyed) this.end("close");
    };
    device.once("close", closed);
    broker.once("close", closed);
  }

  /**
   * @param added begins its time now
   * @param isNew the connection was just accepted
   */
  toxicsChanged(added?: Toxic, isNew = false): void {
    this.#wake();
    this.#changed = this.#nextChange();
    if (added === undefined || !this.#isHit(added)) return;
    const timeoutMs = numberOf(added, "timeout");
    if (added.type === "captive_portal") this.#meetPortal(isNew);
    if (added.type === "reset_peer") this.#later(timeoutMs, () => this.end("reset"));
    if (added.type === "timeout" && timeoutMs > 0) this.#later(timeoutMs, () => this.end("close"));
  }

  end(how: "close" | "reset"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const stream of this.#streams) stream.stop();
    this.#wake();
    for (const socket of [this.device, this.broker]) {
      if (how === "reset") socket.resetAndDestroy();
      else socket.destroy();
    }
    this.onEnd();
  }

  /** A portal answers in the broker's place, and knows nothing of connections that stood before it. */
  #meetPortal(isNew: boolean): void {
    if (this.#isOver) return;
    if (!isNew) return this.end("reset");
    for (const stream of this.#streams) stream.stop();
    this.device.end(PORTAL, () => this.end("close"));
  }

  #later(delayMs: number, run: () => void): void {
    this.#timers.add(setTimeout(run, delayMs));
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #toxicsOf(stream: ToxicStreamName): readonly Toxic[] {
    return this.all().filter((toxic) => toxic.stream === stream && this.#isHit(toxic));
  }

  #isHit({ name, toxicity }: Toxic): boolean {
    const drawn = this.#drawn.get(name) ?? this.random.fork(`toxic/${name}`).chance(toxicity);
    this.#drawn.set(name, drawn);
    return drawn;
  }
}
