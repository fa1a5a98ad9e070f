/** The coordinator's end of a fleet's process or thread. */
import { fork } from "node:child_process";
import { Worker } from "node:worker_threads";
import { HawserError } from "../../sdk/errors.js";
import type { AnyAnswer, AnyOrder } from "./fleet-plan.js";

type AnswerOf<K extends AnyAnswer["kind"]> = Extract<AnyAnswer, { kind: K }>;

/** What carries orders to a worker and its answers back. */
export interface FleetChannel {
  send(order: AnyOrder): void;
  /** From now on; called once. */
  listen(heard: (answer: AnyAnswer) => void): void;
  kill(): void;
  /** Settles with how it ended, if it does so by itself. */
  readonly ended: Promise<string>;
}

/** A process or thread of this machine. @param program the built `fleet-process.js` */
export function localChannel(program: string, by: "process" | "thread"): FleetChannel {
  if (by === "thread") {
    const thread = new Worker(program);
    return {
      send: (order) => thread.postMessage(order),
      listen: (heard) => void thread.on("message", heard),
      kill: () => void thread.terminate(),
      ended: new Promise((resolve) => {
        thread.once("error", (error) => resolve(error.message));
        thread.once("exit", (code) => resolve(`exit code ${code}`));
      }),
    };
  }
  const child = fork(program, [], {
    serialization: "advanced",
    execArgv: ["--expose-gc", "--enable-source-maps"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  return {
    send: (order) => void child.send(order, () => undefined),
    listen: (heard) => void child.on("message", (answer) => heard(answer as AnyAnswer)),
    kill: () => void child.kill("SIGKILL"),
    ended: new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code ?? "unknown"}`));
    }),
  };
}

export class FleetLink {
  readonly #listeners = new Set<(answer: AnyAnswer) => void>();
  /** Settles with how it ended, if it does so by itself. */
  readonly ended: Promise<string>;
  isGone = false;

  constructor(private readonly channel: FleetChannel) {
    channel.listen((answer) => this.#heard(answer));
    this.ended = channel.ended;
    void this.ended.then(() => (this.isGone = true));
  }

  listen(listener: (answer: AnyAnswer) => void): void {
    this.#listeners.add(listener);
  }

  tell(order: AnyOrder): void {
    this.channel.send(order);
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
      this.channel.send(order);
      const ended = this.ended.then((how) => {
        throw failed(`it ended (${how})`);
      });
      return await Promise.race([answered, ended]);
    } finally {
      this.#listeners.delete(listener);
    }
  }

  kill(): void {
    this.channel.kill();
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
