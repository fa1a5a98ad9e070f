/** Reads mosquitto.conf and the files it includes, in the order and by the rules of mosquitto itself. */
import { readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { readRegularFile } from "../../../sim/node/files/safe-path.js";
import type { Place } from "../finding.js";

/** One line that sets something. */
export interface Directive {
  readonly name: string;
  /** All behind the name, without blanks at its ends. A `# comment` behind it is part of it. */
  readonly value: string;
  /** The value cut at blanks: what boolean, number and word options read the first of. */
  readonly words: readonly string[];
  readonly place: Place;
}

/** A file begins; each one starts at the default listener again. */
export interface FileStart {
  readonly file: string;
}

export type ConfEvent =
  { readonly kind: "start"; readonly file: string } | { readonly kind: "end" } | { readonly kind: "line"; readonly directive: Directive };

export interface ReadProblem {
  readonly what: string;
  readonly place: Place;
}

export interface ReadConf {
  readonly events: readonly ConfEvent[];
  readonly problems: readonly ReadProblem[];
  /** Every configuration file read, with its text, by the name it has in places. */
  readonly files: ReadonlyMap<string, string>;
  /** Where relative paths are resolved: the directory of the main file. */
  readonly directory: string;
}

/** Larger than any configuration; keeps a wrong file name (a device, a disk image) from filling memory. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

/** Reads a text file of a bounded size; what is missing, or is a pipe or device, is undefined. */
export function readText(path: string): string | undefined {
  try {
    return readRegularFile(path, MAX_FILE_BYTES).bytes.toString("utf8");
  } catch {
    return undefined;
  }
}

/**
 * A configuration that a person named.
 * @throws HawserError `NOT_A_FILE`; the file system's error
 */
export function readConfigText(path: string): string {
  return readRegularFile(path, MAX_FILE_BYTES).bytes.toString("utf8");
}

/** @throws HawserError `NOT_A_FILE`; the file system's error when the main file cannot be read */
export function readConf(mainFile: string): ReadConf {
  const directory = resolve(mainFile, "..");
  const name = relative(directory, resolve(mainFile));
  const files = new Map<string, string>();
  const problems: ReadProblem[] = [];
  const events: ConfEvent[] = [];
  const read = (file: string, text: string, level: number): void => {
    files.set(file, text);
    events.push({ kind: "start", file });
    for (const directive of directivesOf(file, text)) {
      events.push({ kind: "line", directive });
      if (directive.name === "include_dir" && level === 0 && directive.value !== "") includeAll(directive);
    }
    events.push({ kind: "end" });
  };
  const includeAll = (directive: Directive): void => {
    const { place } = directive;
    const folder = directive.value;
    let names: string[];
    try {
      names = readdirSync(resolve(directory, folder)).filter((entry) => entry.endsWith(".conf") && entry.length > 5);
    } catch {
      problems.push({ what: `include_dir ${folder} cannot be opened, so the broker does not start`, place });
      return;
    }
    for (const entry of names.sort(inMosquittosOrder)) {
      const path = join(folder, entry);
      const text = readText(resolve(directory, path));
      if (text === undefined) problems.push({ what: `the included file ${path} cannot be read, so the broker does not start`, place });
      else read(path, text, 1);
    }
  };
  read(name, readConfigText(mainFile), 0);
  return { events, problems, files, directory };
}

function directivesOf(file: string, text: string): Directive[] {
  const directives: Directive[] = [];
  text.split("\n").forEach((raw, index) => {
    // Only a # in the very first column makes a comment, and only blanks separate: a tab is part of the name.
    const line = raw.replace(/[\r\n]+$/, "");
    if (line.startsWith("#") || /^ *$/.test(line)) return;
    const body = line.replace(/^ +/, "");
    const end = body.indexOf(" ");
    const name = end === -1 ? body : body.slice(0, end);
    const value = end === -1 ? "" : body.slice(end + 1).replace(/^[ \t]+|[\s]+$/g, "");
    directives.push({
      name,
      value,
      words: value.split(" ").filter((word) => word !== ""),
      place: { file, line: index + 1, text: line.trim() },
    });
  });
  return directives;
}

/** Case-insensitive first, as mosquitto's scmp_p. */
function inMosquittosOrder(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const [x = "", y = ""] = [a[index], b[index]];
    const difference = x.toUpperCase().charCodeAt(0) - y.toUpperCase().charCodeAt(0) || x.charCodeAt(0) - y.charCodeAt(0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
