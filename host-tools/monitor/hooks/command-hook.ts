/**
 * Runs a program of the operator for each message: without a shell, with the message on its standard input and nothing of it in its
 * arguments, with an environment that holds no secrets, and not for ever.
 */
import { spawn } from "node:child_process";
import { errorMessage } from "../../../sdk/errors.js";
import type { HookMessage, HookTarget, Outcome } from "./hook-queue.js";

export interface CommandHookOptions {
  /** An absolute path, and what the operator wrote behind it. */
  readonly command: readonly [program: string, ...parameters: string[]];
  readonly timeoutMs: number;
}

/** The monitor's own environment may name files with passphrases, proxies and tokens. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" };
/** EX_TEMPFAIL of sysexits.h: try again later. */
const TRY_AGAIN = 75;

export class CommandHook implements HookTarget {
  readonly #options: CommandHookOptions;

  constructor(options: CommandHookOptions) {
    this.#options = options;
  }

  async send(message: HookMessage, stop: AbortSignal): Promise<Outcome> {
    try {
      return await this.#run(message, stop);
    } catch (error) {
      // Some reasons why a program cannot be started are thrown, others are events.
      return { kind: "failed", reason: errorMessage(error) };
    }
  }

  #run({ body }: HookMessage, stop: AbortSignal): Promise<Outcome> {
    const { command, timeoutMs } = this.#options;
    const [program, ...parameters] = command;
    return new Promise((resolve) => {
      // A process group of its own, so that what the program starts ends with it. Its output goes to stderr: stdout is the monitor's.
      const child = spawn(program, parameters, { stdio: ["pipe", 2, 2], env: ENVIRONMENT, detached: true });
      let ended = "";
      const end = (why: string): void => {
        ended ||= why;
        if (child.pid !== undefined) endGroup(child.pid);
      };
      const timer = setTimeout(() => end(`it ran longer than ${timeoutMs / 1000} s and was ended`), timeoutMs);
      const onStop = (): void => end("it was ended because the monitor stops");
      stop.addEventListener("abort", onStop);
      const settle = (outcome: Outcome): void => {
        clearTimeout(timer);
        stop.removeEventListener("abort", onStop);
        resolve(outcome);
      };
      child.once("error", ({ message }) => settle({ kind: "failed", reason: message }));
      child.once("exit", (code, signal) => {
        if (ended !== "") settle({ kind: "failed", reason: ended });
        else if (code === 0) settle({ kind: "done" });
        else if (code === TRY_AGAIN) settle({ kind: "retry", reason: `it ended with ${code}` });
        else settle({ kind: "failed", reason: signal === null ? `it ended with ${code}` : `it was stopped by ${signal}` });
      });
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(`${body}\n`);
    });
  }
}

function endGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
