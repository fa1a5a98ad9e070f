/** Runs the fuzzer of the TLS engine: real connections are recorded, then bent and fed to the engine by two processes. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildHarness } from "./build-harness.mjs";
import { type ConnectionSettings, type NativeDevice } from "./harness.js";

const run = promisify(execFile);
const PROCESSES = 2;
/**
 * Freed memory is kept from reuse until so much of it has come together: some hundred inputs' worth. The default, 256 MB, is out of every
 * cache.
 */
const ENVIRONMENT = { ...process.env, ASAN_OPTIONS: "quarantine_size_mb=8" };

export interface FuzzTotals {
  inputs: number;
  /** How the engines ended. */
  handshaking: number;
  open: number;
  closed: number;
  failed: number;
  /** Bytes of application data that came through. */
  received: number;
}

export interface FuzzOptions {
  inputs: number;
  seed: number;
  /** Under AddressSanitizer and UBSan, some five times slower. */
  sanitize: boolean;
  device: NativeDevice;
  /** The connections to record, each to a live server. */
  targets: readonly ConnectionSettings[];
}

/** Fails with the report, the seed and the number of the first input that crashes, leaks or gets stuck. */
export async function fuzz({ inputs, seed, sanitize, device, targets }: FuzzOptions): Promise<FuzzTotals> {
  const program = await buildHarness({ program: "fuzz", sanitize });
  const groups: string[] = [];
  for (const [index, target] of targets.entries()) {
    const words = await device.words(target);
    const file = join(device.folder, `recording-${index}`);
    await run(program, [device.keyFolder, "record", file, ...words], { timeout: 60_000 });
    groups.push("--", file, ...words);
  }
  const share = Math.ceil(inputs / PROCESSES);
  const parts = Array.from({ length: PROCESSES }, (_, index) =>
    run("nice", [program, device.keyFolder, "run", String(seed), String(index * share), String(share), ...groups], { env: ENVIRONMENT }),
  );
  // Both come to their end before a failure is reported, so that no process outlives the test.
  const ended = await Promise.allSettled(parts);
  const totals: FuzzTotals = { inputs: 0, handshaking: 0, open: 0, closed: 0, failed: 0, received: 0 };
  for (const part of ended) {
    if (part.status === "rejected") throw part.reason;
    const counts = JSON.parse(part.value.stdout) as FuzzTotals;
    for (const name of Object.keys(totals) as (keyof FuzzTotals)[]) totals[name] += counts[name];
  }
  return totals;
}
