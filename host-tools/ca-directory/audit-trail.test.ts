import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendAuditLine, auditLine, FIRST_HASH, hashOfLine, readAuditHead, verifyAuditText } from "./audit-trail.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "hawser-audit-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function newTrail(lines: number): string {
  const path = join(directory, `${lines}.jsonl`);
  writeFileSync(path, "");
  for (let revision = 1; revision <= lines; revision++) {
    appendAuditLine(path, auditLine(readAuditHead(path).hash, revision, new Date(0), { event: "something", name: "dev1", detail: "x".repeat(300) }));
  }
  return path;
}

describe("the audit trail", () => {
  it("begins empty, and its head follows every line", () => {
    const path = newTrail(0);
    expect(readAuditHead(path)).toEqual({ hash: FIRST_HASH, revision: 0 });
    const line = auditLine(FIRST_HASH, 7, new Date(0), { event: "made" });
    appendAuditLine(path, line);
    expect(readAuditHead(path)).toEqual({ hash: hashOfLine(line), revision: 7 });
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ v: 1, revision: 7, at: "1970-01-01T00:00:00.000Z", event: "made", previous: FIRST_HASH });
  });

  it("is a chain however long it gets", () => {
    const path = newTrail(400);
    const text = readFileSync(path, "utf8");
    expect(text.length).toBeGreaterThan(2 * 64 * 1024);
    expect(verifyAuditText(text, readAuditHead(path).hash)).toMatchObject({ ok: true, lines: 400 });
  });

  it("loses a line that a crash cut short, and nothing else", () => {
    const path = newTrail(3);
    const whole = readFileSync(path, "utf8");
    const head = readAuditHead(path);
    for (const cut of ["{", '{"v":1,"revision":4', "x".repeat(5000)]) {
      writeFileSync(path, whole + cut);
      expect(readAuditHead(path)).toEqual(head);
      const line = auditLine(head.hash, 4, new Date(0), { event: "next" });
      appendAuditLine(path, line);
      expect(readFileSync(path, "utf8")).toBe(`${whole}${line}\n`);
    }
  });
});
