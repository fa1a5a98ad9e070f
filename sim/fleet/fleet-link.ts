/** The coordinator's end of a fleet's process or thread. */
import { fork } from "node:child_process";
import { Worker } from "node:worker_threads";
import { HawserError } from "../../sdk/errors.js";
import type { AnyAnswer, AnyOrder } from "./fleet-plan.js";

type AnswerOf<K extends AnyAnswer["kind"]> = Extract<AnyAnswer, { kind: K }>;

export class FleetLink {
  readonly #listeners = new Set<(answer: AnyAnswer) => void>();
  readonly #send: (order: AnyOrder) => void;
  readonly #kill: () => void;
  /** Settles with how it ended, if it does so by itself. */
  readonly ended: Promise<string>;
  isGone = false;

  /** @param program the built `fleet-process.js` */
  constructor(program: string, by: "process" | "thread") {
    if (by === "thread") {
      const thread = new Worker(program);
      this.#send = (order) => thread.postMessage(order);
      this.#kill = () => void thread.terminate();
      thread.on("message", (answer: AnyAnswer) => this.#heard(answer));
      this.ended = new Promise((resolve) => {
        thread.once("error", (error) => resolve(error.message));
        thread.once("exit", (code) => resolve(`exit code ${code}`));
      });
    } else {
      const child = fork(program, [], {
        serialization: "advanced",
        execArgv: ["--expose-gc", "--enable-source-maps"],
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      });
      this.#send = (order) => void child.send(order, () => undefined);
      this.#kill = () => void child.kill("SIGKILL");
      child.on("message", (answer) => this.#heard(answer as AnyAnswer));
      this.ended = new Promise((resolve) => {
        child.once("error", (error) => resolve(error.message));
        child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code ?? "unknown"}`));
      });
    }
    void this.ended.then(() => (this.isGone = true));
  }

  listen(listener: (answer: AnyAnswer) => void): void {
    this.#listeners.add(listener);
  }

  tell(order: AnyOrder): void {
    this.#send(order);
  }

  /** @throws HawserError `FLEET_WORKER_FAILED` when it fails or ends first */
  async ask<K extends AnyAnswer["kind"]>(order: AnyOrder, kind: K): Promise<AnswerOf<K>> {
    let listener: (answer: AnyAnswer) => void = () => undefined;
    const answered = new Promise<AnswerOf<K>>((resolve, reject) => {
      listener = (answer) => {
        if (answer.kind === kind) resolve(answer as AnswerOf<K>);
        else if (answer.kind === "failed")
          reject(answer.code === undefined ? failed(answer.message) : new HawserError(answer.code, answer.message, answer.nextStep ?? ""));
      };
    });
    this.#listeners.add(listener);
    try {
      this.#send(order);
      const ended = this.ended.then((how) => {
        throw failed(`it ended (${how})`);
      });
      return await Promise.race([answered, ended]);
    } finally {
      this.#listeners.delete(listener);
    }
  }

  kill(): void {
    this.#kill();
  }

  #heard(answer: AnyAnswer): void {
    for (const listener of [...this.#listeners]) listener(answer);
  }
}

function failed(what: string): HawserError {
  return new HawserError(
    "FLEET_WORKER_FAILED",
    `a worker of the fleet failed: ${what}`,
    "If it ran out of memory, take fewer devices or more workers; else report this.",
  );
}
