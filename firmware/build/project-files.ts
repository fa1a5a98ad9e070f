/** Where things lie: the package this file belongs to, and the cache for what is built from it. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder with Hawser's own package.json, whether this runs from source or bundled in `dist`. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, "utf8")) as { name?: string }).name === "hawser") return folder;
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no hawser package around ${fileURLToPath(import.meta.url)}`);
    folder = parent;
  }
}

/** Everything in it can be deleted at any time. `HAWSER_CACHE` moves it, for a package folder that cannot be written. */
export function cacheFolder(): string {
  return process.env["HAWSER_CACHE"] ?? join(packageRoot(), ".cache");
}
