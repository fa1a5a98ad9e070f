import { expect, test } from "vitest";
import { RecentCount } from "./recent-count.js";

const START_MS = Date.parse("2026-11-28T09:53:55Z");
const MINUTE_MS = 60_000;

test("what is older than a minute or an hour leaves its count, and stays in the total", () => {
  const count = new RecentCount();
  for (let minute = 0; minute < 180; minute += 1) count.add(START_MS + minute * MINUTE_MS);
  const newestMs = START_MS + 179 * MINUTE_MS;
  expect(count.at(newestMs)).toEqual({ lastMinute: 2, lastHour: 61, total: 180 });
  expect(count.at(newestMs + 30_000)).toEqual({ lastMinute: 1, lastHour: 60, total: 180 });
  expect(count.at(newestMs + 30 * MINUTE_MS)).toEqual({ lastMinute: 0, lastHour: 31, total: 180 });
  expect(count.at(newestMs + 1000 * MINUTE_MS)).toEqual({ lastMinute: 0, lastHour: 0, total: 180 });
});

test("nothing counted is nothing, and events that come late or after a pause of years count once", () => {
  const count = new RecentCount();
  expect(count.at(START_MS)).toEqual({ lastMinute: 0, lastHour: 0, total: 0 });
  count.add(START_MS);
  count.add(START_MS - 10 * MINUTE_MS);
  count.add(START_MS - 1000 * MINUTE_MS);
  expect(count.at(START_MS)).toEqual({ lastMinute: 1, lastHour: 2, total: 3 });
  const laterMs = START_MS + 3 * 365 * 24 * 60 * MINUTE_MS;
  count.add(laterMs);
  expect(count.at(laterMs)).toEqual({ lastMinute: 1, lastHour: 1, total: 4 });
});
