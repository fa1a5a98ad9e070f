import fc from "fast-check";
import { expect, test } from "vitest";
import { TopCounts } from "../../monitor/top/top-counts.js";
import { shownText, TOP_COLUMNS, topLines } from "./top-lines.js";

test("whatever senders call themselves, the table has 80 columns of printable ASCII and stays aligned", () => {
  const log = new TopCounts().at(0);
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.nat(), (offender, score) => {
      const states = { active: 100_000, reserved: 100_000, "certificate-revoked": 100_000, revoked: 100_000 };
      const lines = topLines({
        atMs: 0,
        broker: "rabbitmq",
        log: {
          ...log,
          version: offender,
          connected: 1e9,
          counts: { ...log.counts, refused: { lastMinute: 1e9, lastHour: 1e9, total: 1e12 } },
        },
        offenders: [{ rule: "denied-publishes", by: "claimedClient", offender, score }],
        fleet: {
          names: 400_000,
          states,
          expiring: { count: 1, first: [{ name: offender, notAfterMs: 0 }] },
          enrolments: { issued: 1e9, refused: 1e9 },
        },
        notices: [offender],
      });
      for (const { text } of lines) expect(text).toMatch(new RegExp(`^[ -~]{0,${TOP_COLUMNS}}$`));
    }),
  );
});

test("control characters, directions of writing and backslashes are shown as escapes", () => {
  expect(shownText("a\u001b[31m\u202e\\n", 60)).toBe("a\\u001b[31m\\u202e\\u005cn");
  expect(shownText("pump-1", 6)).toBe("pump-1");
  expect(shownText("pump-10", 6)).toBe("pump..");
});
