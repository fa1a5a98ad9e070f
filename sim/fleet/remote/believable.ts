/** What may be believed of an answer that came over NATS: it has the right shape, and speaks of its own devices alone. */
import type { DeviceAccount, WorkerAnswer, WorkerReport } from "../fleet-plan.js";

/** A compressed histogram has a few hundred bytes. */
const MOST_HISTOGRAM = 64 * 1024;
const MOST_CODES = 1_000;
/** Messages of a device in a run. */
const MOST_NUMBERED = 10_000_000;

type Raw = Readonly<Record<string, unknown>>;

/**
 * @param ids the devices of the worker that says it
 * @throws Error saying what is wrong with it
 */
export function believable(answer: unknown, ids: ReadonlySet<string>): WorkerAnswer {
  const raw = object(answer);
  switch (raw["kind"]) {
    case "requests": {
      const requests = list(raw["requests"])
        .map(object)
        .map(({ id, csr }) => ({ id: known(id, ids), csr: bytes(csr) }));
      if (new Set(requests.map(({ id }) => id)).size !== ids.size) throw new Error("it did not make a key for each of its devices");
      return { kind: "requests", requests };
    }
    case "installed":
      return { kind: "installed" };
    case "prepared":
      return { kind: "prepared", rssBytes: count(raw["rssBytes"]) };
    case "report":
      return report(raw, ids);
    case "stopped": {
      const accounts = list(raw["accounts"]).map((one) => account(object(one), ids));
      if (new Set(accounts.map(({ id }) => id)).size !== accounts.length) throw new Error("it gave two accounts of a device");
      return { kind: "stopped", accounts, programs: [], programReport: undefined, kept: [], report: report(object(raw["report"]), ids) };
    }
    case "failed":
      return { kind: "failed", message: text(raw["message"], 2_000) };
    default:
      throw new Error("it gave no answer that there is");
  }
}

const COUNTS = [
  "devices",
  "started",
  "connected",
  "asleep",
  "accepted",
  "refused",
  "waiting",
  "connections",
  "attempts",
  "renewed",
  "rssBytes",
  "cpuMicros",
] as const;

function report(raw: Raw, ids: ReadonlySet<string>): WorkerReport {
  const counts = Object.fromEntries(COUNTS.map((name) => [name, count(raw[name])])) as Record<(typeof COUNTS)[number], number>;
  if (counts.devices > ids.size || counts.connected + counts.asleep > ids.size) throw new Error("it has more devices than it was given");
  return {
    kind: "report",
    ...counts,
    byCredential: sums(raw["byCredential"]),
    devicesByCredential: sums(raw["devicesByCredential"]),
    failures: sums(raw["failures"]),
    // Only who runs programs needs them.
    cameOnline: [],
    connecting: text(raw["connecting"], MOST_HISTOGRAM),
  };
}

function account({ id, numbered, notAccepted, qos }: Raw, ids: ReadonlySet<string>): DeviceAccount {
  const total = count(numbered);
  const levels = text(qos, MOST_NUMBERED);
  if (levels.length !== total || !/^[012]*$/.test(levels)) throw new Error("it gave an account that does not add up");
  const exempt = list(notAccepted).map(count);
  if (exempt.some((n) => !Number.isInteger(n) || n >= total)) throw new Error("it gave an account that does not add up");
  return { id: known(id, ids), numbered: total, notAccepted: exempt, qos: levels };
}

function object(value: unknown): Raw {
  if (typeof value !== "object" || value === null) throw new Error("it gave no answer that there is");
  return value as Raw;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error("it gave no answer that there is");
  return value;
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw new Error("it counted what cannot be counted");
  return value;
}

function text(value: unknown, mostCharacters: number): string {
  if (typeof value !== "string" || value.length > mostCharacters) throw new Error("it gave no answer that there is");
  return value;
}

function bytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("it gave no answer that there is");
  return value;
}

function sums(value: unknown): Readonly<Record<string, number>> {
  const entries = Object.entries(object(value));
  if (entries.length > MOST_CODES) throw new Error("it counted what cannot be counted");
  return Object.fromEntries(entries.map(([key, one]) => [key.slice(0, 200), count(one)]));
}

function known(id: unknown, ids: ReadonlySet<string>): string {
  if (typeof id !== "string" || !ids.has(id)) throw new Error("it spoke of a device that is not its own");
  return id;
}
