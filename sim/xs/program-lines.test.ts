import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { bundleProgram } from "../../firmware/build/program-bundle.js";
import { ProgramLines } from "./program-lines.js";

it("tells a line of the bundle as its author's, and leaves frames of others alone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-lines-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "inner.ts"), "\n\n// Three lines down.\nexport function inner(): never {\n  throw new Error('x');\n}\n");
  writeFileSync(
    join(folder, "main.ts"),
    `import { inner } from "./inner.ts";\ninterface Gone {}\nexport default (_: Gone) => {\n  inner();\n};\n`,
  );
  const bundle = join(folder, "out", "program.mjs");
  await bundleProgram(join(folder, "main.ts"), bundle);
  const text = readFileSync(bundle, "utf8");
  const lines = new ProgramLines(bundle, text, readFileSync(`${bundle}.map`, "utf8"));
  const lineOf = (code: string): number => text.split("\n").findIndex((line) => line.includes(code)) + 1;
  const stack = ["Error: x", ` at inner (${bundle}:${lineOf("throw new")})`, ` at (${bundle}:${lineOf("  inner();")})`, " at later ()"];
  expect(lines.written(stack.join("\n")).split("\n")).toEqual([
    "Error: x",
    `    at inner (${join(folder, "inner.ts")}:5:1)`,
    `    at <anonymous> (${join(folder, "main.ts")}:4:1)`,
    " at later ()",
  ]);
});
