/** A fleet whose broker loses what stands behind it: for seconds nobody leaves mutual TLS, for minutes not all, and never all at once. */
import { expect, it } from "vitest";
import { Reason } from "../broker/broker-settings.js";
import { drainOnNode } from "../node-host.js";
import { World } from "./world.js";

const DEVICES = 20;

/** @returns when devices turned to their pre-shared keys, seconds after the trouble began */
async function refusedFor(seconds: number): Promise<{ leftAfter: number[]; violations: readonly unknown[]; online: number }> {
  const beginsMs = 600_000;
  const leftAfter: number[] = [];
  const left = new Set<string>();
  const world: World = new World({
    seed: `fleet ${seconds}`,
    devices: DEVICES,
    days: 0.02,
    backOnlineBoundMs: 900_000,
    faults: [],
    drain: drainOnNode,
    traits: {
      world: { lifetimeMs: 7 * 86_400_000, tlsVersion: "TLSv1.3" },
      device: { recoverable: true, bare: false, usesLogin: false, publishEveryMs: 300_000, commandEveryMs: 3_600_000 },
    },
    onLine: (line) => {
      const id = line.split(" ")[2] ?? "";
      if (!line.includes(" credential-changed from=mtls to=psk") || left.has(id)) return;
      left.add(id);
      leftAfter.push((world.time.nowMs - beginsMs) / 1_000);
    },
    script: ({ time, broker, devices }) => {
      time.at(beginsMs, () => {
        for (const { recovery } of devices) recovery.faultBegins();
        broker.stop("keeps");
        broker.start();
        broker.mood.refusal = Reason.notAuthorized;
      });
      time.at(beginsMs + seconds * 1_000, () => {
        broker.mood.refusal = undefined;
        for (const { recovery } of devices) recovery.faultEnds("backend away");
      });
    },
  });
  const { violations } = await world.run();
  return { leftAfter, violations, online: world.devices.filter(({ id }) => world.broker.isConnected(id)).length };
}

it.each([3, 170])("stays on mutual TLS through %i seconds", async (seconds) => {
  expect(await refusedFor(seconds)).toEqual({ leftAfter: [], violations: [], online: DEVICES });
});

it("leaves one by one in ten minutes, and most never", async () => {
  const { leftAfter, violations, online } = await refusedFor(600);
  expect([violations, online]).toEqual([[], DEVICES]);
  expect(Math.min(...leftAfter)).toBeGreaterThan(180);
  expect(leftAfter.length).toBeGreaterThan(0);
  expect(leftAfter.length).toBeLessThan((DEVICES * 3) / 4);
});
