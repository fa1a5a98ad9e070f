// Builds what is published: ES modules for Node (esbuild) and type declarations (tsc). `--no-types` leaves the declarations out, which
// makes it fast enough (under a second) to run before every start and test.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL(".", import.meta.url));
const withTypes = !process.argv.includes("--no-types");
const { version, dependencies, devDependencies, optionalDependencies, peerDependencies } = JSON.parse(
  readFileSync(`${root}package.json`, "utf8"),
);
/**
 * Packages of many files that each command on a CA needs: loading them one by one takes longer than the command. They stay dependencies, so
 * that audits see them, and are pinned to the version that is in here.
 */
const BUNDLED = ["@peculiar/x509", "reflect-metadata", "yaml"];
const PACKAGES = Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies, ...peerDependencies });
/** tsyringe, which x509 builds on, looks for it when it is loaded. */
const reflectMetadataFirst = {
  name: "reflect-metadata-first",
  setup({ onLoad }) {
    onLoad({ filter: /tsyringe.dist.esm5.index\.js$/ }, ({ path }) => ({
      contents: `import "reflect-metadata"; ${readFileSync(path, "utf8")}`,
      loader: "js",
    }));
  },
};

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
const { metafile } = await build({
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
  external: PACKAGES.filter((name) => !BUNDLED.includes(name)),
  // Of two forms of a package, that of which only what is used is taken.
  mainFields: ["module", "main"],
  alias: { yaml: "./node_modules/yaml/browser/index.js" },
  plugins: [reflectMetadataFirst],
  metafile: true,
  sourcemap: true,
  logLevel: "warning",
  define: { HAWSER_VERSION: JSON.stringify(version) },
});
writeFileSync(`${root}dist/THIRD-PARTY-LICENSES.txt`, licensesOf(Object.keys(metafile.inputs)));
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

/** The licenses of packages whose code is in dist, which ask to go with it. */
function licensesOf(files) {
  const folders = new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []));
  const texts = [...folders].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(`${root}${folder}/package.json`, "utf8"));
    const file = readdirSync(root + folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${folder} has no license that could go with it`);
    return `${name} ${version}\n\n${readFileSync(`${root}${folder}/${file}`, "utf8").trim()}\n`;
  });
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}
