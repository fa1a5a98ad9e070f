/** `ErrorCode`, docs/errors.md and the source say the same. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const ROOMS = ["sdk", "firmware", "sim", "host-tools"];

const { options } = ts.parseJsonConfigFileContent(
  ts.readConfigFile(join(ROOT, "tsconfig.json"), (path) => ts.sys.readFile(path)).config,
  ts.sys,
  ROOT,
);
const sources = ROOMS.flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }).map((file) => join(ROOT, room, file)),
);
const files = sources.filter((file) => file.endsWith(".ts") && !/\.(test|d)\.ts$/.test(file));
const program = ts.createProgram(files, options);
const checker = program.getTypeChecker();

/** The members of a type of sdk/error-codes.ts. */
function codesOf(name: string): string[] {
  const module = checker.getSymbolAtLocation(program.getSourceFile(join(ROOT, "sdk/error-codes.ts"))!)!;
  const symbol = checker.getExportsOfModule(module).find((one) => one.name === name)!;
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  return (type.isUnion() ? type.types : [type]).map((one) => (one as ts.StringLiteralType).value).sort();
}

/** Texts in upper case anywhere in the source, the list itself left out. */
function textsInSource(): Set<string> {
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) || ts.isIdentifier(node)) found.add(node.text);
    ts.forEachChild(node, visit);
  };
  for (const file of files) if (!file.endsWith("error-codes.ts")) visit(program.getSourceFile(file)!);
  return found;
}

const documented = [
  ...readFileSync(join(ROOT, "docs/errors.md"), "utf8").matchAll(/^- \*\*`(\w+)`\*\*: (.+(?:\n {2}(?!Next:).+)*)\n {2}Next: \S/gm),
].map(([, code]) => code as string);

it("docs/errors.md has each code once, with a meaning and a next step, and no other", () => {
  expect([...documented].sort()).toEqual(codesOf("ErrorCode"));
});

it("each code of the type is used in the source", () => {
  const texts = textsInSource();
  // Refusals are made from the names of reason codes.
  const refusals = readFileSync(join(ROOT, "sdk/mqtt/contract/reason-codes.ts"), "utf8");
  const isRefusal = (code: string): boolean => refusals.toUpperCase().replaceAll(" ", "_").includes(`"${code}"`);
  expect(codesOf("ErrorCode").filter((code) => !texts.has(code) && !isRefusal(code))).toEqual([]);
});
