/** What a test's devices live in, whether its time is real or virtual: a broker, an authority, and all that was received. */
import { HawserError } from "../../sdk/errors.js";
import type { ProgramOptions, TestDevice } from "./test-device.js";

/** A message as an independent subscriber of `devices/#` got it. */
export interface ReceivedMessage {
  /** In full: `devices/sensor-1/up/temperature`. */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly text: string;
  readonly qos: 0 | 1 | 2;
}

export interface WaitOptions {
  /** Milliseconds: of real time, default 10,000; of virtual time, default 600,000. */
  withinMs?: number;
}

export interface TestPlace {
  /** All messages below `devices/` so far, in the order they came. */
  readonly received: readonly ReceivedMessage[];
  /** Makes, provisions and, unless told otherwise, starts a device. */
  makeDevice(options?: ProgramOptions): Promise<TestDevice>;
  /** Sends as a backend does, at QoS 1 by default. */
  publish(topic: string, payload: string | Uint8Array, options?: { qos?: 0 | 1 | 2 }): Promise<void>;
  /** Waits until `condition` gives something else than undefined or false, and gives that. @throws HawserError `NOT_SEEN` naming `what` */
  until<T>(what: string, condition: () => T | undefined | false, options?: WaitOptions): Promise<T>;
  /** As by `kill -9`: connections end, sessions on the broker's disk stay. */
  killBroker(): Promise<void>;
  /** On the same ports. */
  startBroker(): Promise<void>;
  stopAuthority(): Promise<void>;
  startAuthority(): Promise<void>;
  /** Revokes the certificate; the device may recover by its pre-shared key. */
  revoke(id: string): Promise<void>;
  /** Revokes certificate and pre-shared key. */
  shutOut(id: string): Promise<void>;
}

export function notSeen(what: string, withinMs: number, seen: string): HawserError {
  return new HawserError(
    "NOT_SEEN",
    `${what} did not happen within ${withinMs} ms`,
    `${seen === "" ? "" : `Seen instead: ${seen}. `}Give more time by withinMs, or look at the device's events.`,
  );
}

/** The end of what was seen, short enough for one line of a report. */
export function lastOf(lines: readonly string[], count = 6): string {
  const shown = lines.slice(-count).map((line) => (line.length > 100 ? `${line.slice(0, 100)}...` : line));
  return shown.length < lines.length ? `... ${shown.join(", ")}` : shown.join(", ");
}
