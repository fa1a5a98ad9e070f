/** The lines of a station's ledger, and what they say about each board. */
import type { ErrorCode } from "../../../sdk/error-codes.js";

/** What a board goes through, in this order. */
export const STEPS = [
  "detected",
  "reserved",
  "key",
  "csr-verified",
  "issued",
  "written",
  "read-back",
  "connected",
  "registered",
  "labelled",
  "passed",
] as const;

export type Step = (typeof STEPS)[number];

/**
 * - `permanent`: trying again is useless; set the board aside.
 * - `temporary`: tried again by itself, a few times; another attempt later may succeed.
 * - `operator`: somebody has to do something first.
 */
export type FailureClass = "permanent" | "temporary" | "operator";

/** What is being made, and by whom. */
export interface ShiftOrder {
  readonly operator: string;
  readonly order: string;
  readonly product: string;
  readonly role: string;
  /** Set in the registry for each board. */
  readonly attributes: Readonly<Record<string, string>>;
  /** What a board must report as its firmware; absent: not checked. */
  readonly firmware?: string;
  /** How many boards the order has; absent: no end. */
  readonly target?: number;
}

/** Facts a step leaves behind; never a secret. */
export type StepFacts = Readonly<Record<string, string | number | boolean>>;

export type LedgerEvent =
  | ({ readonly event: "session" } & ShiftOrder)
  | { readonly event: "session-end"; readonly operator: string }
  | {
      readonly event: "reserved";
      readonly id: string;
      readonly mac?: string;
      readonly head: string;
      readonly order: string;
      readonly role: string;
    }
  /** The id is somebody else's in the registry: never offered again. */
  | { readonly event: "burnt"; readonly id: string; readonly code: string }
  /** `intended` is written before something is done, `observed` once it was seen to be done. */
  | {
      readonly event: "step";
      readonly id: string;
      readonly step: Step;
      readonly phase: "intended" | "observed";
      readonly facts?: StepFacts;
    }
  | {
      readonly event: "failed";
      readonly id?: string;
      readonly mac?: string;
      readonly head: string;
      readonly class: FailureClass;
      readonly code: ErrorCode;
      readonly message: string;
    }
  | { readonly event: "approved" | "rejected"; readonly id: string; readonly order: string; readonly by: string }
  | { readonly event: "rework" | "replace"; readonly id: string; readonly by: string; readonly reason: string }
  | { readonly event: "printed"; readonly id: string; readonly by: string; readonly copy: number }
  /** The order system or cloud has the row. */
  | { readonly event: "reported"; readonly id: string; readonly to: string };

/** A line of the ledger: numbered from 1, chained by the SHA-256 of the line before. */
export type LedgerLine = LedgerEvent & { readonly n: number; readonly at: string; readonly prev: string };

export interface BoardRecord {
  readonly id: string;
  readonly role: string;
  readonly order: string;
  readonly mac?: string;
  readonly publicKeyHash?: string;
  readonly serial?: string;
  readonly notAfterMs?: number;
  /** The furthest step that was observed since the board was last begun. */
  readonly step: Step;
  readonly reservedAt: string;
  readonly passedAt?: string;
  readonly seconds?: number;
  readonly failures: number;
  readonly prints: number;
  readonly isReported: boolean;
  /** Another key may take the place of the board's old one, which is then revoked. */
  readonly mayHaveNewKey: boolean;
  /** Its board was given up: the next new board takes the id. */
  readonly isVacant: boolean;
}

/** The board after one more line about it. */
export function boardAfter(board: BoardRecord | undefined, line: LedgerLine): BoardRecord | undefined {
  if (line.event === "reserved") {
    const { id, mac, order, role, at } = line;
    const { mac: _old, ...before } = board ?? { failures: 0, prints: 0, isReported: false, mayHaveNewKey: false, reservedAt: at };
    const isVacant = false;
    return { ...before, id, order, role, step: "reserved", isVacant, ...(mac !== undefined && { mac }) };
  }
  if (board === undefined) return undefined;
  switch (line.event) {
    case "step":
      return line.phase === "observed" ? afterStep(board, line) : board;
    case "failed":
      return { ...board, failures: board.failures + 1 };
    case "rework":
      return withoutPass({ ...board, mayHaveNewKey: true });
    case "replace": {
      const { mac: _mac, publicKeyHash: _key, ...rest } = board;
      return withoutPass({ ...rest, mayHaveNewKey: true, isVacant: true });
    }
    case "rejected":
      return withoutPass(board);
    case "printed":
      return { ...board, prints: board.prints + 1 };
    case "reported":
      return { ...board, isReported: true };
    default:
      return board;
  }
}

export function isBefore(step: Step, other: Step): boolean {
  return STEPS.indexOf(step) < STEPS.indexOf(other);
}

function withoutPass(board: BoardRecord): BoardRecord {
  const { passedAt: _at, seconds: _seconds, ...rest } = board;
  return { ...rest, step: "reserved", isReported: false };
}

function afterStep(board: BoardRecord, { step, facts = {}, at }: LedgerLine & { event: "step" }): BoardRecord {
  const { publicKeyHash, serial, notAfterMs, seconds } = facts;
  const isOtherKey = step === "key" && board.publicKeyHash !== undefined && board.publicKeyHash !== publicKeyHash;
  return {
    ...board,
    step: isOtherKey || isBefore(board.step, step) ? step : board.step,
    ...(step === "key" && typeof publicKeyHash === "string" && { publicKeyHash }),
    ...(step === "issued" && typeof serial === "string" && { serial }),
    ...(step === "issued" && typeof notAfterMs === "number" && { notAfterMs }),
    ...(step === "passed" && { passedAt: at, mayHaveNewKey: false }),
    ...(step === "passed" && typeof seconds === "number" && { seconds }),
  };
}
