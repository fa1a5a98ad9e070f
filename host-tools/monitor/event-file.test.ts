import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { EventFile } from "./event-file.js";
import type { EventFileLimits } from "./event-file.js";

const AT = { log: { inode: 1, offset: 0, head: "0", modifiedMs: 0 }, reader: { owed: 0 } };

function place(): string {
  const directory = mkdtempSync(join(tmpdir(), "hawser-events-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "e.jsonl");
}

function append(path: string, limits: EventFileLimits, texts: readonly string[]): void {
  const file = new EventFile(path, limits);
  for (const text of texts) file.append({ text }, AT);
  file.checkpoint(AT);
  file.close();
}

const sequence = (path: string): number[] =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { seq: number }).seq);

test("no file exceeds the limit, however many events come between two checkpoints, and none of them is lost", () => {
  const path = place();
  const limits = { maxBytes: 100_000, keep: 100 };
  append(
    path,
    limits,
    Array.from({ length: 5000 }, (_, index) => "é".repeat(index % 50)),
  );
  append(path, limits, ["after a restart"]);
  const ages = Array.from({ length: 100 }, (_, index) => `${path}.${index + 1}`).filter((name) => existsSync(name));
  const files = [path, ...ages].reverse();
  expect(files.length).toBeGreaterThan(5);
  for (const file of files) expect(statSync(file).size).toBeLessThanOrEqual(limits.maxBytes);
  // Full to within one event.
  for (const file of files.slice(0, -1)) expect(statSync(file).size).toBeGreaterThan(limits.maxBytes - 300);
  expect(files.flatMap(sequence)).toEqual(Array.from({ length: 5001 }, (_, index) => index + 1));
});

test("an event that is larger than the limit has a file to itself", () => {
  const path = place();
  append(path, { maxBytes: 500, keep: 3 }, ["a", "b".repeat(600), "c"]);
  expect([`${path}.2`, `${path}.1`, path].map(sequence)).toEqual([[1], [2], [3]]);
});
