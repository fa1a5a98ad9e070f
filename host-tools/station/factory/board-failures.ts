/** Which failures are worth another attempt, which are the operator's to settle, and which end a board. */
import type { ErrorCode } from "../../../sdk/error-codes.js";
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import { DeviceRefusal } from "../station-link.js";
import type { FailureClass } from "./ledger-records.js";

export interface BoardFailure {
  readonly class: FailureClass;
  readonly code: ErrorCode;
  /** What happened, in one sentence. */
  readonly message: string;
  /** What to do, in one sentence. */
  readonly next: string;
}

/** Trouble of the line, of a busy CA, or of the network: often over by the next attempt. */
const TEMPORARY: ReadonlySet<string> = new Set([
  "DEVICE_SILENT",
  "BAD_ANSWER",
  "WRONG_STATE",
  "CA_BUSY",
  "AUTHORITY_UNREACHABLE",
  "ID_SOURCE_AWAY",
  "BOARD_NOT_SEEN",
  "BOARD_BUSY",
  "OUTPUT_FAILED",
  "OUTPUT_NOT_RELOADED",
  "RATE_LIMITED",
  "NOT_RESERVED",
]);
/** Refusals of a board that come from a damaged request or an interrupted exchange. */
const TEMPORARY_REFUSALS: ReadonlySet<string> = new Set(["BAD_REQUEST", "WRONG_STATE", "INTERNAL"]);
const OPERATOR: ReadonlySet<string> = new Set([
  "NO_IDS_LEFT",
  "ID_SOURCE_REFUSED",
  "ID_SOURCE_UNTRUSTED",
  "ID_SOURCE_WRONG",
  "NO_MAC",
  "BOARD_PASSED",
  "ISSUER_EXPIRED",
  "QUOTA_SPENT",
  "CA_CORRUPT",
  "CA_ROLLED_BACK",
  "CA_EXPOSED",
  "INVALID_ROLE",
  "INVALID_ATTRIBUTE",
  "INVALID_ID",
  "RESERVED_NAME",
  "NOT_A_SERIAL_PORT",
  "SERIAL_IN_USE",
  "PERMISSION_DENIED",
  "STTY_MISSING",
  "BAD_BAUD",
  "LABEL_WRONG",
  "PRINTER_FAILED",
  "STOPPED",
  "ID_EXISTS",
  "PASSPHRASE_CHANGED",
]);

const WORST_CLASS_ADVICE: Readonly<Record<FailureClass, string>> = {
  permanent: "Set this board aside.",
  temporary: "Unplug the board and plug it in again.",
  operator: "Call the line's engineer.",
};

export function failureOf(error: unknown): BoardFailure {
  const code = errorCode(error);
  const failure = classOf(error, code);
  const next = error instanceof HawserError && error.nextStep !== "" ? error.nextStep : WORST_CLASS_ADVICE[failure];
  return { class: failure, code, message: errorMessage(error), next: ADVICE[code] ?? next };
}

function classOf(error: unknown, code: string): FailureClass {
  if (error instanceof DeviceRefusal) return TEMPORARY_REFUSALS.has(code) ? "temporary" : "permanent";
  if (TEMPORARY.has(code) || code === "LINE_LOST" || isDiskFull(error)) return "temporary";
  // What nobody expected may be over next time, but is not to be tried for ever.
  if (code === "INTERNAL" || code === "STORAGE_FAILED") return "operator";
  return OPERATOR.has(code) ? "operator" : "permanent";
}

/** The disk of this machine, not the flash of a board. */
export function isDiskFull(error: unknown): boolean {
  return errorCode(error) === "STORAGE_FULL" && !(error instanceof DeviceRefusal);
}

/** At a station, what helps is something else than at a command line. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  DEVICE_SILENT: "Press the board into its jig, or take another cable.",
  LINE_LOST: "Plug the board in again: it continues where it stopped.",
  BAD_ANSWER: "Unplug the board and plug it in again; if it fails again, check its firmware.",
  WRONG_STATE: "Unplug the board and plug it in again.",
  READ_BACK_FAILED: "Set this board aside: its flash may be damaged.",
  BAD_PROOF: "Set this board aside: it does not hold the key it showed.",
  ALREADY_PROVISIONED: "Set this board aside: it has an identity that this station did not give it.",
  STORAGE_FULL: "Free some disk space on this machine; the station continues by itself.",
  PRINTER_FAILED: "Switch the label printer on, then try the board again.",
  CA_BUSY: "Wait: another program works with the CA.",
};
