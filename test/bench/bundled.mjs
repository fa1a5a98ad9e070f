// Bundles a bench's entry and runs it. Build scripts (.mjs) are imported from where they lie: they look for C files beside themselves.
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const buildScripts = {
  name: "build-scripts",
  setup(builder) {
    builder.onResolve({ filter: /\.mjs$/ }, ({ path, resolveDir }) => ({
      path: pathToFileURL(resolve(resolveDir, path)).href,
      external: true,
    }));
  },
};

/**
 * @param {string} entry a TypeScript file, from the repository's root
 * @returns {Promise<string>} the bundle's path
 */
export async function bundled(entry) {
  const outfile = join(ROOT, ".cache", "bench", `${entry.replace(/\W+/g, "-")}.mjs`);
  await build({
    entryPoints: [join(ROOT, entry)],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    plugins: [buildScripts],
    logLevel: "warning",
  });
  return outfile;
}
