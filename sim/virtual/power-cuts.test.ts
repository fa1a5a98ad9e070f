import { describe, expect, it } from "vitest";
import { drainOnNode } from "./node-host.js";
import { playPowerCuts, POWER_CUT_SCENES, powerCutFigures } from "./power-cuts.js";

/** Of the pairs of the larger scenes, one in so many is played here; `npm run world -- power-cuts` plays all. */
const EVERY: Record<string, number> = { rotation: 1, root: 25, recovery: 1, outbox: 25, session: 300, sleep: 5, waking: 10 };

describe("a power cut at every write", () => {
  for (const scene of POWER_CUT_SCENES) {
    it(`breaks no promise in the scene "${scene.name}", nor do two`, async () => {
      const figures = await powerCutFigures(scene, "1", EVERY[scene.name] ?? 1, drainOnNode);
      expect(figures.broken).toEqual([]);
      expect(figures.singles).toBe(figures.moments);
      expect(figures.moments).toBeGreaterThanOrEqual(12);
      expect(figures.pairs).toBeGreaterThan(50);
    });
  }

  it("really cuts, where it is told to", async () => {
    const scene = POWER_CUT_SCENES.find((one) => one.name === "rotation")!;
    const whole = await playPowerCuts(scene, "1", [], drainOnNode);
    const cut = await playPowerCuts(scene, "1", [3], drainOnNode);
    expect(whole.moments).toBeGreaterThan(3);
    expect(cut.boots - whole.boots).toBe(1);
    expect((await playPowerCuts(scene, "1", [3, 2], drainOnNode)).boots - whole.boots).toBe(2);
  });
});
