/** Bundles {@link file://./ca-worker.ts}, or {@link file://./authority-worker.ts}, for Node. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** Into `room`, which must be below the package: what npm installed is found from there. */
export function buildWorker(room: string, name: "ca-worker" | "authority-worker" = "ca-worker"): string {
  const outfile = join(room, `${name}.mjs`);
  const entry = join(fileURLToPath(new URL(".", import.meta.url)), `${name}.ts`);
  buildSync({
    entryPoints: [entry],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "error",
  });
  return outfile;
}
