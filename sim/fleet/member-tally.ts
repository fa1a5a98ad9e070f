/** What a device goes through, counted for its worker as a whole. */
import type { Histogram } from "hdr-histogram-js";
import type { ClientListener } from "./fleet-client.js";
import { micros } from "./latencies.js";

export interface WorkerTally {
  accepted: number;
  refused: number;
  connections: number;
  devicesByCredential: Record<string, number>;
  attempts: number;
  renewed: number;
  failures: Record<string, number>;
  /** Microseconds from an attempt to connect to its CONNACK. */
  readonly connecting: Histogram;
}

export class MemberTally implements ClientListener {
  /** What the device is connected by, if it is. */
  credential: string | undefined;
  readonly #used: string[] = [];
  #attemptedMs = 0;

  constructor(protected readonly tally: WorkerTally) {}

  connected(credential: string): void {
    this.credential = credential;
    this.tally.connections += 1;
    this.tally.connecting.recordValue(micros(performance.now() - this.#attemptedMs));
    if (this.#used.includes(credential)) return;
    this.#used.push(credential);
    this.tally.devicesByCredential[credential] = (this.tally.devicesByCredential[credential] ?? 0) + 1;
  }

  ended(code: string, wasConnected: boolean): void {
    this.credential = undefined;
    if (code === "CLOSED_LOCALLY" && wasConnected) return;
    this.trouble(code);
  }

  trouble(code: string): void {
    this.tally.failures[code] = (this.tally.failures[code] ?? 0) + 1;
  }

  renewed(): void {
    this.tally.renewed += 1;
  }

  attempt(): void {
    this.#attemptedMs = performance.now();
    this.tally.attempts += 1;
  }
}
