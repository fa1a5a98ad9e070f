import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, RunningCli, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

beforeAll(buildCli);

test("what a killed demo left, its keys among it, the next one clears away; what it cannot know to be dead it leaves alone", async () => {
  const cwd = temporaryDirectory();
  const left = (): string[] => readdirSync(cwd).sort();
  const demo = async (): Promise<RunningCli> => {
    const running = new RunningCli(["demo", "--engine", "embedded"], { cwd, env: { TMPDIR: cwd } });
    await running.waitFor("step");
    return running;
  };
  mkdirSync(join(cwd, "hawser-demo-1"));
  const killed = await demo();
  const dead = left().find((name) => name !== "hawser-demo-1");
  const neighbour = await demo();
  expect(left()).toHaveLength(3);
  killed.signal("SIGKILL");
  await killed.ended;
  expect(left()).toContain(dead);
  const next = await demo();
  expect(left()).toHaveLength(3);
  expect(left()).not.toContain(dead);
  for (const running of [neighbour, next]) running.signal("SIGTERM");
  await Promise.all([neighbour.ended, next.ended]);
  expect(left()).toEqual(["hawser-demo-1"]);
});
