/**
 * The native TLS engine has a fuzzer of its own in C (test/native/c/fuzz.c), which a test builds, records real servers for, and drives:
 * started from here.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** Runs it under AddressSanitizer and UBSan. @returns the exit code; the report goes to the terminal */
export function fuzzTls(inputs: number, seed: string): number {
  const env = { ...process.env, HAWSER_FUZZ_INPUTS: String(inputs), HAWSER_FUZZ_SEED: seed };
  const vitest = join("node_modules", "vitest", "vitest.mjs");
  return spawnSync(process.execPath, [vitest, "run", "test/native/fuzz.test.ts"], { env, stdio: "inherit" }).status ?? 1;
}
