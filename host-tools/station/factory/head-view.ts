/** What a head shows: plain data for the page, the terminal and JSON lines. */
import type { BoardFailure } from "./board-failures.js";
import type { ShiftOrder, Step } from "./ledger-records.js";

/**
 * - `no-port`: the port is not there, or cannot be opened.
 * - `empty`: waiting for a board.
 * - `waiting`: a board is there, and has to wait: for the shift to start, for the first article, or because the order is complete.
 * - `working`, `passed`, `failed`.
 * - `label`, `approval`: a scan is needed: of the label, or of a second person's badge.
 * - `held`: this machine's disk is full.
 */
export type HeadState = "no-port" | "empty" | "waiting" | "working" | "label" | "approval" | "passed" | "failed" | "held";

export interface HeadView {
  readonly name: string;
  readonly port: string;
  readonly state: HeadState;
  /** When the state began, milliseconds since the Unix epoch. */
  readonly sinceMs: number;
  readonly step?: Step;
  readonly id?: string;
  readonly mac?: string;
  /** Attempts at this board since it was plugged in, beyond the first. */
  readonly retries: number;
  readonly failure?: BoardFailure;
  /** Of a board that passed. */
  readonly seconds?: number;
  /** The board had passed earlier; it was not counted again. */
  readonly wasDone?: boolean;
  /** Why a board waits. */
  readonly waitsFor?: "shift" | "first-article" | "target";
}

export interface Totals {
  readonly passed: number;
  /** Boards of the order that failed and have not passed since. */
  readonly failed: number;
  /** Boards that passed at their first attempt, of all that passed or failed; 0 to 1. Absent before the first. */
  readonly firstPassYield?: number;
  /** Of the last hour, or of the shift if that is shorter. */
  readonly boardsPerHour: number;
  /** Rows that the order system does not have yet; absent when no order system is told. */
  readonly queued?: number;
  /** Until the CA's first certificate of its own ends, days. */
  readonly caDaysLeft?: number;
  /** The clock is not before the CA's own certificates or the last ledger line. */
  readonly isClockPlausible: boolean;
}

export interface StationView {
  readonly isRunning: boolean;
  readonly order: ShiftOrder;
  readonly heads: readonly HeadView[];
  readonly totals: Totals;
  /** Ports that no head is bound to. */
  readonly unlisted: readonly string[];
}

export type StationEvent =
  | { readonly type: "head"; readonly head: HeadView }
  | { readonly type: "totals"; readonly totals: Totals }
  | { readonly type: "shift"; readonly isRunning: boolean; readonly order: ShiftOrder }
  | { readonly type: "unlisted"; readonly ports: readonly string[] }
  | { readonly type: "scan"; readonly isAccepted: boolean; readonly message: string };
