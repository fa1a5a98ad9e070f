/** The bench's child processes: each is this program again, with its part as argument, and answers one order at a time. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { doTask, type ClientOrder } from "./client-process.js";
import { openSink, type SinkOrder, type SinkPorts } from "./sink.js";
import type { Memory } from "./task.js";

interface Parts {
  sink: { order: SinkOrder; answer: SinkPorts };
  client: { order: ClientOrder; answer: number | Memory };
}

type Answer = { result: unknown } | { error: string };

const WORK: { [part in keyof Parts]: (order: Parts[part]["order"]) => Promise<Parts[part]["answer"]> } = { sink: openSink, client: doTask };
const PART_ARGUMENT = "--part=";
/**
 * What a part's process is started with to count the memory of connections: the young generation may otherwise grow by some 20 MB at any
 * time, whatever their number.
 */
export const FOR_MEMORY = ["--expose-gc", "--max-semi-space-size=1"];

export class Part<P extends keyof Parts> {
  readonly #child: ChildProcess;

  constructor(part: P, nodeArguments: readonly string[] = []) {
    this.#child = fork(process.argv[1] as string, [PART_ARGUMENT + part], { execArgv: [...nodeArguments] });
  }

  /** One order at a time. Rejects with what went wrong there. */
  async ask(order: Parts[P]["order"]): Promise<Parts[P]["answer"]> {
    const answered = new AbortController();
    const { signal } = answered;
    this.#child.send(order);
    try {
      const [answer] = (await Promise.race([once(this.#child, "message", { signal }), this.#ended(signal)])) as [Answer];
      if ("error" in answer) throw new Error(answer.error);
      return answer.result as Parts[P]["answer"];
    } finally {
      answered.abort();
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #ended(signal: AbortSignal): Promise<never> {
    const [code, by] = (await once(this.#child, "exit", { signal })) as [number | null, string | null];
    throw new Error(`a process of the bench ended with ${by ?? code}`);
  }
}

/** Plays the part this process was started for; false when it is the bench itself. */
export function playPart(argument: string | undefined): boolean {
  if (argument?.startsWith(PART_ARGUMENT) !== true) return false;
  const work = WORK[argument.slice(PART_ARGUMENT.length) as keyof Parts] as (order: unknown) => Promise<unknown>;
  process.on("message", (order) => {
    const tell = (answer: Answer): void => void process.send?.(answer);
    work(order).then(
      (result) => tell({ result }),
      (error: unknown) => tell({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  // The bench is gone, whatever ended it.
  process.once("disconnect", () => process.exit());
  return true;
}
