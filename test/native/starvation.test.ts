/**
 * Memory runs out at every point, one attempt each: nothing may crash, leak or spoil what comes after. Each n-th allocation is failed in
 * turn; HAWSER_STARVE_STRIDE=1 fails every single one, where the normal suite leaps (by primes, so that it never keeps step with a loop).
 *
 * Two flaws of Mbed TLS 3.6.6 show here, both only when memory is out at that very moment:
 * - TLS 1.3: when the second of a direction's two traffic keys cannot be imported, the first stays in PSA for good (a slot and 32 bytes);
 *   `mbedtls_ssl_tls13_compute_handshake_transform` and `..._application_transform` free the transform without destroying its key.
 * - TLS 1.2: `ssl_compute_master` goes on after a failed transcript hash and reads 16 bytes past it, which AddressSanitizer stops;
 *   the keys come out wrong and the handshake fails. So 1.2 starves without sanitizers.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectionSettings, Kind, NativeDevice, TLS_1_2, TLS_1_3 } from "./harness.js";
import { createWorld, mtls, psk, type World } from "./native-world.js";
import { no32Bits } from "../support/xs/pointer-sizes.js";

const GIVEN_STRIDE = Number(process.env["HAWSER_STARVE_STRIDE"] ?? 0);
const HOUR_MS = 3_600_000;
/** The places where Mbed TLS strands a key: two transforms, a few allocations each, in each of two handshakes. */
const STRANDED_MOST = 12;
/** Alerts that would be taken for a verdict on our certificate: running out of memory must not look like a lost credential. */
const VERDICTS = [41, 42, 43, 44, 45, 46, 48, 49, 116];

const timeout = GIVEN_STRIDE > 0 ? 4 * HOUR_MS : 300_000;

describe.each([
  {
    build: "under sanitizers",
    sanitize: true,
    cases: [
      ["mTLS, TLS 1.3", (world: World) => mtls(world, { minimum: TLS_1_3, session: true, stride: GIVEN_STRIDE || 307 })],
      ["PSK, TLS 1.3", (world: World) => psk(world, { minimum: TLS_1_3, stride: GIVEN_STRIDE || 53 })],
    ] as [string, (world: World) => ConnectionSettings][],
  },
  {
    build: "at 32 bits without sanitizers",
    sanitize: false,
    cases: [
      ["mTLS, TLS 1.2", (world: World) => mtls(world, { maximum: TLS_1_2, session: true, stride: GIVEN_STRIDE || 211 })],
      ["PSK, TLS 1.2", (world: World) => psk(world, { maximum: TLS_1_2, stride: GIVEN_STRIDE || 23 })],
    ] as [string, (world: World) => ConnectionSettings][],
  },
])("when an allocation fails, nothing leaks and the next attempt works, $build", ({ sanitize, cases }) => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ sanitize, bits: sanitize || no32Bits !== undefined ? 64 : 32 });
  });
  afterAll(() => world?.stop());

  it.each(cases)("%s", { timeout }, async (_case, settings) => {
    const result = await world.device.starve(settings(world));
    expect(result).toMatchObject({ good: true, leaks: 0 });
    expect(result.allocations).toBeGreaterThan(2000);
    expect(result.strandedKeys).toBeLessThanOrEqual(STRANDED_MOST);
    expect(result.kinds[Kind.noMemory]).toBeGreaterThan(0);
    expect([result.kinds[Kind.keyMissing], result.kinds[Kind.keyMismatch]]).toEqual([0, 0]);
    expect(result.alerts.filter((alert) => VERDICTS.includes(alert))).toEqual([]);
  });

  it("a heap too small is told as such, and never as a server that cannot be trusted", { timeout }, async () => {
    for (const settings of cases.map(([, make]) => make(world))) {
      const result = await world.device.squeeze({ ...settings, stride: 509 });
      expect(result).toMatchObject({ good: true, leaks: 0, alerts: [] });
      expect([result.kinds[Kind.verify], result.kinds[Kind.keyMissing], result.kinds[Kind.keyMismatch]]).toEqual([0, 0, 0]);
      expect(result.kinds[Kind.noMemory]).toBeGreaterThan(20);
    }
  });
});

it("when an allocation of the key store fails, nothing leaks and the next operation works", { timeout }, async () => {
  const device = await NativeDevice.create();
  try {
    const result = await device.starveKeys(GIVEN_STRIDE || 97);
    expect(result).toMatchObject({ good: true, leaks: 0, strandedKeys: 0 });
    expect(result.allocations).toBeGreaterThan(2000);
  } finally {
    await device.remove();
  }
});
