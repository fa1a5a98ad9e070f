import { expect, test } from "vitest";
import { auditLine, FIRST_HASH } from "../../ca-directory/audit-trail.js";
import { enrolmentsSince } from "./fleet-summary.js";

test("enrolments are counted by the audit trail's own lines, and what is older is left out", () => {
  const nowMs = Date.parse("2026-11-28T09:53:55Z");
  const line = (event: string, atMs: number): string => auditLine(FIRST_HASH, 1, new Date(atMs), { event, name: "pump-1" });
  const trail = [
    '"event":"enrolled","name":"half"}',
    line("enrolled", nowMs - 3_600_001),
    line("enrolled", nowMs - 3_600_000),
    line("enrolment-refused", nowMs),
    line("committed", nowMs),
    line("enrolled", nowMs),
    "",
  ];
  expect(enrolmentsSince(trail.join("\n"), nowMs - 3_600_000)).toEqual({ issued: 2, refused: 1 });
});
