import { expect, it } from "vitest";
import { SteadyRun } from "./main.js";

it("goes through batches and broken connections, and leaves no record, timer or identifier behind", async () => {
  const run = new SteadyRun();
  const batches = async (): Promise<object> => {
    for (let n = 0; n < 10; n++) await run.batch(n % 5 === 4);
    const { records, recordBytes, timers, unacknowledged } = run.sample(() => undefined);
    return { records, recordBytes, timers, unacknowledged };
  };
  await run.begin();
  const before = await batches();
  expect(await batches()).toEqual(before);
  expect([run.confirmed, run.taken, run.reconnects]).toEqual([1_000, 1_000, 5]);
  expect(run.broker.repeated).toBeGreaterThan(0);
});
