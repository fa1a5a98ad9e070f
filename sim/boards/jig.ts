/**
 * A jig full of simulated boards: one named place a head, as under `/dev/serial/by-path`, and the hands that plug boards in, pull them, and
 * sort them by what the station shows.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Endpoint } from "../../sdk/platform.js";
import type { BoardEngine } from "./board-engine.js";
import { drawFault, MUST_FAIL, seededNumbers } from "./board-faults.js";
import type { BoardFault } from "./board-faults.js";
import { PseudoTerminal } from "./pseudo-terminal.js";
import { SimulatedBoard } from "./simulated-board.js";

export interface JigOptions {
  /** Where the places are made: `head-1`, `head-2`, ... */
  readonly directory: string;
  readonly heads: number;
  /** Boards that may pass and boards that must not, together; absent: without end. */
  readonly boards?: number;
  readonly faults: readonly BoardFault[];
  readonly seed: number;
  /** What the order's boards report. */
  readonly firmware: string;
  readonly broker?: Endpoint;
  readonly baud?: number;
  /** Of the boards; default: Node. */
  readonly engine?: BoardEngine;
}

/** As the operator reads it off a head's tile. */
export type Verdict = "passed" | "permanent" | "temporary" | "operator";

export interface JigResult {
  readonly mac: string;
  readonly fault?: BoardFault;
  readonly verdict: Verdict;
  /** What passed the board's line until then. */
  readonly lineBytes: SimulatedBoard["lineBytes"];
  /** Why the board's engine ended by itself. */
  readonly crash?: string;
}

/** After this a person would lay the board aside. */
const MOST_PLUGGINGS = 4;

export class Jig {
  readonly results: JigResult[] = [];
  /** Settles when all boards are sorted. */
  readonly emptied: Promise<void>;
  readonly #number: () => number;
  readonly #heads = new Map<string, { board: SimulatedBoard; pluggings: number }>();
  readonly #working = new Map<string, Promise<void>>();
  #resolveEmptied: () => void = () => undefined;
  #made = 0;
  #passed: SimulatedBoard | undefined;
  #isClosed = false;

  constructor(private readonly options: JigOptions) {
    this.#number = seededNumbers(options.seed);
    this.emptied = new Promise((resolve) => (this.#resolveEmptied = resolve));
  }

  get places(): { name: string; port: string }[] {
    return Array.from({ length: this.options.heads }, (_, index) => ({
      name: String(index + 1),
      port: join(this.options.directory, `head-${index + 1}`),
    }));
  }

  /** Puts the first board into every head. */
  async open(): Promise<void> {
    mkdirSync(this.options.directory, { recursive: true });
    await Promise.all(this.places.map(({ name }) => this.#next(name)));
  }

  /**
   * What a head shows for its board: the board is sorted, or tried again, and the next takes its place. A verdict for a head without a
   * board is of no interest.
   */
  judge(head: string, verdict: Verdict): void {
    const there = this.#heads.get(head);
    if (there === undefined || this.#working.has(head)) return;
    this.#at(head, async () => {
      await this.#unplug(head);
      const isFinal = verdict === "passed" || verdict === "permanent" || there.pluggings >= MOST_PLUGGINGS;
      if (!isFinal) return this.#plug(head, there.board, there.pluggings + 1);
      const { mac, fault, lineBytes, crash } = there.board;
      this.results.push({ mac, verdict, lineBytes, ...(fault && { fault }), ...(crash !== undefined && { crash }) });
      if (verdict === "passed") this.#passed ??= there.board;
      return this.#next(head);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#working.values());
    await Promise.all([...this.#heads.keys()].map((head) => this.#unplug(head)));
  }

  #at(head: string, work: () => Promise<void>): void {
    const before = this.#working.get(head) ?? Promise.resolve();
    const done: Promise<void> = before.then(work).finally(() => {
      if (this.#working.get(head) === done) this.#working.delete(head);
    });
    this.#working.set(head, done);
  }

  async #next(head: string): Promise<void> {
    if (this.#isClosed) return;
    if (this.#made === this.options.boards) {
      // An empty head is no sign: the last board may be on its way into one.
      if (this.results.length === this.#made) this.#resolveEmptied();
      return;
    }
    this.#made += 1;
    await this.#plug(head, this.#board(this.#made), 1);
  }

  #board(count: number): SimulatedBoard {
    const { faults, firmware, broker, baud, engine } = this.options;
    const drawn = drawFault(faults, this.#number);
    // There is nothing to copy before the first board has passed.
    const fault = drawn === "clone" && this.#passed === undefined ? undefined : drawn;
    // Boards of another seed are other boards: two stations may have simulated ones at once.
    const mac = `02${hex(this.options.seed & 0xffff, 4)}${hex(count, 6)}`;
    return new SimulatedBoard({
      mac,
      firmware: fault === "wrong-firmware" ? `${firmware}-old` : firmware,
      number: this.#number,
      ...(fault && { fault }),
      ...(broker && { broker }),
      ...(baud !== undefined && { baud }),
      ...(engine && { engine }),
      ...(fault === "clone" && this.#passed && { flashOf: this.#passed }),
    });
  }

  async #plug(head: string, board: SimulatedBoard, pluggings: number): Promise<void> {
    if (this.#isClosed) return;
    const line = await PseudoTerminal.open();
    this.#heads.set(head, { board, pluggings });
    board.onPull = () => this.#at(head, () => this.#unplug(head).then(() => this.#plug(head, board, pluggings)));
    board.plugIn(line);
    const place = join(this.options.directory, `head-${head}`);
    symlinkSync(line.path, `${place}~`);
    renameSync(`${place}~`, place);
  }

  async #unplug(head: string): Promise<void> {
    const there = this.#heads.get(head);
    this.#heads.delete(head);
    rmSync(join(this.options.directory, `head-${head}`), { force: true });
    await there?.board.unplug();
  }
}

/** What went otherwise than it should: a board that must not pass passed, or the other way round, or its engine ended by itself. */
export function wrongVerdicts(results: readonly JigResult[]): JigResult[] {
  return results.filter(
    ({ fault, verdict, crash }) => crash !== undefined || (verdict === "passed") === (fault !== undefined && MUST_FAIL.has(fault)),
  );
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
