/**
 * `npm run bench:xs`: what a device costs on XS at 32 bits with its code in ROM, beside its budgets, and beside Moddable's own MQTT client
 * where `$MODDABLE` leads to one.
 * Bytes and byte codes, counted by the engine and by Mbed TLS: the same on every machine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureBudgets } from "../../support/xs/budgets.js";
import { Plant } from "../../support/xs/plant.js";
import { createWorld, mtls, psk } from "../../native/native-world.js";
import { TLS_1_2, TLS_1_3, type ConnectionSettings } from "../../native/harness.js";
import { profileDeviceHeap } from "./profile/device-heap.js";
import { profileHeap, profileMessage, type Rows } from "./profile/profile.js";
import { ecma419Source, measureEcma419, measureHawser, type PlainFigures } from "./plain-clients.js";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const grouped = (value: number): string => value.toLocaleString("en-US");

async function showBudgets(folder: string): Promise<void> {
  const plant = await Plant.build();
  try {
    print(`${"a device over mutual TLS, 32 bits".padEnd(66)} ${"measured".padStart(9)} ${"target".padStart(8)}`);
    for (const { name, value, target, unit } of await measureBudgets(plant, folder, "bench")) {
      const bar = Number.isFinite(target) ? `${grouped(target).padStart(8)}  ${value <= target ? "met" : "missed"}` : "";
      print(`${name.padEnd(66)} ${grouped(value).padStart(9)} ${bar} ${unit}`.trimEnd());
    }
    showRows("live heap of the device that each step adds, bytes", await profileDeviceHeap(plant, folder));
  } finally {
    await plant.close();
  }
}

/** Budgets of Mbed TLS's heap, PSA's and the engine's own included, bytes. */
const TLS_PEAK_BYTES = 40_960;
const TLS_AFTER_BYTES = 22_528;
/** What the firmware asks servers for, bytes. */
const FRAGMENT_BYTES = 4_096;

async function showTlsHeap(): Promise<void> {
  const world = await createWorld({ bits: 32 });
  const cases: readonly (readonly [string, ConnectionSettings])[] = [
    ["mTLS 1.3", mtls(world, { maximum: TLS_1_3, fragment: FRAGMENT_BYTES })],
    ["mTLS 1.2", mtls(world, { maximum: TLS_1_2, fragment: FRAGMENT_BYTES })],
    ["PSK 1.3", psk(world, { maximum: TLS_1_3, fragment: FRAGMENT_BYTES })],
    ["PSK 1.2", psk(world, { maximum: TLS_1_2, fragment: FRAGMENT_BYTES })],
  ];
  try {
    print(`\n${"heap of Mbed TLS against mosquitto, 32 bits, bytes".padEnd(52)} ${"handshake".padStart(10)} ${"after".padStart(8)}`);
    for (const [name, settings] of cases) {
      const { peakInHandshake, peakAfterHandshake } = await world.device.connectOnce(settings);
      const verdict = peakInHandshake <= TLS_PEAK_BYTES && peakAfterHandshake <= TLS_AFTER_BYTES ? "met" : "missed";
      print(
        `${name.padEnd(52)} ${grouped(peakInHandshake).padStart(10)} ${grouped(peakAfterHandshake).padStart(8)}  targets ${grouped(TLS_PEAK_BYTES)} and ${grouped(TLS_AFTER_BYTES)}: ${verdict}`,
      );
    }
  } finally {
    await world.stop();
  }
}

function showPlain(rows: readonly PlainFigures[]): void {
  print(
    `\n${"MQTT 3.1.1 over plain TCP, 32 bits".padEnd(30)} ${"bundle".padStart(10)} ${"live heap".padStart(10)} ${"byte codes a QoS 1 message".padStart(28)}`,
  );
  for (const { client, bundleBytes, liveHeapBytes, meterPerMessage } of rows) {
    print(
      `${client.padEnd(34)} ${grouped(bundleBytes).padStart(6)} ${grouped(liveHeapBytes).padStart(10)} ${grouped(meterPerMessage).padStart(28)}`,
    );
  }
}

function showRows(title: string, rows: Rows): void {
  print(`\n${title}`);
  for (const [name, value] of rows) print(`${name.padEnd(76)} ${grouped(value).padStart(9)}`);
}

const folder = mkdtempSync(join(tmpdir(), "hawser-bench-xs-"));
try {
  await showBudgets(folder);
  await showTlsHeap();
  const source = ecma419Source();
  const hawser = await measureHawser(folder);
  showPlain([hawser, ...(source === undefined ? [] : [await measureEcma419(folder, source)])]);
  if (source === undefined)
    print("Moddable's ECMA-419 client was not measured: set MODDABLE to a Moddable SDK (its mqttclient.js is read from there).");
  const wholePerMessage = hawser.meterPerMessage;
  showRows("byte codes of that QoS 1 message, by module (profiled build)", await profileMessage(folder, wholePerMessage));
  showRows("live heap of that client that each step adds, bytes", await profileHeap(folder));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
