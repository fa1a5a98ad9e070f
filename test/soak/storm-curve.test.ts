import { describe, expect, it } from "vitest";
import type { Sample } from "../../sim/fleet/fleet-result.js";
import { stormCurve } from "./storm-curve.js";

const sample = (atMs: number, connected: number, attempts: number): Sample => ({
  atMs,
  connected,
  attempts,
  asleep: 0,
  messages: 0,
  waiting: 0,
  rssMb: 0,
  byCredential: {},
});

const events = [
  { atMs: 10_000, what: "outage: broker down" },
  { atMs: 20_000, what: "end of outage" },
];
const connections = { most: 100, accepted: 200, attempts: 900, allOnlineMs: 5_000, renewed: 0, devicesByCredential: {} };

describe("the curve of a reconnect storm", () => {
  it("counts from the broker's return, with samples that fall where they do", () => {
    const samples = [
      sample(9_000, 100, 100),
      sample(19_000, 0, 500),
      sample(21_000, 10, 520),
      sample(24_000, 60, 610),
      sample(26_000, 98, 650),
      sample(29_000, 99, 660),
      sample(31_000, 100, 662),
    ];
    expect(stormCurve({ samples, events, devices: 100, connections })).toEqual({
      peakPerSecond: (630 - 510) / 5,
      backMs: 9_000,
      attemptsPerDevice: 9,
      points: [
        { atMs: 5_000, online: 79, attemptsPerSecond: 24 },
        { atMs: 10_000, online: 99.5, attemptsPerSecond: (661 - 630) / 5 },
      ],
    });
  });

  it("says when a fleet never came back", () => {
    const samples = [sample(19_000, 0, 500), sample(40_000, 98, 900)];
    expect(stormCurve({ samples, events, devices: 100, connections }).backMs).toBeUndefined();
  });
});
