/**
 * One head of the station: waits for a board at its place, has it made, shows the outcome until the board is taken away, and waits for the
 * next.
 */
import { existsSync } from "node:fs";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import { openSerialDevice } from "../serial-device.js";
import { StationLink } from "../station-link.js";
import { failureOf, isDiskFull } from "./board-failures.js";
import type { BoardFailure } from "./board-failures.js";
import type { HeadState, HeadView } from "./head-view.js";
import { askBoard, makeBoard } from "./make-board.js";
import type { Bench, Place } from "./make-board.js";
import { macOfPort } from "./serial-places.js";

/** Attempts at a board before it counts as failed, with the pauses between them, milliseconds. */
const PAUSES_MS = [300, 1_000];
const DISK_PAUSE_MS = 500;
const PORT_PAUSE_MS = 150;
/** How often a finished board is asked whether it is still there. */
const PRESENCE_MS = 700;
/** The first time sooner; until then its verdict stays on show even if its cable is gone, so that a screen shows it. */
const VERDICT_MS = 300;
const MISSED_ANSWERS = 2;

/** What a head needs of its station. */
export interface HeadOwner {
  readonly signal: AbortSignal;
  /** For the board that is about to be begun. */
  bench(): Bench;
  /** Why a board must not be begun now. */
  obstacle(head: string): HeadView["waitsFor"];
  /** Resolves when that may have changed. */
  changed(): Promise<void>;
  claim(id: string, head: string): boolean;
  release(head: string): void;
  firstArticle: Place["firstArticle"];
  failed(head: string, failure: BoardFailure, view: HeadView): void;
  show(view: HeadView): void;
}

export class Head {
  #view: HeadView;
  #askedAgain = false;
  #wake: () => void = () => undefined;

  constructor(
    readonly name: string,
    readonly port: string,
    private readonly baud: number,
    private readonly owner: HeadOwner,
  ) {
    this.#view = { name, port, state: "no-port", sinceMs: Date.now(), retries: 0 };
  }

  get view(): HeadView {
    return this.#view;
  }

