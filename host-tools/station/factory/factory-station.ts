/** A station: its heads, the shift they work for, and what the people in front of it scan. It needs nobody to look on. */
import { setMaxListeners } from "node:events";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { BoardFailure } from "./board-failures.js";
import type { BoardIssuer } from "./board-issuer.js";
import type { ConnectionProof } from "./connection-proof.js";
import { Head } from "./head.js";
import type { HeadOwner } from "./head.js";
import type { HeadView, StationEvent, StationView, Totals } from "./head-view.js";
import type { IdSource } from "./id-source.js";
import type { Ledger } from "./ledger.js";
import type { BoardRecord, ShiftOrder, StepFacts } from "./ledger-records.js";
import type { Bench } from "./make-board.js";
import { readScan } from "./scans.js";
import { unlistedPorts } from "./serial-places.js";
import type { HeadPlace } from "./serial-places.js";

export interface StationOptions {
  readonly heads: readonly HeadPlace[];
  readonly baud: number;
  readonly ledger: Ledger;
  readonly issuer: BoardIssuer;
  readonly ids: IdSource;
  readonly proof: ConnectionProof;
  readonly order: ShiftOrder;
  /** The first board of an order passes only when a second person accepts it. */
  readonly needsFirstArticle: boolean;
  /** A board passes only when its label was scanned. */
  readonly needsLabelScan: boolean;
  readonly allowNoMac: boolean;
  /** An order system is told of each board that passes. */
  readonly tellsOrderSystem?: boolean;
  /** Milliseconds. */
  readonly connectWaitMs: number;
  /** Prints a label; called once a board, and for each reprint. */
  readonly print?: (board: BoardRecord, copy: number) => Promise<void>;
}

const WATCH_MS = 2_000;
const HOUR_MS = 3_600_000;

/** Someone is awaited for a head. */
interface Awaited {
  readonly board: BoardRecord;
  readonly kind: "label" | "approval";
  settle(error?: HawserError): void;
  facts: StepFacts;
}

export class FactoryStation {
  readonly #abort = new AbortController();
  readonly #heads: Head[];
  readonly #claims = new Map<string, string>();
  readonly #awaited = new Map<string, Awaited>();
  readonly #listeners = new Set<(event: StationEvent) => void>();
  #order: ShiftOrder;
  #isRunning = false;
  #shiftBeganMs = Date.now();
  #article: string | undefined;
  #badge: string | undefined;
  #unlisted: readonly string[] = [];
  #caDaysLeft: number | undefined;
  #changed: () => void = () => undefined;
  #change: Promise<void>;
  /** Boards whose label a printer took since the station was started; after a start, a board that needs one gets another copy. */
  readonly #printed = new Set<string>();
  readonly #passedAtMs: number[] = [];
  #done: Promise<unknown> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;

