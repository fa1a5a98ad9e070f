/**
 * Bundles a device program for an engine without Node: one ES module, the SDK and what it needs of mqtt-packet, with thin shims
 * (`sdk/shims`) where mqtt-packet asks for Node's parts. The simulator and the firmware build both use it, so they run the same bytes.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { build, type Plugin } from "esbuild";
import { HawserError } from "../../sdk/errors.js";
import { packageRoot } from "./project-files.js";

export interface BundleOptions {
  /** Absolute path of the program's first module. */
  entry: string;
  /** Where the bundle goes; its folder is made. */
  outputFile: string;
  /** Modules left out, by absolute path: imported at run time by the name given here, as a preloaded SDK is. */
  separate?: Readonly<Record<string, string>>;
  /** Keep names and lines as written: for reading a stack trace. Default false. */
  readable?: boolean;
  /** Take all of mqtt-packet, its parser too, which the SDK does not use: to test the shims. Default false. */
  wholeMqttPacket?: boolean;
}

export interface Bundle {
  file: string;
  sizeBytes: number;
}

/** What CommonJS code gets for `require(name)`: some modules return a function rather than an object of exports. */
const SHIMS: Readonly<Record<string, string>> = {
  bl: "module.exports = require('./bl.ts').default;",
  buffer: "module.exports = require('./buffer.ts');",
  debug: "module.exports = require('./debug.ts').default;",
  events: "module.exports = require('./events.ts');",
  "process-nextick-args": "module.exports = require('./process-nextick-args.ts');",
};

const WRITING_HALF = "exports.generate = require('mqtt-packet/generate.js'); exports.writeToStream = require('mqtt-packet/writeToStream.js');";

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
      plugins: [shims(options.wholeMqttPacket ?? false), separateModules(options.separate ?? {})],
      metafile: true,
      logLevel: "silent",
    });
    return { file: options.outputFile, sizeBytes: Object.values(result.metafile.outputs)[0]?.bytes ?? 0 };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HawserError("BUNDLE_FAILED", `${options.entry} cannot be bundled for a device: ${reason}`, "Import nothing of Node in a device program.");
  }
}

function shims(wholeMqttPacket: boolean): Plugin {
  const shimFolder = join(packageRoot(), "sdk", "shims");
  return {
    name: "hawser-shims",
    setup(builder) {
      const names = new RegExp(`^(${Object.keys(SHIMS).join("|")})$`);
      builder.onResolve({ filter: names }, ({ path }) => ({ path, namespace: "hawser-shim" }));
      builder.onLoad({ filter: /.*/, namespace: "hawser-shim" }, ({ path }) => ({ contents: SHIMS[path] ?? "", resolveDir: shimFolder }));
      if (wholeMqttPacket) return;
      builder.onResolve({ filter: /^mqtt-packet$/ }, ({ path }) => ({ path, namespace: "hawser-packet" }));
      builder.onLoad({ filter: /.*/, namespace: "hawser-packet" }, () => ({ contents: WRITING_HALF, resolveDir: shimFolder }));
    },
  };
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
