/**
 * How the tools of a checkout (`npm run world`, `fuzz`, `bench`) read their command lines: every value within bounds, every refusal one
 * line with a next step.
 */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { errorMessage, HawserError } from "../../../sdk/errors.js";

/** Both ends are allowed. */
export interface Range {
  readonly lowest: number;
  readonly highest: number;
}

export class CommandLine {
  /** @param command as people type it: `npm run bench` */
  constructor(private readonly command: string) {}

  /** Node's own `parseArgs`. Throws `BAD_ARGUMENT`. */
  parse<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
    try {
      return parseArgs<T>(config);
    } catch (error) {
      // Node would have words that begin with a dash put behind another `--`; nothing here takes such words.
      throw this.bad(
        errorMessage(error)
          .replace(/\. To specify a positional argument .*/s, "")
          .replace(/\s+/g, " "),
      );
    }
  }

  /** A number as people write it, `10,000` and `1e3` among them. Throws `BAD_ARGUMENT`. */
  number(option: string, text: string, range: Range): number {
    return this.#numberIn(option, text, range, "number", Number.isFinite);
  }

  /** Throws `BAD_ARGUMENT`. */
  wholeNumber(option: string, text: string, range: Range): number {
    return this.#numberIn(option, text, range, "whole number", Number.isSafeInteger);
  }

  /** What was asked for cannot be done. `next`: one line; by default where to read how to ask. */
  bad(what: string, next = `Run: ${this.command} -- --help`): HawserError {
    return new HawserError("BAD_ARGUMENT", what, next);
  }

  #numberIn(option: string, text: string, range: Range, kind: string, isKind: (value: number) => boolean): number {
    const value = text.trim() === "" ? Number.NaN : Number(text.replaceAll(/[_,]/g, ""));
    if (isKind(value) && value >= range.lowest && value <= range.highest) return value;
    throw this.bad(`${option} wants a ${kind} ${rangeText(range)}, not ${JSON.stringify(text)}`);
  }
}

export function rangeText({ lowest, highest }: Range): string {
  return `from ${lowest.toLocaleString("en-US")} to ${highest.toLocaleString("en-US")}`;
}

/** A typed error as the one line that the `hawser` command makes of it. Anything else is a defect and keeps its stack. */
export function errorText(error: unknown): string {
  if (!(error instanceof HawserError)) return `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
  return `error ${error.code}: ${sentence(error.message)}${error.nextStep === "" ? "" : ` Next: ${sentence(error.nextStep)}`}\n`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
