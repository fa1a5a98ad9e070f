import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { provisionDevice, Scene } from "../../../test/support/host-tools/scene.js";
import { auditLine, FIRST_HASH } from "../../ca-directory/audit-trail.js";
import { enrolmentsSince, Fleet } from "./fleet-summary.js";

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

const scene = new Scene();
afterEach(() => scene.clean());

test("a registry is read again only after a change of the CA", async () => {
  const ca = await scene.ca();
  await provisionDevice(ca, "pump-1");
  let clockMs = 0;
  // Each look at the clock takes a second: so does reading.
  const fleet = new Fleet(ca.directory, () => (clockMs += 1000));
  expect(fleet.summary(Date.now())).toMatchObject({ names: 1, states: { active: 1 } });
  const [registry, aside] = [join(ca.directory, "registry"), join(ca.directory, "..", "aside")];
  renameSync(registry, aside);
  mkdirSync(registry);
  // Nothing to be read there, and nothing changed: what was read counts.
  expect(fleet.summary(Date.now())).toMatchObject({ names: 1 });
  renameSync(aside, registry);
  await provisionDevice(ca, "pump-2");
  // It is the CA of before until nineteen times as long has passed.
  expect(fleet.summary(Date.now())).toMatchObject({ names: 1 });
  clockMs += 20_000;
  expect(fleet.summary(Date.now())).toMatchObject({ names: 2, states: { active: 2 } });
});
