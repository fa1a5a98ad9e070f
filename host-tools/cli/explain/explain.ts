/** Explains codes by docs/errors.md, and lines of a lean device by the texts that its build left out. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { HawserError } from "../../../sdk/errors.js";
import { meaningsOf } from "../../explain/error-page.js";
import { hasText, withTexts } from "../../explain/lean-text.js";
import type { LeanTexts } from "../../explain/lean-text.js";
import type { Context } from "../command-runner.js";
import { printable } from "../terminal.js";

export interface ExplainOptions {
  words: readonly string[];
  texts?: string;
  json?: boolean;
}

export async function explain({ words, texts: file }: ExplainOptions, { terminal }: Context): Promise<void> {
  if (words.length === 0) {
    const texts = readTexts(file);
    for await (const line of createInterface({ input: process.stdin })) {
      const text = printable(withTexts(line, texts));
      terminal.result({ text }, [text]);
    }
    return;
  }
  for (const word of words) {
    if (/^[A-Z][A-Z0-9_]*$/.test(word)) {
      const { code, meaning, nextStep } = meaningOf(word);
      terminal.result({ code, meaning, nextStep }, [`${code}: ${meaning}`, `  Next: ${nextStep}`]);
    } else {
      const text = textOf(word, readTexts(file));
      terminal.result({ text }, [text]);
    }
  }
}

function meaningOf(code: string): ReturnType<typeof meaningsOf>[number] {
  const found = meaningsOf(readFileSync(join(packageRoot(), "docs", "errors.md"), "utf8")).find((one) => one.code === code);
  if (found === undefined) throw new HawserError("USAGE", `unknown error code ${code}`, "See docs/errors.md for all of them.");
  return found;
}

function textOf(word: string, texts: LeanTexts): string {
  if (hasText(word, texts)) return printable(withTexts(word, texts));
  throw new HawserError(
    "USAGE",
    `neither an error code nor a text of this build: ${JSON.stringify(word)}`,
    "Give --texts FILE, the lean-texts.json that was made with the firmware.",
  );
}

function readTexts(given: string | undefined): LeanTexts {
  const file = given ?? join(packageRoot(), "dist", "xs", "lean-texts.json");
  if (given === undefined && !existsSync(file))
    throw new HawserError("NOT_FOUND", `no texts of a lean build at ${file}`, "Give --texts FILE, or run npm run build first.");
  const texts: unknown = parsed(readFileSync(file, "utf8"));
  if (!areTexts(texts))
    throw new HawserError("NOT_FOUND", `no texts of a lean build in ${file}`, "Give the lean-texts.json that the build wrote.");
  return texts;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function areTexts(value: unknown): value is LeanTexts {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((text) => Array.isArray(text) && text.length > 0 && text.every((one) => typeof one === "string"));
}
