/**
 * Devices' own reports, as `hawser/reports` sends them. The name is the topic's, which the broker's rules give to that device alone;
 * nothing in a report is believed about its sender. A device can report what it likes about itself, so what one device and all together
 * are heard of is bounded.
 */
import { HawserError } from "../../sdk/errors.js";

export const REPORT_KINDS = ["denied", "recovery", "clock"] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];

export interface DeviceReport {
  readonly kind: "report";
  readonly client: string;
  readonly report: ReportKind;
  /** How often it happened since the device's last report. */
  readonly count: number;
  readonly topic?: string;
  readonly code?: string;
  readonly timeMs: number;
}

/** What the device itself sends is half of it. */
export const MAX_REPORT_BYTES = 512;
const MOST_COUNT = 1_000_000;
const MOST_TOPIC = 128;
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;
/** Of one device in an hour: one of each kind, and as many after a restart of the device. */
const MOST_OF_ONE = 6;
const MOST_AN_HOUR = 10_000;
const HOUR_MS = 3_600_000;

export class DeviceReports {
  readonly #pattern: RegExp;
  /** To subscribe to. */
  readonly filter: string;
  #hour = Number.NEGATIVE_INFINITY;
  #heard = 0;
  readonly #of = new Map<string, number>();

  /**
   * @param template where reports are, `{id}` for the device: `devices/{id}/identity/report`; `+` for any other level
   * @throws HawserError `USAGE`
   */
  constructor(template: string) {
    const levels = template.split("/");
    const isFine =
      levels.filter((level) => level === "{id}").length === 1 && levels.every((level) => /^(?:\{id\}|\+|[^+#{}\0]*)$/.test(level));
    if (!isFine)
      throw new HawserError(
        "USAGE",
        `invalid place of reports ${JSON.stringify(template)}`,
        "Write {id} for the device's level and + for others, for instance devices/{id}/identity/report.",
      );
    this.filter = levels.map((level) => (level === "{id}" ? "+" : level)).join("/");
    const quoted = levels.map((level) =>
      level === "{id}" ? "([^/]+)" : level === "+" ? "[^/]*" : level.replace(/[.*?^$()|[\]\\]/g, "\\$&"),
    );
    this.#pattern = new RegExp(`^${quoted.join("/")}$`, "s");
  }

  /** @returns undefined for anything else than a report, and for reports beyond the bounds */
  read(topic: string, payload: Uint8Array, timeMs: number): DeviceReport | undefined {
    const client = this.#pattern.exec(topic)?.[1];
    if (client === undefined || payload.length > MAX_REPORT_BYTES) return undefined;
    const report = reportIn(Buffer.from(payload).toString("utf8"));
    if (report === undefined || !this.#hasRoom(client, timeMs)) return undefined;
    return { kind: "report", client, ...report, timeMs };
  }

  #hasRoom(client: string, timeMs: number): boolean {
    const hour = Math.floor(timeMs / HOUR_MS);
    if (hour !== this.#hour) {
      this.#hour = hour;
      this.#heard = 0;
      this.#of.clear();
    }
    const before = this.#of.get(client) ?? 0;
    if (before >= MOST_OF_ONE || this.#heard >= MOST_AN_HOUR) return false;
    this.#of.set(client, before + 1);
    this.#heard += 1;
    return true;
  }
}

function reportIn(text: string): Pick<DeviceReport, "report" | "count" | "topic" | "code"> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { v, kind, count, topic, code } = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  if (v !== 1 || !isKind(kind) || !Number.isInteger(count) || (count as number) < 1) return undefined;
  if (topic !== undefined && (typeof topic !== "string" || topic.length > MOST_TOPIC)) return undefined;
  if (code !== undefined && (typeof code !== "string" || !CODE.test(code))) return undefined;
  return {
    report: kind,
    count: Math.min(count as number, MOST_COUNT),
    ...(topic === undefined ? {} : { topic }),
    ...(code === undefined ? {} : { code }),
  };
}

function isKind(value: unknown): value is ReportKind {
  return REPORT_KINDS.some((kind) => kind === value);
}
