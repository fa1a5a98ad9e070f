/** Runs a TypeScript file of this folder as a process of its own, so that a test can kill it. Not part of the product. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** Bundles a program of this folder into `room`; gives back what {@link runProgram} starts. */
export function buildProgram(room: string, name: string): string {
  const outfile = join(room, `${name}.mjs`);
  const entry = join(fileURLToPath(new URL(".", import.meta.url)), `${name}.ts`);
  buildSync({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "esm", target: "node20", logLevel: "error" });
  return outfile;
}

export class RunningProgram {
  readonly lines: string[] = [];
  readonly ended: Promise<unknown>;
  readonly #child: ChildProcess;
  #onLine: (() => void) | undefined;

  constructor(program: string, args: readonly string[]) {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    const killAtExit = (): void => void child.kill("SIGKILL");
    process.once("exit", killAtExit);
    this.ended = once(child, "close").then(() => process.off("exit", killAtExit));
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.#onLine?.();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves once so many lines were printed, or the program ended. */
  async printed(count: number): Promise<void> {
    const enough = new Promise<void>((resolve) => {
      this.#onLine = (): void => {
        if (this.lines.length >= count) resolve();
      };
      this.#onLine();
    });
    await Promise.race([enough, this.ended]);
  }

  /** Lets a program that waits for its standard input to end go on. */
  release(): void {
    this.#child.stdin?.end();
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}
