/** The words of the page. A language is one JSON file with the same keys; what it leaves out stays English. */
import { HawserError } from "../../../sdk/errors.js";

const ENGLISH = {
  language: "en",
  title: "Factory station",
  head: "Head",
  "state.no-port": "NO PORT",
  "state.empty": "EMPTY",
  "state.waiting": "WAIT",
  "state.working": "WORKING",
  "state.label": "LABEL",
  "state.approval": "CHECK",
  "state.passed": "PASS",
  "state.failed": "FAIL",
  "state.held": "HELD",
  "waits.shift": "The shift has not started.",
  "waits.first-article": "Waits until the first board is accepted.",
  "waits.target": "The order is complete. Take the board out.",
  "hint.empty": "Insert a board.",
  "hint.no-port": "Plug the board or its adapter in.",
  "hint.label": "Stick the label on, then scan it.",
  "hint.approval": "A second person scans a badge, then APPROVE or REJECT.",
  "hint.passed": "Take the board out.",
  "hint.wasDone": "Passed before. Take the board out.",
  scan: "Scan",
  start: "Start shift",
  stop: "Stop shift",
  retry: "Try again",
  reprint: "Reprint label",
  sound: "Sound",
  operator: "Operator",
  order: "Order",
  product: "Product",
  role: "Role",
  firmware: "Firmware",
  passed: "Passed",
  failed: "Failed",
  yield: "First-pass yield",
  perHour: "Boards an hour",
  queued: "Rows to send",
  caDays: "CA days left",
  clock: "Clock",
  clockGood: "plausible",
  clockBad: "WRONG",
  unlisted: "Ports without a head",
  seconds: "s",
  attempt: "attempt",
  dead: "No connection to the station. Boards may still be in work: do not unplug them.",
};

export type PageTexts = Readonly<Record<keyof typeof ENGLISH, string>>;

export const ENGLISH_TEXTS: PageTexts = ENGLISH;

/**
 * @param json of a language file
 * @throws HawserError `BAD_CONFIG` for what is not an object of texts, or has a key that the page does not know
 */
export function readPageTexts(json: string): PageTexts {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null) throw bad("it is not a JSON object");
  for (const [key, text] of Object.entries(value)) {
    if (!(key in ENGLISH)) throw bad(`the page has no text ${JSON.stringify(key)}`);
    if (typeof text !== "string" || text === "") throw bad(`${key} is not a text`);
  }
  return { ...ENGLISH, ...value };
}

function bad(what: string): HawserError {
  return new HawserError(
    "BAD_CONFIG",
    `the language file cannot be used: ${what}`,
    `Use these keys: ${Object.keys(ENGLISH).slice(0, 6).join(", ")}, ...: see docs/factory.md.`,
  );
}
