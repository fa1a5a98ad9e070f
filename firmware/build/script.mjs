/** How a build script begins and ends: the words after its name, and what it says when something is missing. */
import { parseArgs } from "node:util";

/** Its message is for people; printed without a stack. */
export class Missing extends Error {}

/** The words after the script's name are none that it takes. */
export class BadArgument extends Error {}

/**
 * Runs a script's work; what is missing is said plainly, with 1. Asked for help, it prints `usage` instead; words that mean nothing end it
 * with 2. Both come before anything is looked for.
 * @param {{ command: string, usage: string, takesSettings?: boolean }} script `command`: as people type it; `takesSettings`: words like
 *   `name=value`
 * @param {(settings: string[]) => Promise<unknown>} work
 */
export async function runScript({ command, usage, takesSettings = false }, work) {
  try {
    const settings = readWords(command, takesSettings);
    if (settings === undefined) return say(usage);
    await work(settings);
  } catch (error) {
    const isPlain = error instanceof Missing || error instanceof BadArgument;
    process.stderr.write(`${isPlain ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = error instanceof BadArgument ? 2 : 1;
  }
}

/** @returns the settings; undefined when help is asked for */
function readWords(command, takesSettings) {
  const { values, positionals } = parse(command);
  if (values.help) return undefined;
  const stray = positionals.find((word) => !takesSettings || !/^[^=]+=/.test(word));
  if (stray !== undefined)
    throw refused(
      command,
      `unknown ${takesSettings ? "setting or option" : "option"} ${JSON.stringify(stray)}${takesSettings ? " (settings are name=value)" : ""}`,
    );
  return positionals;
}

function parse(command) {
  try {
    return parseArgs({ options: { help: { type: "boolean", short: "h" } }, allowPositionals: true });
  } catch (error) {
    throw refused(command, error.message.replace(/\. To specify a positional argument .*/s, "").replace(/\s+/g, " "));
  }
}

/** `npm run` keeps options to itself without `--`. */
function refused(command, what) {
  return new BadArgument(`error BAD_ARGUMENT: ${what}. Next: Run: ${command}${command.startsWith("npm") ? " --" : ""} --help.`);
}

export const say = (line) => process.stdout.write(`${line}\n`);
