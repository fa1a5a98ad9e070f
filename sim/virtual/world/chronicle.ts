/** What happened in a world, line by line: for people, for comparing two runs byte by byte, and for the invariants' verdicts. */
import type { VirtualTime } from "../time/virtual-time.js";

/** The promises of the SDK that every run checks (issue 3). */
export type InvariantName =
  | "qos1-lost"
  | "qos2-lost"
  | "qos2-doubled"
  | "denied-at-the-end"
  | "order"
  | "early-ack"
  | "held-up"
  | "blamed"
  | "no-taker"
  | "attempt-spacing"
  | "network-ignored"
  | "rung-without-reason"
  | "psk-on-network-fault"
  | "left-too-soon"
  | "fleet-left-together"
  | "revoked-key-serves"
  | "shut-out-by-psk"
  | "reached-by-another"
  | "psk-lost"
  | "psk-unchanged"
  | "old-psk-serves"
  | "session-twice"
  | "session-of-before"
  | "stranded"
  | "time-moved"
  | "useless-certificates"
  | "untrusted-certificate"
  | "no-usable-identity"
  | "unproved-identity"
  | "unproved-topics"
  | "old-certificate"
  | "strange-anchor"
  | "distrusts-broker"
  | "bounds"
  | "not-back-online"
  | "protocol"
  | "exception";

export interface Violation {
  atMs: number;
  invariant: InvariantName;
  device: string;
  what: string;
  /** Where in the code, in the engine's own words: for people, no part of the log. */
  where?: string;
}

/** Lines kept for a report when nobody takes them all. */
const RECENT_LINES = 60;
/** So many violations tell the story; a broken world would report thousands. */
const MAX_VIOLATIONS = 50;

export class Chronicle {
  readonly violations: Violation[] = [];
  readonly recent: string[] = [];
  #lines = 0;
  #one = 0x2f0b4a27;
  #two = 0x6a09e667;

  /** @param sink gets every line */
  constructor(
    private readonly time: VirtualTime,
    private readonly sink?: (line: string) => void,
  ) {}

  get lines(): number {
    return this.#lines;
  }

  /** A digest of all lines so far; two runs with the same digest told the same story. */
  get digest(): string {
    return hex32(this.#one) + hex32(this.#two);
  }

  note(who: string, text: string): void {
    const line = `${clock(this.time.nowMs)} ${who} ${text}`;
    this.#lines++;
    for (let i = 0; i < line.length; i++) {
      const code = line.charCodeAt(i);
      this.#one = Math.imul(this.#one ^ code, 0x01000193);
      this.#two = Math.imul((this.#two << 5) ^ (this.#two >>> 3) ^ code, 0x85ebca6b);
    }
    this.sink?.(line);
    this.recent.push(line);
    if (this.recent.length > RECENT_LINES) this.recent.shift();
  }

  violate(invariant: InvariantName, device: string, what: string, where?: string): void {
    this.note(device, `BROKEN ${invariant}: ${what}`);
    if (this.violations.length < MAX_VIOLATIONS)
      this.violations.push({ atMs: this.time.nowMs, invariant, device, what, ...(where === undefined ? {} : { where }) });
  }
}

function hex32(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}

/** Days, hours, minutes, seconds and milliseconds since the world began. */
export function clock(atMs: number): string {
  const pad = (value: number, digits: number): string => String(Math.floor(value)).padStart(digits, "0");
  return `${pad(atMs / 86_400_000, 1)}d ${pad((atMs / 3_600_000) % 24, 2)}:${pad((atMs / 60_000) % 60, 2)}:${pad((atMs / 1_000) % 60, 2)}.${pad(atMs % 1_000, 3)}`;
}