  constructor(private readonly options: StationOptions) {
    this.#order = options.order;
    // Every head listens, and every wait of a head: ten would make Node warn of a leak.
    setMaxListeners(0, this.#abort.signal);
    this.#change = this.#nextChange();
    this.#heads = options.heads.map(({ name, port }) => new Head(name, port, options.baud, this.#owner()));
    options.ledger.onLine((line) => {
      if (line.event === "step" && line.step === "passed" && line.phase === "observed") this.#passedAtMs.push(Date.parse(line.at));
    });
  }

  /** Calls `listener` with every event, in order; the result ends that. */
  onEvent(listener: (event: StationEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  view(): StationView {
    return {
      isRunning: this.#isRunning,
      order: this.#order,
      heads: this.#heads.map(({ view }) => view),
      totals: this.#totals(),
      unlisted: this.#unlisted,
    };
  }

  /** Has the heads look for boards; they begin none before {@link startShift}. */
  open(): void {
    // A port that is not there stays without a word otherwise, also where its name is misspelt.
    for (const { view } of this.#heads) this.#emit({ type: "head", head: view });
    this.#done = Promise.allSettled(this.#heads.map((head) => head.run()));
    const look = (): void => this.#lookAround();
    look();
    this.#watch = setInterval(look, WATCH_MS).unref();
  }

  /** @throws HawserError `STORAGE_FULL`, `STORAGE_FAILED`: the shift has not begun then */
  startShift(): void {
    if (this.#isRunning) return;
    this.options.ledger.append({ event: "session", ...this.#order });
    this.#isRunning = true;
    this.#shiftBeganMs = Date.now();
    this.#shiftChanged();
  }

  /** Boards that are being made are finished; no other is begun. */
  stopShift(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#shiftChanged();
    this.options.ledger.append({ event: "session-end", operator: this.#order.operator });
  }

  /** Lets go of all ports. What a board was in the middle of continues when it is plugged in again. */
  async close(): Promise<void> {
    clearInterval(this.#watch);
    this.#abort.abort();
    for (const awaited of this.#awaited.values())
      awaited.settle(new HawserError("STOPPED", "the station was stopped", "Start it again: it continues where it stopped."));
    await this.#done;
  }

  /** The board that failed at this head is tried again. Throws `NOT_FOUND`. */
  retry(name: string): void {
    if (this.#heads.find((head) => head.name === name)?.retry() !== true)
      throw new HawserError("NOT_FOUND", `no failed board at head ${name}`, "Plug the board in again.");
  }

  /** Prints a board's label once more, which is logged. Throws `NOT_FOUND`, and what the printer refuses with. */
  async reprint(id: string): Promise<number> {
    const { ledger, print } = this.options;
    const board = ledger.board(id);
    if (board?.publicKeyHash === undefined)
      throw new HawserError("NOT_FOUND", `no board ${id} at this station`, "Scan the id of a board that was made here.");
    if (print === undefined) throw new HawserError("NOT_FOUND", "no label printer is set up", "Start the station with --printer HOST.");
    const copy = board.prints + 1;
    ledger.append({ event: "printed", id, by: this.#badge ?? this.#order.operator, copy });
    await print(board, copy);
    return copy;
  }

  /** What somebody scanned or typed. Always answered, never throws for what is in it. */
  async scan(text: string): Promise<{ isAccepted: boolean; message: string }> {
    let answer: { isAccepted: boolean; message: string };
    try {
      answer = { isAccepted: true, message: await this.#scanned(text) };
    } catch (error) {
      answer = { isAccepted: false, message: errorMessage(error) };
    }
    this.#emit({ type: "scan", ...answer });
    return answer;
  }

  async #scanned(text: string): Promise<string> {
    const scan = readScan(text);
    switch (scan.kind) {
      case "badge":
        return this.#badgeScanned(scan.name);
      case "start":
        this.startShift();
        return "The shift has started.";
      case "stop":
        this.stopShift();
        return "The shift has stopped.";
      case "retry":
        this.retry(scan.head);
        return `Head ${scan.head} tries again.`;
      case "reprint":
        return `Copy ${await this.reprint(scan.id)} of the label of ${scan.id} is printing.`;
      case "approve":
      case "reject":
        return this.#judged(scan.kind === "approve");
      default:
        return this.#labelScanned(scan.text);
    }
  }

  #badgeScanned(name: string): string {
    this.#badge = name;
    const waiting = [...this.#awaited.values()].find(({ kind }) => kind === "approval");
    if (waiting === undefined) return `Badge of ${name}.`;
    if (name === this.#order.operator)
      throw new HawserError("FIRST_ARTICLE_REJECTED", "The first board needs a second person: scan the badge of somebody else.");
    return `${name}: check ${waiting.board.id}, then scan APPROVE or REJECT.`;
  }

  #judged(isGood: boolean): string {
    const [head, waiting] = [...this.#awaited].find(([, { kind }]) => kind === "approval") ?? [];
    if (head === undefined || waiting === undefined) throw new HawserError("NOT_FOUND", "No first board is waiting.");
    const by = this.#badge;
    if (by === undefined || by === this.#order.operator)
      throw new HawserError("FIRST_ARTICLE_REJECTED", "Scan the badge of a second person first.");
    const { id } = waiting.board;
    this.options.ledger.append({ event: isGood ? "approved" : "rejected", id, order: this.#order.order, by });
    this.#badge = undefined;
    waiting.settle(
      isGood
        ? undefined
        : new HawserError(
            "FIRST_ARTICLE_REJECTED",
            `${by} did not accept ${id} as the first board of the order`,
            "Set this board aside; the next one is the first.",
          ),
    );
    return isGood ? `${by} accepted ${id}.` : `${by} did not accept ${id}.`;
  }

  #labelScanned(text: string): string {
    const waiting = [...this.#awaited.values()].filter(({ kind }) => kind === "label");
    if (waiting.length === 0) throw new HawserError("LABEL_WRONG", `Nothing waits for the code ${JSON.stringify(text.slice(0, 40))}.`);
    const match = waiting.find(({ board }) => names(text, board.id));
    if (match === undefined)
      throw new HawserError(
        "LABEL_WRONG",
        `This label belongs to none of the boards that wait: ${waiting.map(({ board }) => board.id).join(", ")}.`,
      );
    match.facts = { label: "scanned" };
    match.settle();
    return `The label matches ${match.board.id}.`;
  }

  #owner(): HeadOwner {
    return {
      signal: this.#abort.signal,
      bench: () => this.#bench(),
      obstacle: (head) => this.#obstacle(head),
      changed: () => this.#change,
      claim: (id, head) => this.#claim(id, head),
      release: (head) => this.#release(head),
      firstArticle: (board) => this.#firstArticle(board),
      failed: (head, failure, view) => this.#failed(head, failure, view),
      show: (head) => this.#emit({ type: "head", head }),
    };
  }

  #bench(): Bench {
    const { ledger, issuer, ids, proof, allowNoMac, connectWaitMs, needsLabelScan, print } = this.options;
    const label: Bench["label"] =
      !needsLabelScan && print === undefined
        ? undefined
        : async (board) => {
            if (print !== undefined && !this.#printed.has(board.id)) {
              await this.reprint(board.id);
              this.#printed.add(board.id);
            }
            return needsLabelScan ? this.#await("label", board) : { label: "printed" };
          };
    return { ledger, issuer, ids, proof, order: this.#order, allowNoMac, connectWaitMs, ...(label && { label }) };
  }

  #obstacle(head: string): HeadView["waitsFor"] {
    if (!this.#isRunning) return "shift";
    const { ledger, needsFirstArticle } = this.options;
    if (needsFirstArticle && !ledger.isApproved(this.#order.order)) {
      if (this.#article !== undefined && this.#article !== head) return "first-article";
      this.#article = head;
    }
    const { target } = this.#order;
    if (target === undefined) return undefined;
    const working = this.#heads.filter(
      ({ name, view }) => name !== head && ["working", "label", "approval", "held"].includes(view.state),
    ).length;
    return this.#passed() + working >= target ? "target" : undefined;
  }

  #claim(id: string, head: string): boolean {
    const holder = this.#claims.get(id);
    if (holder !== undefined && holder !== head) return false;
    this.#claims.set(id, head);
    return true;
  }

  #release(head: string): void {
    for (const [id, holder] of this.#claims) if (holder === head) this.#claims.delete(id);
    if (this.#article === head) this.#article = undefined;
    this.#awaited.get(head)?.settle(new HawserError("STOPPED", "the board was taken away", "Plug it in again."));
    this.#tellChange();
    this.#emit({ type: "totals", totals: this.#totals() });
  }

  async #firstArticle(board: BoardRecord): Promise<void> {
    if (!this.options.needsFirstArticle || this.options.ledger.isApproved(this.#order.order)) return;
    await this.#await("approval", board);
  }

  #await(kind: Awaited["kind"], board: BoardRecord): Promise<StepFacts> {
    const name = this.#claims.get(board.id) ?? "";
    return new Promise((resolve, reject) => {
      const awaited: Awaited = {
        board,
        kind,
        facts: {},
        settle: (error) => {
          this.#awaited.delete(name);
          if (error === undefined) resolve(awaited.facts);
          else reject(error);
        },
      };
      this.#awaited.set(name, awaited);
      this.#heads.find((head) => head.name === name)?.awaitScan(kind);
    });
  }

  #failed(head: string, failure: BoardFailure, { id, mac }: HeadView): void {
    try {
      this.options.ledger.append({
        event: "failed",
        head,
        class: failure.class,
        code: failure.code,
        message: failure.message,
        ...(id !== undefined && { id }),
        ...(mac !== undefined && { mac }),
      });
    } catch {
      // A full disk: the head shows what failed, and the next line that fits says more.
    }
  }

  #shiftChanged(): void {
    this.#tellChange();
    this.#emit({ type: "shift", isRunning: this.#isRunning, order: this.#order });
  }

  #tellChange(): void {
    const tell = this.#changed;
    this.#change = this.#nextChange();
    tell();
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => (this.#changed = resolve));
  }

  #lookAround(): void {
    const ports = unlistedPorts(this.options.heads.map(({ port }) => port));
    if (ports.join("\n") !== this.#unlisted.join("\n")) this.#emit({ type: "unlisted", ports: (this.#unlisted = ports) });
    const endsMs = this.options.issuer.endsMs();
    if (endsMs !== undefined) this.#caDaysLeft = Math.floor((endsMs - Date.now()) / 86_400_000);
    this.#emit({ type: "totals", totals: this.#totals() });
  }

  #passed(): number {
    return this.#boards().filter(({ passedAt }) => passedAt !== undefined).length;
  }

  #boards(): BoardRecord[] {
    return [...this.options.ledger.boards()].filter(({ order }) => order === this.#order.order);
  }

  #totals(): Totals {
    const boards = this.#boards();
    const passed = boards.filter(({ passedAt }) => passedAt !== undefined);
    const failed =
      boards.filter(({ passedAt, failures }) => passedAt === undefined && failures > 0).length + this.options.ledger.refusedCount;
    const firstPass = passed.filter(({ failures }) => failures === 0).length;
    const nowMs = Date.now();
    const windowMs = Math.min(HOUR_MS, nowMs - this.#shiftBeganMs);
    while ((this.#passedAtMs[0] ?? nowMs) < nowMs - HOUR_MS) this.#passedAtMs.shift();
    const inShift = this.#passedAtMs.filter((atMs) => atMs >= this.#shiftBeganMs).length;
    const judged = passed.length + failed;
    return {
      passed: passed.length,
      failed,
      ...(judged > 0 && { firstPassYield: firstPass / judged }),
      boardsPerHour: windowMs < 1_000 ? 0 : Math.round((inShift * HOUR_MS) / windowMs),
      ...(this.options.tellsOrderSystem === true && { queued: passed.filter(({ isReported }) => !isReported).length }),
      ...(this.#caDaysLeft !== undefined && { caDaysLeft: this.#caDaysLeft }),
      isClockPlausible: this.#caDaysLeft === undefined || this.#caDaysLeft >= 0,
    };
  }

  #emit(event: StationEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** Whether a scanned text names this id: as the whole, or as a part between characters that no id has (a link, JSON). */
function names(text: string, id: string): boolean {
  return text.split(/[^A-Za-z0-9._-]+/).includes(id);
}