  /** Has the board that failed here tried again without being plugged in again; false when there is none. */
  retry(): boolean {
    if (this.#view.state !== "failed") return false;
    this.#askedAgain = true;
    this.#wake();
    return true;
  }

  /** Until the owner's signal. */
  async run(): Promise<void> {
    const { signal } = this.owner;
    while (!signal.aborted) {
      const link = this.#open();
      if (link === undefined) {
        await this.#pause(PORT_PAUSE_MS);
        continue;
      }
      const close = (): void => link.close();
      signal.addEventListener("abort", close, { once: true });
      try {
        for (;;) await this.#serve(link);
      } catch (error) {
        if (signal.aborted) return;
        // What became of a board that was pulled stays on show until the next one comes.
        if (this.#view.state !== "failed") this.#show("no-port");
        if (errorCode(error) !== "LINE_LOST") this.#show("failed", { failure: failureOf(error) });
      } finally {
        signal.removeEventListener("abort", close);
        link.close();
      }
      await this.#pause(PORT_PAUSE_MS);
    }
  }

  #open(): StationLink | undefined {
    if (!existsSync(this.port)) {
      if (!["no-port", "failed"].includes(this.#view.state)) this.#show("no-port");
      return undefined;
    }
    try {
      return new StationLink(openSerialDevice(this.port, this.baud));
    } catch (error) {
      const failure = failureOf(error);
      if (this.#view.failure?.code !== failure.code) this.#show("no-port", { failure });
      return undefined;
    }
  }

  /** One board, from its first word until it is gone. Throws `LINE_LOST` when the line goes with it. */
  async #serve(link: StationLink): Promise<void> {
    if (this.#view.state === "no-port") this.#show("empty");
    const mac = await this.#awaitBoard(link);
    this.#view = { ...this.#view, retries: 0 };
    do {
      await this.#awaitTurn(link, mac);
      this.#askedAgain = false;
      try {
        await this.#make(link, mac);
      } finally {
        this.owner.release(this.name);
      }
    } while (await this.#stays(link, mac));
    this.#show("empty");
  }

  async #awaitBoard(link: StationLink): Promise<string | undefined> {
    for (;;) {
      try {
        return (await askBoard(link, 1)).state.mac;
      } catch (error) {
        // Noise is nobody; a board that cannot prove its key is one, and its making says so.
        if (errorCode(error) === "BAD_PROOF") return undefined;
        if (errorCode(error) === "LINE_LOST") throw error;
      }
    }
  }

  async #awaitTurn(link: StationLink, mac: string | undefined): Promise<void> {
    for (let why = this.owner.obstacle(this.name); why !== undefined; why = this.owner.obstacle(this.name)) {
      if (this.#view.waitsFor !== why || this.#view.state !== "waiting")
        this.#show("waiting", { waitsFor: why, ...(mac !== undefined && { mac }) });
      const changed = this.owner.changed();
      await Promise.race([changed, this.#pause(PRESENCE_MS)]);
      // A board that is taken away while it waits must not hold the place.
      if (this.owner.obstacle(this.name) !== undefined) await askBoard(link, 1).catch(throwIfLost);
    }
  }

  async #make(link: StationLink, mac: string | undefined): Promise<void> {
    for (let attempt = 0; ;) {
      this.#show("working", { retries: attempt, ...(mac !== undefined && { mac }) });
      try {
        const { board, wasDone } = await makeBoard(this.owner.bench(), link, this.#place());
        this.#show("passed", { id: board.id, ...(board.seconds !== undefined && { seconds: board.seconds }), wasDone });
        return;
      } catch (error) {
        this.owner.release(this.name);
        if (this.owner.signal.aborted) throw error;
        const failure = failureOf(error);
        if (isDiskFull(error)) {
          if (this.#view.state !== "held") this.#show("held", { failure });
          await this.#pause(DISK_PAUSE_MS);
          continue;
        }
        const pauseMs = failure.code === "LINE_LOST" || failure.class !== "temporary" ? undefined : PAUSES_MS[attempt];
        if (pauseMs === undefined) {
          this.#show("failed", { failure });
          this.owner.failed(this.name, failure, this.#view);
          if (failure.code === "LINE_LOST") throw error;
          return;
        }
        attempt += 1;
        await this.#pause(pauseMs);
      }
    }
  }

  #place(): Place {
    const { owner, name } = this;
    const portMac = macOfPort(this.port);
    return {
      head: name,
      ...(portMac !== undefined && { portMac }),
      signal: owner.signal,
      claim: (id) => owner.claim(id, name),
      onStep: (step, { id, mac }) => this.#show("working", { step, ...(id !== undefined && { id }), ...(mac !== undefined && { mac }) }),
      firstArticle: (board) => owner.firstArticle(board),
    };
  }

  /** Shows that somebody has to scan something; for the owner. */
  awaitScan(state: "label" | "approval"): void {
    this.#show(state);
  }

  /** True when the same board, which failed, is to be tried again; false once it is gone or another one has come. */
  async #stays(link: StationLink, mac: string | undefined): Promise<boolean> {
    let pauseMs = VERDICT_MS;
    for (let missed = 0; missed < MISSED_ANSWERS;) {
      if (this.#askedAgain) return true;
      await this.#pause(pauseMs);
      pauseMs = PRESENCE_MS;
      if (this.#askedAgain) return true;
      try {
        if ((await askBoard(link, 1)).state.mac !== mac) return false;
        missed = 0;
      } catch (error) {
        throwIfLost(error);
        missed += 1;
      }
    }
    return false;
  }

  #show(state: HeadState, facts: Partial<HeadView> = {}): void {
    const before = this.#view;
    const { name, port } = this;
    const isSameBoard =
      !["no-port", "empty"].includes(state) &&
      !["no-port", "empty"].includes(before.state) &&
      !(before.state === "failed" && state === "waiting");
    const kept = isSameBoard ? { retries: before.retries, ...pick(before) } : { retries: 0 };
    const sinceMs = state === before.state || (BUSY.has(state) && BUSY.has(before.state)) ? before.sinceMs : Date.now();
    this.#view = { ...kept, name, port, state, sinceMs, ...facts };
    this.owner.show(this.#view);
  }

  /** Ends early when somebody asks for another attempt. */
  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const { signal } = this.owner;
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      };
      const stop = (): void => {
        end();
        reject(new HawserError("STOPPED", "the station was stopped", "Start it again: it continues where it stopped."));
      };
      const timer = setTimeout(() => {
        end();
        resolve();
      }, delayMs);
      this.#wake = () => {
        end();
        resolve();
      };
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop);
    });
  }
}

/** The seconds on show count all of the work at a board. */
const BUSY: ReadonlySet<HeadState> = new Set(["working", "label", "approval", "held"]);

function pick({ id, mac, step }: HeadView): Partial<HeadView> {
  return { ...(id !== undefined && { id }), ...(mac !== undefined && { mac }), ...(step !== undefined && { step }) };
}

function throwIfLost(error: unknown): void {
  if (errorCode(error) === "LINE_LOST") throw error;
}
