/** Measures rows: the clients take turns within each round, so that what disturbs the machine disturbs all. */
import type { Peers } from "./peers.js";
import { FOR_MEMORY, Part } from "./processes.js";
import type { Row } from "./rows.js";
import type { ClientName, Memory, Task } from "./task.js";

/** Hawser beside one rival. Medians; times in microseconds for a message, memory in bytes for a connection. */
export interface Result {
  name: string;
  what: "CPU" | "wall" | "heap" | "RSS";
  rival: ClientName;
  hawser: number;
  theirs: number;
  ratio: number;
  /** Of the rounds' ratios. */
  smallestRatio: number;
  largestRatio: number;
  /** What the sockets alone cost. */
  floor?: number;
  target?: Row["target"];
}

/**
 * The round that does not count sends so many times the messages: the process's CPU time has the compiler's in it, until all is compiled.
 */
const WARM_UP = 4;
/** Memory hardly varies, and each of its rounds takes new processes. */
const IDLE_ROUNDS = 3;

type Measured = Map<ClientName, (number | Memory)[]>;

export class Measuring {
  readonly #processes = new Map<ClientName, Part<"client">>();

  constructor(
    private readonly peers: Peers,
    private readonly rounds: number,
  ) {}

  async row(row: Row): Promise<Result[]> {
    const clients: ClientName[] = ["Hawser", ...row.rivals, ...(row.hasFloor ? (["socket"] as const) : [])];
    const measured: Measured = new Map(clients.map((client) => [client, []]));
    const { task } = row;
    if (task.kind !== "idle") for (const client of clients) await this.#ask(client, row, { ...task, messages: task.messages * WARM_UP });
    for (let round = 0; round < (task.kind === "idle" ? Math.min(this.rounds, IDLE_ROUNDS) : this.rounds); round++) {
      for (const client of clients)
        measured.get(client)?.push(await (task.kind === "idle" ? this.#inFreshProcess(client, row) : this.#ask(client, row, task)));
    }
    return row.rivals.flatMap((rival) => resultsOf(row, rival, measured));
  }

  async stop(): Promise<void> {
    for (const one of this.#processes.values()) await one.stop();
  }

  #ask(client: ClientName, row: Row, task: Task): Promise<number | Memory> {
    const process = this.#processes.get(client) ?? new Part("client");
    this.#processes.set(client, process);
    return process.ask({ client, place: this.peers.place(row.peer, row.transport), task });
  }

  async #inFreshProcess(client: ClientName, row: Row): Promise<number | Memory> {
    const process = new Part("client", FOR_MEMORY);
    try {
      return await process.ask({ client, place: this.peers.place(row.peer, row.transport), task: row.task });
    } finally {
      await process.stop();
    }
  }
}

function resultsOf(row: Row, rival: ClientName, measured: Measured): Result[] {
  const { name, target, task } = row;
  const results = (what: Result["what"], pick: (value: number | Memory) => number): Result => {
    const of = (client: ClientName): number[] => (measured.get(client) ?? []).map(pick);
    const [own, theirs, floor] = [of("Hawser"), of(rival), of("socket")];
    const ratios = own.map((value, round) => value / (theirs[round] ?? NaN));
    return {
      name,
      what,
      rival,
      hawser: median(own),
      theirs: median(theirs),
      ratio: median(ratios),
      smallestRatio: Math.min(...ratios),
      largestRatio: Math.max(...ratios),
      ...(floor.length > 0 && { floor: median(floor) }),
      ...(target && { target }),
    };
  };
  if (task.kind !== "idle") return [results(task.kind === "round trip" ? "wall" : "CPU", Number)];
  return [results("heap", (value) => (value as Memory).heap), results("RSS", (value) => (value as Memory).rss)];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
