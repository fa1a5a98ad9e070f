// Builds what is published: ES modules for Node (esbuild) and type declarations (tsc). `--no-types` leaves the declarations out, which
// makes it fast enough (under a second) to run before every start and test.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL(".", import.meta.url));
const withTypes = !process.argv.includes("--no-types");
const version = JSON.parse(readFileSync(`${root}package.json`, "utf8")).version;

const ENTRY_POINTS = [
  "sdk/index.ts",
  "sdk/mqtt/index.ts",
  "sdk/presets/index.ts",
  "sdk/reports/index.ts",
  "sim/index.ts",
  "sim/node/index.ts",
  "sim/virtual/main.ts",
  "sim/fleet/fleet-process.ts",
  "sim/fleet/stall-watch.ts",
  "host-tools/index.ts",
  "host-tools/testing/index.ts",
  "host-tools/testing/vitest.ts",
  "host-tools/cli/main.ts",
  "test/bench/main.ts",
  "test/bench/signers.ts",
  "test/bench/factory/bench-station.ts",
  "test/bench/decisions.ts",
  "test/bench/bench-registry.ts",
  "test/bench/bench-policy.ts",
  "test/attacks/run/main.ts",
  "test/attacks/run/attacker.ts",
  "test/attacks/run/honest-devices.ts",
  "test/soak/main.ts",
  "test/soak/agents.ts",
  "test/soak/storm.ts",
  "test/soak/fleet-soak.ts",
  "test/bench/sink.ts",
  "test/fuzz/main.ts",
].filter((file) => existsSync(root + file));

if (withTypes) rmSync(`${root}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: ENTRY_POINTS,
  outbase: ".",
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  sourcemap: true,
  logLevel: "warning",
  define: { HAWSER_VERSION: JSON.stringify(version) },
});
const cli = `${root}dist/host-tools/cli/main.js`;
if (existsSync(cli)) chmodSync(cli, 0o755);

if (withTypes) {
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", `${root}tsconfig.types.json`], { stdio: "inherit" });
  // What Moddable projects compile: see manifest.json.
  const { buildDeviceBundle, buildDeviceTypes, buildLeanBundles } = await import("./firmware/build/device-bundle.mjs");
  await buildDeviceBundle();
  await buildLeanBundles();
  buildDeviceTypes();
}
