// Part of `npm run lint`: phrases that make a reader stop are not used in texts that users read: help, errors, README and docs. Also the
// width of Markdown. CONTRIBUTING.md, "Words", says how texts are written.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MARKDOWN_COLUMNS = 120;
/** Written by `hawser policy docs`, with a row for each channel. */
const GENERATED = /^examples\/policies\/.*\/topics\.md$/;

/** Each phrase with what to write instead. "there is no X" is plain English. */
const HUNTED = [
  [/(?<!\b(?:there|where|here|it) )\b(?:is|are) no (?!longer\b|more\b|different\b)/i, '"is not a ..."'],
  [/\b(?:is|are) none\b/i, '"is not valid", "there is no ..."'],
  [/\banew\b/i, '"again"'],
  [/\b(?:goes|gone|go) on (?!to\b)/i, '"continues", "resumes"'],
  [/\bas (?:it|they) (?:was|were)\b/i, '"unchanged"'],
  [/\bby hand\b/i, '"manually"'],
  [/\bwithout a word\b/i, '"silently"'],
  [/\bin(?:to)? force\b/i, '"in effect", "active"'],
  [/\bcut off\b/i, '"interrupted"'],
  [/\bof (?:its|their|your) own(?= *(?:[.,:;)"]|$))/i, '"separate", "its own ..."'],
  [/\bmend(?:s|ed)?\b(?!":)/i, '"fix"'],
  [/\bwhole (?:JSON|certificate|files?)\b/i, '"complete"'],
];

const problems = [];

function check(file, line, text) {
  for (const [phrase, better] of HUNTED) {
    const found = phrase.exec(text);
    if (found !== null) problems.push(`${file}:${line}: "${found[0].trim()}": write ${better}`);
  }
}

const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
for (const file of files.filter((name) => name.endsWith(".md") && !GENERATED.test(name))) {
  let isCode = false;
  for (const [index, line] of readFileSync(ROOT + file, "utf8")
    .split("\n")
    .entries()) {
    if (line.length > MARKDOWN_COLUMNS) problems.push(`${file}:${index + 1}: ${line.length} columns; use at most ${MARKDOWN_COLUMNS}`);
    if (line.trimStart().startsWith("```")) isCode = !isCode;
    else if (!isCode) check(file, index + 1, line.replace(/`[^`]*`/g, ""));
  }
}
for (const file of files.filter(
  (name) => /^(sdk|sim|host-tools|firmware)\/.*\.(ts|mjs)$/.test(name) && !/\.test\.ts$|\.d\.m?ts$|\/mutations\//.test(name),
)) {
  const source = ts.createSourceFile(file, readFileSync(ROOT + file, "utf8"), ts.ScriptTarget.Latest, true);
  const visit = (node) => {
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      check(file, line + 1, node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
