/**
 * The heap that TLS takes on a 32-bit device, PSA's and the engine's own included: what Mbed TLS and the engine ask for, without the
 * allocator's overhead. The budget is the product's: at most 40 KB at the peak of a handshake, 22 KB after it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONNACK, type ConnectionResult, type ConnectionSettings, TLS_1_2, TLS_1_3 } from "./harness.js";
import { createWorld, mtls, psk, type World } from "./native-world.js";
import { no32Bits } from "../support/xs/pointer-sizes.js";

const KIB = 1024;
const PEAK_BUDGET = 40 * KIB;
const AFTER_BUDGET = 22 * KIB;

let world: World;
const figures: string[] = [];
beforeAll(async () => {
  if (no32Bits === undefined) world = await createWorld({ bits: 32 });
});
afterAll(async () => {
  await world?.stop();
  // Figures are the point of this file: they are printed whether they fit or not.
  process.stdout.write(`\nMbed TLS heap at 32 bits, bytes: handshake peak / after / peak while used\n${figures.join("\n")}\n`);
});

function check(name: string, result: ConnectionResult | undefined, resumed = false): void {
  expect(result).toMatchObject({ opened: true, head: CONNACK, resumed });
  if (!result) return;
  const { peakInHandshake, liveAfterHandshake, peakAfterHandshake } = result;
  figures.push(`  ${name.padEnd(40)} ${peakInHandshake} / ${liveAfterHandshake} / ${peakAfterHandshake}`);
  expect(peakInHandshake).toBeLessThanOrEqual(PEAK_BUDGET);
  expect(liveAfterHandshake).toBeLessThanOrEqual(AFTER_BUDGET);
  expect(peakAfterHandshake).toBeLessThanOrEqual(AFTER_BUDGET);
  expect(liveAfterHandshake).toBeGreaterThan(4 * KIB);
}

describe.skipIf(no32Bits)("the heap of TLS at 32 bits stays within budget", () => {
  const cases: [string, () => ConnectionSettings][] = [];
  for (const [name, version] of [
    ["TLS 1.3", TLS_1_3],
    ["TLS 1.2", TLS_1_2],
  ] as const) {
    for (const fragment of [1024, 2048, 4096]) {
      cases.push([`mTLS, ${name}, records of ${fragment}`, () => mtls(world, { maximum: version, fragment })]);
    }
    cases.push([`PSK, ${name}, records of 4096`, () => psk(world, { maximum: version, fragment: 4096 })]);
  }
  it.each(cases)("%s", async (name, settings) => {
    check(name, await world.device.connectOnce(settings()));
  });

  it.each([
    ["TLS 1.3", TLS_1_3],
    ["TLS 1.2", TLS_1_2],
  ])("resumption, %s", async (name, maximum) => {
    const same = mtls(world, { maximum, fragment: 4096, session: true });
    const [first, second] = await world.device.connect(same, same);
    check(`mTLS with a session store, ${name}`, first);
    check(`mTLS resumed, ${name}`, second, true);
  });
});
