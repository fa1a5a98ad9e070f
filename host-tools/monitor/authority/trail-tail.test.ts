import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { auditLine, FIRST_HASH } from "../../ca-directory/audit-trail.js";
import { TrailTail } from "./trail-tail.js";
import type { AuthorityEvent } from "./trail-tail.js";

const AT = new Date("2026-11-28T09:53:55Z");
const line = (event: string, fields: Record<string, string | readonly string[]> = {}): string =>
  `${auditLine(FIRST_HASH, 1, AT, { event, ...fields })}\n`;

interface Followed {
  readonly path: string;
  readonly told: AuthorityEvent[];
  readonly gaps: string[];
  follow(from?: number): TrailTail;
}

function place(): Followed {
  const directory = mkdtempSync(join(tmpdir(), "hawser-trail-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const told: AuthorityEvent[] = [];
  const gaps: string[] = [];
  const owner = { event: (event: AuthorityEvent) => void told.push(event), shortened: () => void gaps.push("shortened") };
  return { path: join(directory, "audit.jsonl"), told, gaps, follow: (from) => new TrailTail(directory, owner, from) };
}

test("each finished line is told once, with what it says of the change and nothing of the chain", () => {
  const { path, told, follow } = place();
  const tail = follow(0);
  tail.poll();
  const entries = ["pump-1 0123"];
  writeFileSync(path, line("enrolled", { name: "pump-1", serial: "0a", entries }));
  appendFileSync(path, line("ca-created").slice(0, -1));
  tail.poll();
  tail.poll();
  const enrolled = { kind: "authority", change: "enrolled", name: "pump-1", detail: "serial=0a", timeMs: AT.getTime() };
  expect(told).toEqual([enrolled]);
  appendFileSync(path, "\n");
  tail.poll();
  expect(told).toEqual([enrolled, { kind: "authority", change: "ca-created", timeMs: AT.getTime() }]);
  const later = place();
  expect(later.follow(tail.offset).offset).toBe(tail.offset);
});

test("a reader goes on where another stopped, and without a place leaves out what is there", () => {
  const { path, told, follow } = place();
  const first = line("enrolled", { name: "a" });
  writeFileSync(path, first + line("enrolled", { name: "b" }));
  follow(first.length).poll();
  expect(told.map(({ name }) => name)).toEqual(["b"]);
  const fresh = follow();
  fresh.poll();
  appendFileSync(path, line("enrolled", { name: "c" }));
  fresh.poll();
  expect(told.map(({ name }) => name)).toEqual(["b", "c"]);
});

test("a trail that is shorter than it was is told, and followed from its end", () => {
  const { path, told, gaps, follow } = place();
  writeFileSync(path, line("enrolled", { name: "a" }));
  const tail = follow(0);
  tail.poll();
  truncateSync(path, 3);
  tail.poll();
  expect([told.length, gaps]).toEqual([1, ["shortened"]]);
});

test("what names say is bounded, and a line that is no event is passed over", () => {
  const { path, told, follow } = place();
  writeFileSync(path, `not json\n${line("sessions-ended", { ended: ["x".repeat(100_000)] })}{"event":"no-time"}\n`);
  follow(0).poll();
  expect(told).toMatchObject([{ change: "sessions-ended", detail: expect.stringMatching(/^ended=x{294}$/) as string }]);
});
