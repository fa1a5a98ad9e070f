import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendAuditLine, AuditDigest, auditLine, FIRST_HASH, hashOfLine, readAuditHead, verifyAuditText } from "./audit-trail.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "hawser-audit-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function append(path: string, line: string): void {
  appendAuditLine(path, readAuditHead(path).sizeBytes, line);
}

function newTrail(lines: number): string {
  const path = join(directory, `${lines}.jsonl`);
  writeFileSync(path, "");
  for (let revision = 1; revision <= lines; revision++) {
    append(path, auditLine(readAuditHead(path).head, revision, new Date(0), { event: "something", name: "dev1", detail: "x".repeat(300) }));
  }
  return path;
}

describe("the audit trail", () => {
  it("has a head however long its last line is: a change of the passphrase names every device", () => {
    const path = newTrail(2);
    const line = auditLine(readAuditHead(path).head, 3, new Date(0), { event: "passphrase-changed", detail: "x".repeat(2 ** 20) });
    append(path, line);
    expect(readAuditHead(path).head).toBe(hashOfLine(line));
    append(path, auditLine(readAuditHead(path).head, 4, new Date(0), { event: "made" }));
    expect(verifyAuditText(readFileSync(path, "utf8"))).toMatchObject({ ok: true, lines: 4 });
  });

  it("begins empty, and its head follows every line", () => {
    const path = newTrail(0);
    expect(readAuditHead(path)).toEqual({ head: FIRST_HASH, sizeBytes: 0 });
    const line = auditLine(FIRST_HASH, 7, new Date(0), { event: "made" });
    append(path, line);
    expect(readAuditHead(path)).toEqual({ head: hashOfLine(line), sizeBytes: line.length + 1 });
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      v: 1,
      revision: 7,
      at: "1970-01-01T00:00:00.000Z",
      event: "made",
      previous: FIRST_HASH,
    });
  });

  it("is a chain however long it gets", () => {
    const path = newTrail(400);
    const text = readFileSync(path, "utf8");
    expect(text.length).toBeGreaterThan(2 * 64 * 1024);
    expect(verifyAuditText(text, readAuditHead(path).head)).toMatchObject({ ok: true, lines: 400 });
  });

  it("loses a line that a crash cut short, and nothing else", () => {
    const path = newTrail(3);
    const whole = readFileSync(path, "utf8");
    const { head, sizeBytes } = readAuditHead(path);
    for (const cut of ["{", '{"v":1,"revision":4', "x".repeat(5000)]) {
      writeFileSync(path, whole + cut);
      const line = auditLine(head, 4, new Date(0), { event: "next" });
      for (let time = 0; time < 2; time += 1) appendAuditLine(path, sizeBytes, line);
      expect(readFileSync(path, "utf8")).toBe(`${whole}${line}\n`);
    }
    expect(() => appendAuditLine(path, 1_000_000, "x")).toThrow("shorter");
  });

  it("has one digest, whether it is read at once or grows line by line", () => {
    const path = newTrail(5);
    const grown = new AuditDigest();
    grown.catchUp(path);
    const line = auditLine(grown.sealed.head, 6, new Date(0), { event: "next" });
    const foretold = grown.with(line);
    append(path, line);
    grown.catchUp(path);
    const whole = new AuditDigest();
    whole.catchUp(path);
    expect(grown.sealed).toEqual(foretold);
    expect(whole.sealed).toEqual(foretold);
  });
});
