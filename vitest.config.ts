import { rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// What a test's CAs are remembered by stays out of the developer's home.
const stateHome = join(tmpdir(), `hawser-test-state-${process.pid}`);
process.on("exit", () => rmSync(stateHome, { recursive: true, force: true }));

export default defineConfig({
  define: { HAWSER_VERSION: JSON.stringify("0.0.0-test") },
  test: {
    include: ["{sdk,sim,host-tools,firmware,test}/**/*.test.ts"],
    env: { HAWSER_STATE_DIR: stateHome },
    globalSetup: ["test/support/say-what-was-not-run.ts"],
    // A generous bound on liveness, never a measure: machines are noisy.
    testTimeout: 60_000,
    hookTimeout: 300_000,
    // A machine that does too much else may fail a test once; a fault fails it twice. `.ci/run` lists what needed its second attempt, and
    // `--retry=0` hunts for it.
    retry: 1,
    // Most of these files wait on brokers and child processes, so there is one more at a time than there are cores.
    maxWorkers: availableParallelism() + 1,
    // `npm run coverage`: what the sdk's own tests reach without real brokers, end-to-end tests and the virtual world. What only tests use
    // is not counted.
    coverage: {
      provider: "v8",
      include: ["sdk/**/*.ts"],
      exclude: ["**/*.d.ts", "**/*.test.ts"],
      reporter: ["text-summary", ["text", { skipFull: true }]],
      thresholds: { branches: 95 },
    },
  },
});
