/** A command with a person at its terminal: a real pseudo-terminal, which is its controlling one. Ctrl-C there is a real signal. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { onTestFinished } from "vitest";
import { SerialLine } from "../station/serial-line.js";
import { CLI } from "./test-cli.js";

export class Seat {
  screen = "";
  readonly ended: Promise<number | null>;
  #look: () => void = () => undefined;

  private constructor(
    private readonly line: SerialLine,
    readonly child: ChildProcess,
  ) {
    line.onData = (bytes) => {
      this.screen += Buffer.from(bytes).toString("utf8");
      this.#look();
    };
    this.ended = new Promise((resolve) => child.once("close", resolve));
  }

  static async at(
    args: readonly string[],
    cwd: string,
    env: Readonly<Record<string, string>> = {},
    size = { columns: 80, rows: 24 },
  ): Promise<Seat> {
    const { columns, rows } = size;
    const line = await SerialLine.open();
    // The first terminal that the leader of a new session opens becomes its controlling one.
    const shell = [
      "-c",
      'terminal=$1; shift; stty cols "$COLUMNS" rows "$LINES" < "$terminal"; exec "$@" < "$terminal" > "$terminal" 2>&1',
      "sh",
      line.path,
      process.execPath,
      CLI,
      ...args,
    ];
    const child = spawn("sh", shell, {
      cwd,
      env: {
        PATH: process.env["PATH"] ?? "",
        HAWSER_STATE_DIR: process.env["HAWSER_STATE_DIR"] ?? "",
        COLUMNS: String(columns),
        LINES: String(rows),
        ...env,
      },
      stdio: "ignore",
      detached: true,
    });
    const seat = new Seat(line, child);
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await seat.ended;
      await line.cut();
    });
    return seat;
  }

  async shows(text: RegExp): Promise<void> {
    while (!text.test(this.screen)) await new Promise<void>((resolve) => (this.#look = resolve));
  }

  /** The next output. Rejects once the command has ended. */
  shown(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#look = resolve;
      void this.ended.then((code) => reject(new Error(`ended with ${code}: ${this.screen.slice(-2_000)}`)));
    });
  }

  type(text: string): void {
    this.line.write(Buffer.from(text));
  }

  /** Whether the terminal shows what is typed and makes signals of keys. */
  get isAsBefore(): boolean {
    const settings = execFileSync("stty", ["-a", "-F", this.line.path], { encoding: "utf8" });
    return [" echo ", " isig ", " icanon "].every((setting) => settings.replaceAll("\n", " ").includes(setting));
  }
}
