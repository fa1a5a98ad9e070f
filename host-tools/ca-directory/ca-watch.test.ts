import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Scene } from "../../test/support/host-tools/scene.js";
import { watchCa } from "./ca-watch.js";

const scene = new Scene();
const stops: (() => void)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  await scene.clean();
});

it("tells of each change, of a burst of them once, and of nothing when nothing changed", async () => {
  const ca = await scene.ca();
  let calls = 0;
  let tell = (): void => undefined;
  const told = (): Promise<void> => new Promise((resolve) => (tell = resolve));
  const onChange = (): void => {
    calls += 1;
    tell();
  };
  const first = told();
  stops.push(watchCa(ca.directory, onChange));
  await ca.brokerMaterial();
  await ca.renewCrl();
  await first;
  const second = told();
  for (const number of [7, 8, 9]) writeFileSync(join(ca.directory, "revision"), `${number} ${"0".repeat(64)}\n`);
  await second;
  expect(calls).toBe(2);
});

it("finds changes by looking, where the system does not tell, and bears a directory that goes away", async () => {
  const ca = await scene.ca();
  const changed = new Promise<void>((resolve) => stops.push(watchCa(ca.directory, resolve, { gatherMs: 1, pollMs: 20 })));
  await ca.renewCrl();
  await changed;
  rmSync(ca.directory, { recursive: true });
  const nothing = watchCa(ca.directory, () => undefined, { pollMs: 10 });
  nothing();
});
