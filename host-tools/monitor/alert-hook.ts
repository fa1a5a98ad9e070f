/** Runs a command of the operator for each alert: bounded, one at a time, and with nothing of a sender's text in its arguments. */
import { spawn } from "node:child_process";

export interface HookOwner {
  /** The command ended badly, took too long, or alerts came faster than it may run. */
  failed(reason: string): void;
}

const MAX_WAITING = 20;
const MAX_PER_MINUTE = 10;
const TIMEOUT_MS = 30_000;
const MINUTE_MS = 60_000;

export class AlertHook {
  readonly #command: string;
  readonly #owner: HookOwner;
  readonly #waiting: string[] = [];
  readonly #startedMs: number[] = [];
  #running: Promise<void> | undefined;
  #dropped = 0;

  /** @param command for `/bin/sh -c`, with the alert as a JSON line on its standard input */
  constructor(command: string, owner: HookOwner) {
    this.#command = command;
    this.#owner = owner;
  }

  /** @param alert as in the event file */
  run(alert: Readonly<Record<string, unknown>>): void {
    const nowMs = performance.now();
    while ((this.#startedMs[0] ?? nowMs) < nowMs - MINUTE_MS) this.#startedMs.shift();
    if (this.#waiting.length >= MAX_WAITING || this.#startedMs.length >= MAX_PER_MINUTE) {
      // Said once for each run of dropped alerts: the event file has them all.
      if (this.#dropped === 0) this.#owner.failed(`alerts come faster than ${MAX_PER_MINUTE} a minute; the command is not run for each`);
      this.#dropped += 1;
      return;
    }
    this.#dropped = 0;
    this.#startedMs.push(nowMs);
    this.#waiting.push(`${JSON.stringify(alert)}\n`);
    this.#running ??= this.#drain();
  }

  /** Resolves when the command has run for every alert so far. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #drain(): Promise<void> {
    for (let line = this.#waiting.shift(); line !== undefined; line = this.#waiting.shift()) await this.#start(line);
    this.#running = undefined;
  }

  #start(line: string): Promise<void> {
    return new Promise((resolve) => {
      // Its output goes to stderr: stdout is the monitor's own.
      const child = spawn("/bin/sh", ["-c", this.#command], { stdio: ["pipe", 2, 2], timeout: TIMEOUT_MS, killSignal: "SIGKILL" });
      child.on("error", (error) => this.#owner.failed(error.message));
      child.on("close", (code, signal) => {
        if (code !== 0) this.#owner.failed(signal === null ? `the command ended with ${code}` : `the command was stopped by ${signal}`);
        resolve();
      });
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(line);
    });
  }
}
