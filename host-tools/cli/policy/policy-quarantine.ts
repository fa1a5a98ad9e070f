/** `policy quarantine`: what a hook of `hawser monitor` runs for an alert. */
import { HawserError } from "../../../sdk/errors.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface QuarantineOptions extends PassphraseOptions {
  dir: string;
  on: string[];
  role: string;
  perHour: number;
  json?: boolean;
}

interface AlertText {
  readonly rule: string;
  readonly offender: string;
  readonly observed: string;
}

/** No event of the monitor is near this long. */
const MAX_BYTES = 64 * 1024;
/** A monitor that catches up with an old log does not shut out anybody for what was. */
const OLDEST_MS = 3_600_000;

export async function quarantineByAlert(options: QuarantineOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const alert = wantedAlert(await readInput(), options.on, Date.now());
  if (typeof alert === "string") {
    terminal.result({ done: false, reason: alert }, [`Nothing done: ${alert}.`]);
    return;
  }
  const { rule, observed, offender: id } = alert;
  const ca = await openCaOf(options, context);
  const outcome = await ca.quarantine({ id, role: options.role, rule, observed, perHour: options.perHour });
  if (!outcome.done) {
    terminal.result({ ...outcome }, [`Nothing done: ${outcome.reason}.`]);
    return;
  }
  const { before } = outcome;
  terminal.result({ id, done: true, role: options.role, before }, [
    `${id} is ${options.role} (${rule}).`,
    `Undo: hawser policy set --dir ${options.dir} --id ${id} --role ${before}`,
  ]);
}

/**
 * @returns the alert, or why nothing is to be done for the event
 * @throws HawserError `NOT_AN_ALERT`
 */
function wantedAlert(text: string, rules: readonly string[], nowMs: number): AlertText | string {
  const { event, rule, by, offender, observed = "", count, time } = parsed(text);
  if (typeof event !== "string") throw notAnAlert("it has no event");
  if (event !== "alert") return `the event is ${JSON.stringify(event)}`;
  if (typeof rule !== "string" || !rules.includes(rule)) return "the alert is of another rule";
  // An address may be shared, and nothing proves a claimed name.
  if (by !== "client") return "the alert does not name a client that was let in";
  const atMs = typeof time === "string" ? Date.parse(time) : Number.NaN;
  if (typeof offender !== "string" || typeof observed !== "string" || Number.isNaN(atMs)) throw notAnAlert("it is not complete");
  if (Math.abs(nowMs - atMs) > OLDEST_MS) return "the alert is not of the last hour";
  return { rule, offender, observed: observed === "" ? `about ${String(count)} in the last minutes` : observed };
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notAnAlert("it is not JSON");
  }
  if (typeof value !== "object" || value === null) throw notAnAlert("it is not an object");
  return value as Readonly<Record<string, unknown>>;
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BYTES) throw notAnAlert(`it is longer than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function notAnAlert(what: string): HawserError {
  return new HawserError(
    "NOT_AN_ALERT",
    `standard input is not an event of hawser monitor: ${what}`,
    "Run it as a command of its hooks: see docs/incident.md.",
  );
}
