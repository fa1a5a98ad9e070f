/** `--fix`: a hardened copy of a configuration. The originals are never touched. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import type { Edit, Finding } from "./finding.js";
import { readText } from "./mosquitto/conf-reader.js";

export interface Hardened {
  /** The copy of the main file. */
  readonly main: string;
  /** Every file written, below the new directory. */
  readonly written: readonly string[];
  readonly mended: readonly Finding[];
}

/** Options whose value is a file or directory. */
const PATH_OPTION =
  /^( *)(acl_file|password_file|psk_file|cafile|capath|certfile|keyfile|crlfile|dhparamfile|bridge_cafile|bridge_capath|bridge_certfile|bridge_keyfile|http_dir|include_dir|plugin_opt_(?:config_file|acl_file|password_file)|auth_opt_config_file)( +)(\S.*?)\s*$/;

/**
 * Writes the configuration files with the findings' edits into a new directory. Files that are not changed (certificates, keys, password
 * files) are not copied: the copy names them by their absolute path.
 *
 * @param files what the audit read, relative to the directory of `main`
 * @throws HawserError `OUT_EXISTS`
 */
export function writeHardened(main: string, files: readonly string[], findings: readonly Finding[], out: string): Hardened {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new HawserError("OUT_EXISTS", `${out} exists and is not empty`, "Use a directory that does not exist yet.");
  const directory = dirname(resolve(main));
  const edits = findings.flatMap((finding) => finding.edits);
  const edited = new Set(edits.map(({ place }) => place.file));
  const copied = [...new Set([...files, ...edited])].filter(
    (file) => !isAbsolute(file) && !relative(directory, resolve(directory, file)).startsWith(".."),
  );
  const written: string[] = [];
  mkdirSync(out, { recursive: true, mode: 0o700 });
  for (const file of copied) {
    const text = readText(join(directory, file));
    if (text === undefined) continue;
    const target = join(out, file);
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    const own = edits.filter(({ place }) => place.file === file);
    const mended = applyEdits(text, own);
    // The broker may keep passwords of bridges in its configuration: only its owner reads the copy.
    writeFileSync(target, files.includes(file) ? absolutePaths(mended, directory, copied) : mended, { mode: 0o600 });
    written.push(target);
  }
  const mended = findings.filter((finding) => finding.edits.length > 0 && finding.edits.every(({ place }) => copied.includes(place.file)));
  return { main: join(out, relative(directory, resolve(main))), written, mended };
}

/** Exported for tests. Two findings may want the same change; it is made once. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  const lines = text.split("\n");
  const replaced = new Map<number, readonly string[]>();
  const after = new Map<number, string[]>();
  for (const { place, action, lines: wanted } of edits) {
    if (action === "after") after.set(place.line, [...new Set([...(after.get(place.line) ?? []), ...wanted])]);
    else if (!replaced.has(place.line))
      replaced.set(place.line, action === "remove" ? [`# removed by hawser doctor: ${place.text}`] : wanted);
  }
  const result = [...(after.get(0) ?? [])];
  lines.forEach((line, index) => {
    const indent = /^ */.exec(line)?.[0] ?? "";
    result.push(
      ...(replaced.get(index + 1)?.map((wanted) => (wanted.startsWith("#") ? wanted : `${indent}${wanted}`)) ?? [line]),
      ...(after.get(index + 1) ?? []),
    );
  });
  return result.join("\n");
}

/** Names of files that stay where they are, made independent of the directory. */
function absolutePaths(text: string, directory: string, copied: readonly string[]): string {
  return text
    .split("\n")
    .map((line) => {
      const match = PATH_OPTION.exec(line);
      if (match === null) return line;
      const [, indent = "", option = "", gap = "", value = ""] = match;
      const isCopied = copied.some((file) => file === value || file.startsWith(`${value.replace(/\/$/, "")}/`));
      return isAbsolute(value) || isCopied ? line : `${indent}${option}${gap}${resolve(directory, value)}`;
    })
    .join("\n");
}
