import { describe, expect, it } from "vitest";
import { SeededRandom } from "./random.js";
import { medianStorm, POLICIES, storm, STORM, stormTable } from "./storm.js";

const figures = (name: string) => {
  const found = POLICIES.find((one) => one.name.startsWith(name));
  return medianStorm(STORM, found!.policy, ["1", "2", "3"]);
};

describe("a storm of 10,000 devices", () => {
  it("confirms what others measured for fixed delays and for Azure's", () => {
    expect(figures("fixed 1 s")).toEqual({
      peakAttemptsPerSecond: 10_000,
      attemptsPerDevice: expect.closeTo(624, -1),
      backMs: expect.closeTo(49_500, -4),
    });
    const slow = figures("fixed 10 s");
    expect(slow.peakAttemptsPerSecond).toBe(10_000);
    expect(slow.backMs).toBeGreaterThan(450_000);
    const azure = figures("Azure");
    expect(azure.attemptsPerDevice).toBeGreaterThan(22);
    expect(azure.peakAttemptsPerSecond).toBeGreaterThan(1_000);
  });

  it("is spread by full jitter to about what the broker can take", () => {
    const ours = figures("Hawser");
    expect(ours.peakAttemptsPerSecond).toBeLessThan(240);
    expect(ours.attemptsPerDevice).toBeLessThan(20);
    expect(ours.backMs).toBeLessThan(150_000);
  });

  it("is the same for the same seed", () => {
    const policy = POLICIES.at(-1)!.policy;
    const scene = { ...STORM, devices: 500, acceptsPerSecond: 10 };
    expect(storm(scene, policy, new SeededRandom("7"))).toEqual(storm(scene, policy, new SeededRandom("7")));
    expect(storm(scene, policy, new SeededRandom("7"))).not.toEqual(storm(scene, policy, new SeededRandom("8")));
  });

  it("is told in one table", () => {
    const rows = POLICIES.map(({ name, policy }) => ({ name, figures: storm({ ...STORM, devices: 200 }, policy, new SeededRandom("1")) }));
    const lines = stormTable(rows).trimEnd().split("\n");
    expect(lines).toHaveLength(5);
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });
});
