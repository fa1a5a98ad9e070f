/**
 * Hostile servers against the TLS engine. HAWSER_FUZZ_INPUTS=1000000 makes the long run, all of it under sanitizers; HAWSER_FUZZ_SEED
 * chooses other inputs.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { fuzz } from "./fuzzing.js";
import { type ConnectionSettings, TLS_1_2 } from "./harness.js";
import { createWorld, mtls, psk, type World } from "./native-world.js";
import { no32Bits } from "../support/xs/pointer-sizes.js";

const LONG_RUN_INPUTS = Number(process.env["HAWSER_FUZZ_INPUTS"] ?? 0);
const SEED = Number(process.env["HAWSER_FUZZ_SEED"] ?? 1);
const HOUR_MS = 3_600_000;

let world: World;
beforeAll(async () => {
  world = await createWorld({ bits: no32Bits === undefined ? 32 : 64 });
});
afterAll(() => world?.stop());

const SHORT_RUNS = [
  { inputs: 50_000, sanitize: false },
  { inputs: 2_000, sanitize: true },
];
const RUNS = LONG_RUN_INPUTS > 0 ? [{ inputs: LONG_RUN_INPUTS, sanitize: true }] : SHORT_RUNS;

it.each(RUNS)("survives $inputs bent answers of real servers, sanitized: $sanitize", { timeout: 4 * HOUR_MS }, async (options) => {
  const targets: ConnectionSettings[] = [mtls(world, { maximum: TLS_1_2 }), mtls(world), psk(world, { maximum: TLS_1_2 }), psk(world)];
  const totals = await fuzz({ ...options, seed: SEED, device: world.device, targets });
  expect(totals.inputs).toBe(options.inputs);
  // The inputs go deep: some get through the handshake and are read as data, most are refused, some leave the engine waiting.
  expect(totals.received).toBeGreaterThan(0);
  expect(totals.open).toBeGreaterThan(totals.inputs / 100);
  expect(totals.failed).toBeGreaterThan(totals.inputs / 2);
  expect(totals.handshaking).toBeGreaterThan(totals.inputs / 100);
  expect(totals.handshaking + totals.open + totals.closed + totals.failed).toBe(totals.inputs);
});
