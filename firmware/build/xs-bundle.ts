/** Bundles a device program for an engine without Node into one ES module. The simulator and the firmware build both use it, so they run the same bytes. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { build, type Plugin } from "esbuild";
import { HawserError } from "../../sdk/errors.js";

export interface BundleOptions {
  /** Absolute path of the program's first module. */
  entry: string;
  /** Where the bundle goes; its folder is made. */
  outputFile: string;
  /** Modules left out, by absolute path: imported at run time by the name given here, as a preloaded SDK is. */
  separate?: Readonly<Record<string, string>>;
  /** Keep names and lines as written: for reading a stack trace. Default false. */
  readable?: boolean;
}

export interface Bundle {
  file: string;
  sizeBytes: number;
}

/**
 * @throws HawserError `BUNDLE_FAILED` naming the file and line that cannot be bundled
 */
export async function bundleDevice(options: BundleOptions): Promise<Bundle> {
  if (!existsSync(options.entry)) throw new HawserError("BUNDLE_FAILED", `there is no ${options.entry}`, "Name the program's first module.");
  try {
    const result = await build({
      entryPoints: [options.entry],
      outfile: options.outputFile,
      bundle: true,
      format: "esm",
      platform: "neutral",
      target: "es2022",
      mainFields: ["main"],
      minify: !options.readable,
      plugins: [separateModules(options.separate ?? {})],
      metafile: true,
      logLevel: "silent",
    });
    return { file: options.outputFile, sizeBytes: Object.values(result.metafile.outputs)[0]?.bytes ?? 0 };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HawserError("BUNDLE_FAILED", `${options.entry} cannot be bundled for a device: ${reason}`, "Import nothing of Node in a device program.");
  }
}

function separateModules(names: Readonly<Record<string, string>>): Plugin {
  return {
    name: "hawser-separate",
    setup(builder) {
      builder.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
        const name = names[resolve(resolveDir, path).replace(/\.js$/, ".ts")];
        return name === undefined ? undefined : { path: name, external: true };
      });
    },
  };
}
