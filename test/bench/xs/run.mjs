// `npm run bench:xs`: bundles main.ts and runs it. Build scripts (.mjs) are imported from where they lie: they look for C files beside
// themselves.
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const outfile = join(ROOT, ".cache", "bench", "xs.mjs");
const buildScripts = {
  name: "build-scripts",
  setup(builder) {
    builder.onResolve({ filter: /\.mjs$/ }, ({ path, resolveDir }) => ({
      path: pathToFileURL(resolve(resolveDir, path)).href,
      external: true,
    }));
  },
};
await build({
  entryPoints: [join(ROOT, "test/bench/xs/main.ts")],
  outfile,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  plugins: [buildScripts],
  logLevel: "warning",
});
await import(pathToFileURL(outfile).href);
