/** A real serial line for tests: a pseudo-terminal whose port a station opens by its path, with the device's end in the test's hands. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("pty.c", import.meta.url));
const FOLDER = fileURLToPath(new URL("../../../.cache/station", import.meta.url));

/** Compiled once, until its source changes. */
function build(): string {
  const program = join(FOLDER, "pty");
  if (existsSync(program) && statSync(program).mtimeMs > statSync(SOURCE).mtimeMs) return program;
  mkdirSync(FOLDER, { recursive: true });
  const unfinished = `${program}-${process.pid}`;
  execFileSync("cc", ["-Wall", "-Wextra", "-O1", SOURCE, "-o", unfinished], { stdio: "pipe" });
  renameSync(unfinished, program);
  return program;
}

export class SerialLine {
  /** Gets what comes from the station. */
  onData: (bytes: Uint8Array) => void = () => undefined;

  private constructor(
    private readonly child: ChildProcessWithoutNullStreams,
    /** What the station opens. */
    readonly path: string,
  ) {
    child.stdout.on("data", (bytes: Buffer) => this.onData(bytes));
    child.stdin.on("error", () => undefined);
  }

  static async open(): Promise<SerialLine> {
    const child = spawn(build(), { stdio: "pipe" });
    const path = await new Promise<string>((resolve, reject) => {
      child.stderr.setEncoding("utf8").once("data", (line: string) => resolve(line.trim()));
      child.once("close", () => reject(new Error("there is no pseudo-terminal")));
    });
    return new SerialLine(child, path);
  }

  /** From the device to the station. */
  write(bytes: Uint8Array): void {
    if (this.child.stdin.writable) this.child.stdin.write(bytes);
  }

  /** The cable is pulled. */
  async cut(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = new Promise((resolve) => this.child.once("close", resolve));
    this.child.kill("SIGKILL");
    await closed;
  }
}
