/**
 * A serial line without hardware: a pseudo-terminal whose port a station opens by its path, with the device's end in this process. `script`
 * (util-linux) makes it, so that no native module and no compiler is needed. Linux only.
 */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { HawserError } from "../../sdk/errors.js";

/**
 * The shell inside holds the port open, as a USB adapter is there whether or not a program uses it, and ends with this process, however
 * that ends.
 */
const HOLD = `stty raw -echo; tty; while kill -0 ${process.pid} 2>/dev/null; do sleep 2; done`;

export class PseudoTerminal {
  /** Gets what comes from the station. */
  onData: (bytes: Uint8Array) => void = () => undefined;
  readonly #child: ChildProcessWithoutNullStreams;

  private constructor(
    child: ChildProcessWithoutNullStreams,
    /** What the station opens. */
    readonly path: string,
  ) {
    this.#child = child;
    child.stdout.on("data", (bytes: Buffer) => this.onData(bytes));
  }

  /** @throws HawserError `SERIAL_FAILED` where there is no `script`, or no pseudo-terminal to be had */
  static async open(): Promise<PseudoTerminal> {
    const child = spawn("script", ["-qfec", HOLD, "/dev/null"], {
      stdio: "pipe",
      env: { PATH: process.env["PATH"] ?? "", SHELL: "/bin/sh" },
      detached: true,
    });
    child.stdin.on("error", () => undefined);
    const path = await new Promise<string>((resolve, reject) => {
      let text = "";
      const read = (bytes: Buffer): void => {
        text += bytes.toString("latin1");
        const found = /(\/dev\/\S+)\r?\n/.exec(text)?.[1];
        if (found === undefined) return;
        child.stdout.off("data", read);
        resolve(found);
      };
      child.stdout.on("data", read);
      const fail = (): void =>
        reject(
          new HawserError(
            "SERIAL_FAILED",
            `there is no pseudo-terminal: ${text.trim() || "script cannot be run"}`,
            "Install util-linux. Simulated boards need Linux.",
          ),
        );
      child.once("error", fail);
      child.once("close", fail);
    });
    child.once("error", () => undefined);
    return new PseudoTerminal(child, path);
  }

  /** From the device to the station. */
  write(bytes: Uint8Array): void {
    if (this.#child.stdin.writable) this.#child.stdin.write(bytes);
  }

  /** The cable is pulled: the port is gone for whoever has it open. */
  async cut(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGKILL");
    await closed;
  }
}
