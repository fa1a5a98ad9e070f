import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { HAWSER_VERSION: JSON.stringify("0.0.0-test") },
  test: {
    include: ["{sdk,sim,host-tools,firmware,test}/**/*.test.ts"],
    // A generous bound on liveness, never a measure: machines are noisy.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    coverage: { provider: "v8", include: ["sdk/**/*.ts"], exclude: ["sdk/shims/**", "**/*.d.ts", "**/*.test.ts"] },
  },
});
