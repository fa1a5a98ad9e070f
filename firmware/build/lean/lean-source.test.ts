import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { withTexts } from "../../../host-tools/explain/lean-text.js";
import { packageRoot } from "../project-files.js";
import { internalNames } from "./internal-names.js";
import { leanSource } from "./lean-source.js";
import { TextTable } from "./text-table.js";

const room = join(packageRoot(), "sdk");
const sources = readdirSync(room, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => readFileSync(join(room, file), "utf8"));

/** The one identifier in what was made. */
function only(source: string): { made: string; id: string; table: TextTable } {
  const table = new TextTable();
  const made = leanSource(source, { texts: table });
  const [id = ""] = Object.keys(table.all);
  return { made, id, table };
}

it("puts an identifier in place of an error's message and next step, and keeps its code and the message's values", () => {
  const { made, id, table } = only(
    'throw new HawserError("INVALID_ID", `the id ${JSON.stringify(id)} is too long`, "Choose a shorter id.");',
  );
  expect(made).toBe(`throw new HawserError("INVALID_ID", \`{${id}|\${JSON.stringify(id)}}\`);`);
  expect(withTexts(`error INVALID_ID: {${id}|"a b"}`, table.all)).toBe(
    'error INVALID_ID: the id "a b" is too long. Next: Choose a shorter id.',
  );
});

it("puts identifiers in place of texts in each other", () => {
  const table = new TextTable();
  const made = leanSource('const fit = `must be ${found ? `one of ${list}` : "left out"}, it has ${length}`;', { texts: table });
  const say = (found: boolean, list: string): unknown => new Function("found", "list", "length", `${made} return fit;`)(found, list, 7);
  expect(made).not.toMatch(/must|left|one of/);
  expect(withTexts(String(say(true, 'a|b {"c":1}')), table.all)).toBe('must be one of a|b {"c":1}, it has 7');
  expect(withTexts(String(say(false, "")), table.all)).toBe("must be left out, it has 7");
});

it("leaves names, separators, labels of keys and what is compared alone", () => {
  const source = `
import { a } from "./a file.js";
const salt = utf8Encode(\`hawser psk\\n\${salt}\`);
const REASONS = { 0: ["normal disconnection"] };
log("warn", list.join(", "), message === "would block", \` \${a}\`);
`;
  expect(leanSource(source, { texts: new TextTable() })).toBe(source);
});

it("gives two texts of one build never the same identifier", () => {
  const table = new TextTable();
  const ids = Array.from({ length: 20_000 }, (_, n) => table.idOf([`the text with number ${n}`]));
  expect(new Set(ids).size).toBe(20_000);
  const { all } = table;
  expect(ids.every((id, n) => all[id]?.[0] === `the text with number ${n}`)).toBe(true);
});

it("answers every question for the version of MQTT that the source asks", () => {
  const asks = /version\)? (?:===|!==|<|>|<=|>=) [45]\b|\? [45] : [45]|oneOf\(4/i;
  const asking = sources.filter((source) => asks.test(source));
  expect(asking.length).toBeGreaterThan(10);
  for (const protocolVersion of [4, 5] as const) {
    const left = asking.map((source) => leanSource(source, { protocolVersion })).filter((source) => asks.test(source));
    // The one module that chooses is left out as a whole.
    expect(left.map((source) => /export class (\w+)/.exec(source)?.[1])).toEqual(["VersionChoice"]);
  }
});

it("shortens names of members that nothing outside can see, and no other", () => {
  const names = internalNames(join(packageRoot(), "firmware", "device-bundle.ts"));
  expect(names.length).toBeGreaterThan(100);
  expect(names).toContain("saveReceived");
  for (const name of ["publish", "nextStep", "code", "keySlot", "active", "salts", "onReadable", "putAway", "length", "cmd", "topics"])
    expect(names).not.toContain(name);
});
