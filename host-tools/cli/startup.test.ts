import { build } from "esbuild";
import type { Metafile } from "esbuild";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Packages that a program needs before its first line runs: what its imports lead to, those in functions left out. */
function packagesAtStart({ inputs }: Metafile, entry: string): string[] {
  const seen = new Set([entry]);
  for (const file of seen) for (const { path, kind } of inputs[file]?.imports ?? []) if (kind === "import-statement") seen.add(path);
  return [...seen].filter((path) => inputs[path] === undefined && !path.startsWith("node:")).sort();
}

test("the command line starts with the reader of its options alone; certificates, YAML and schemas are loaded by the command that needs them", async () => {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ["host-tools/cli/main.ts"],
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    packages: "external",
    outdir: "unused",
    write: false,
    metafile: true,
    define: { HAWSER_VERSION: '"0"' },
  });
  expect(packagesAtStart(metafile, "host-tools/cli/main.ts")).toEqual(["commander"]);
});
