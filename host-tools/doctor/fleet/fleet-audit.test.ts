import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json } from "../../../test/support/host-tools/test-fleet.js";
import { auditFleet } from "./fleet-audit.js";

const DAY_MS = 86_400_000;
const ids = (directory: string, nowMs = Date.now()): string[] =>
  auditFleet(directory, "2.0.11", nowMs)
    .findings.map(({ id, severity }) => `${id} ${severity}`)
    // The tests run as root, for whom the broker's files are.
    .filter((id) => id !== "HW004 medium");

test("a new fleet is sound; one that is left alone is not, for a reason a day", { timeout: 60_000 }, async () => {
  const cwd = await directoryWithCa({ brokerHosts: ["localhost"] });
  const ca = join(cwd, "ca");
  await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
  await json(cwd, "broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "out", "--mtls-port", "18883", "--psk-port", "18884");
  expect(ids(ca)).toEqual([]);
  const later = auditFleet(ca, "2.0.11", Date.now() + 400 * DAY_MS);
  const found = later.findings.map(({ id, what }) => `${id} ${what}`).join("\n");
  expect(found).toMatch(/HW083 The revocation list expired at/);
  expect(found).toMatch(/HW082 sensor-1: active, and without a certificate that is in date/);
  expect(found).toMatch(/HW046 The revocation list of/);
});

test("names that were shut out must be so in the broker's files", { timeout: 60_000 }, async () => {
  const cwd = await directoryWithCa({ brokerHosts: ["localhost"] });
  await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
  await json(cwd, "broker", "config", "--dir", "ca", "--for", "mosquitto", "--out", "out", "--mtls-port", "18883", "--psk-port", "18884");
  const yesterday = ["out/crl.pem", "out/psk.txt"].map((file) => [join(cwd, file), readFileSync(join(cwd, file), "utf8")] as const);
  // No broker runs that could prove that it has heard: the command says so, with 4.
  const revoked = await hawser(["revoke", "--dir", "ca", "--id", "sensor-1", "--json"], { cwd, env: ENV });
  expect([revoked.code, revoked.stderr]).toEqual([4, expect.stringContaining("OUTPUT_FAILED")]);
  expect(ids(join(cwd, "ca"))).toEqual([]);
  // What a broker has that was restored from yesterday's backup.
  for (const [path, text] of yesterday) writeFileSync(path, text);
  expect(ids(join(cwd, "ca")).sort()).toEqual(["HW085 high", "HW088 high"]);
});
