import { expect, test } from "vitest";
import { MAX_CLIENTS, TopCounts } from "./top-counts.js";

const timeMs = Date.parse("2026-11-28T09:53:55Z");

test("who is connected follows from the log, each client once, and a restart of the broker ends all", () => {
  const counts = new TopCounts();
  const connect = (client?: string): void =>
    counts.event({ kind: "connected", address: "192.0.2.7", ...(client === undefined ? {} : { client }), timeMs });
  for (const client of ["a", "b", "c", "d", undefined]) connect(client);
  counts.event({ kind: "taken-over", client: "a", timeMs });
  connect("a");
  counts.event({ kind: "disconnected", client: "b", timeMs });
  counts.event({ kind: "timed-out", client: "c", timeMs });
  counts.event({ kind: "refused", reason: "password", claimedClient: "d", timeMs });
  expect(counts.at(timeMs)).toMatchObject({
    connected: 2,
    counts: { connected: { total: 6 }, refused: { total: 1 }, "taken-over": { total: 1 } },
    refusals: { password: { total: 1 }, psk: { total: 0 } },
  });
  counts.event({ kind: "broker-started", version: "2.0.21", timeMs });
  expect(counts.at(timeMs)).toMatchObject({ version: "2.0.21", connected: 0 });
});

test("invented client ids do not fill the memory, and the count says that it is not all", () => {
  const counts = new TopCounts();
  for (let number = 0; number <= MAX_CLIENTS; number += 1)
    counts.event({ kind: "connected", address: "::1", client: `x${number}`, timeMs });
  expect(counts.at(timeMs)).toMatchObject({ connected: MAX_CLIENTS, isConnectedFull: true });
});
