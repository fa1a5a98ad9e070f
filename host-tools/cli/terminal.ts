/**
 * Everything the command line shows: results on stdout, errors and progress on stderr. Colours and progress only where a person looks on.
 * A closed pipe (`hawser list | head`) is no error: the rest of the output is dropped and the work goes on to a safe end. So it does when
 * the disk behind stdout is full, but then the command has failed.
 */
import { fstatSync, writeFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";

export type Colour = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

const ANSI: Readonly<Record<Colour, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** Work that is done by then needs no announcement. */
const NOTICE_MS = 2000;

/** A value that JSON can carry. */
export type Json = string | number | boolean | null | undefined | readonly Json[] | { readonly [key: string]: Json };

/** A terminal that can be drawn on. */
export interface Screen {
  size(): { readonly columns: number; readonly rows: number };
  write(text: string): void;
  paint(colour: Colour, text: string): string;
  /** Calls `then` after each change of the size; the result ends that. */
  onResize(then: () => void): () => void;
}

export class Terminal {
  #closed = false;
  #failure: HawserError | undefined;
  readonly #file: number | undefined;
  #progress: NodeJS.Timeout | undefined;
  readonly #onClosed: (() => void)[] = [];

  constructor(
    readonly json: boolean,
    private readonly out: NodeJS.WriteStream,
    private readonly err: NodeJS.WriteStream,
    private readonly env: Readonly<Record<string, string | undefined>>,
  ) {
    this.#file = fileBehind(out);
    out.on("error", (error) => this.#close(error));
    err.on("error", () => undefined);
  }

  /** Why output was lost, unless its reader went away; settled after `flush`. */
  get outputFailure(): HawserError | undefined {
    return this.#failure;
  }

  /** Runs `then` once stdout takes no more. */
  onClosed(then: () => void): void {
    this.#onClosed.push(then);
  }

  /** One line for people; nothing with `--json`. */
  line(text: string): void {
    if (!this.json) this.#write(`${text}\n`);
  }

  /** The result of a command: an object for scripts, else `lines` for people. */
  result(value: Json, lines: readonly string[]): void {
    this.#write(this.json ? `${JSON.stringify(value)}\n` : lines.map((line) => `${line}\n`).join(""));
  }

  /** One event of a running service: a JSON line, or time, name and `summary`. Fields are never secrets. */
  event(name: string, fields: Readonly<Record<string, Json>>, summary: string, colour: Colour = "cyan", at = new Date()): void {
    const time = at.toISOString();
    if (this.json) this.#write(`${JSON.stringify({ time, event: name, ...fields })}\n`);
    else this.#write(`${this.paint("dim", time.slice(11, 23))} ${this.paint(colour, name.padEnd(13))} ${printable(summary)}\n`);
  }

  /** Help and version texts, as commander made them. */
  text(text: string): void {
    this.#write(text);
  }

  /** A hint for people on stderr, which no script reads. */
  note(text: string): void {
    if (!this.json) this.err.write(`${printable(text)}\n`);
  }

  /** The one line (or JSON object) an error is. */
  error(error: HawserError): void {
    this.#complain("error", "red", error);
  }

  /** Something that went wrong beside the command's own work, in the form of an error. */
  warning(error: HawserError): void {
    this.#complain("warning", "yellow", error);
  }

  /** For HAWSER_DEBUG only: where an error came from. */
  trace(error: unknown): void {
    this.err.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  }

  /**
   * Shows `label` on a terminal when the work takes more than a second.
   * @param notice said once elsewhere, where work that may take half a minute would look like a hang: on stderr, with --json as an event
   */
  startProgress(label: string, notice?: string): void {
    this.stopProgress();
    if (this.#isWatched) {
      let ticks = 0;
      this.#progress = setInterval(() => {
        ticks += 1;
        this.err.write(`\r${this.paint("dim", `${label}, ${ticks} s ...`, this.err)}`);
      }, 1000);
    } else if (notice !== undefined) {
      this.#progress = setTimeout(() => (this.json ? this.event("preparing", { what: notice }, notice) : this.note(notice)), NOTICE_MS);
    }
    this.#progress?.unref();
  }

  stopProgress(): void {
    if (this.#progress === undefined) return;
    clearInterval(this.#progress);
    this.#progress = undefined;
    if (this.#isWatched) this.err.write("\r\u001b[K");
  }

  /** Whether progress has somebody to see it. */
  get #isWatched(): boolean {
    return !this.json && this.err.isTTY === true;
  }

  /** To draw on; undefined where output is JSON, or goes to a pipe, a file, or a terminal that knows no cursor. */
  get screen(): Screen | undefined {
    const { out } = this;
    if (this.json || out.isTTY !== true || this.env["TERM"] === "dumb") return undefined;
    return {
      size: () => ({ columns: out.columns || 80, rows: out.rows || 24 }),
      write: (text) => this.#write(text),
      paint: (colour, text) => this.paint(colour, text),
      onResize: (then) => {
        out.on("resize", then);
        return () => out.off("resize", then);
      },
    };
  }

  paint(colour: Colour, text: string, stream: NodeJS.WriteStream = this.out): string {
    const wanted = stream.isTTY === true && (this.env["NO_COLOR"] ?? "") === "" && this.env["TERM"] !== "dumb";
    return wanted ? `\u001b[${ANSI[colour]}m${text}\u001b[0m` : text;
  }

  /** Resolves when all output has been handed to the system. */
  async flush(): Promise<void> {
    this.stopProgress();
    for (const stream of [this.out, this.err]) {
      if (stream === this.out && this.#closed) continue;
      await new Promise<void>((resolve) => {
        stream.write("", () => resolve());
      });
    }
  }

  #complain(kind: "error" | "warning", colour: Colour, error: HawserError): void {
    this.stopProgress();
    const message = printable(error.message);
    const next = printable(error.nextStep);
    if (this.json) {
      this.err.write(`${JSON.stringify({ [kind]: { code: error.code, message, next } })}\n`);
      return;
    }
    const advice = next === "" ? "" : ` Next: ${sentence(next)}`;
    this.err.write(`${this.paint(colour, `${kind} ${error.code}:`, this.err)} ${sentence(message)}${advice}\n`);
  }

  #write(text: string): void {
    this.stopProgress();
    if (this.#closed) return;
    if (this.#file === undefined) {
      this.out.write(text);
      return;
    }
    try {
      writeFileSync(this.#file, text);
    } catch (error) {
      this.#close(error);
    }
  }

  #close(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failure = outputFailure(error);
    for (const then of this.#onClosed) then();
  }
}

/** The descriptor, when it is a file's: what a disk that is filling up takes only a part of, Node's own stream gives up for written. */
function fileBehind({ fd }: NodeJS.WriteStream & { fd?: number }): number | undefined {
  return typeof fd === "number" && fstatSync(fd).isFile() ? fd : undefined;
}

const DISK_FULL: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file has reached its limit",
};

function outputFailure(error: unknown): HawserError | undefined {
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "EPIPE" || code === "ECONNRESET") return undefined;
  const full = DISK_FULL[code];
  const next = "Let the output go where it has room. What the command did stands.";
  return new HawserError(
    full === undefined ? "STORAGE_FAILED" : "STORAGE_FULL",
    `the output could not be written: ${full ?? message}`,
    next,
  );
}

/** Text that came from outside, made harmless for a terminal and one line long. */
export function printable(text: string): string {
  return text.replace(/[\r\n\t]+/g, " ").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "\ufffd");
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** Rows as aligned columns; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => rows.reduce((width, row) => Math.max(width, (row[column] ?? "").length), 0));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
