/** Bundles a product's own program for a device without Node, as its author wrote it: names and lines stay, and a source map tells them. */
import { isBuiltin } from "node:module";
import { basename, relative } from "node:path";
import { build, type BuildFailure, type Message, type Plugin } from "esbuild";
import { errorMessage, HawserError } from "../../sdk/errors.js";

/** What a program may import of the package, wherever it runs. The rest is for Node, or of the one board. */
export const PROGRAM_MODULES = ["hawser", "hawser/mqtt", "hawser/presets", "hawser/reports"] as const;

const WORLD = "Take what the program needs of the world from its parameters: { device, clock, scheduler, random, sensor, onButton }.";

/** The detail of esbuild's message that tells an import that no device has. */
const NO_DEVICE = "no-device-has-it";

/**
 * Writes the program to `outputFile` and its source map beside it (`.map`). {@link PROGRAM_MODULES} stay imports by their names.
 * @throws HawserError `BAD_PROGRAM` naming the file, line and import that no device has; `BUNDLE_FAILED` for anything else
 */
export async function bundleProgram(source: string, outputFile: string): Promise<void> {
  try {
    await build({
      entryPoints: [source],
      outfile: outputFile,
      bundle: true,
      format: "esm",
      platform: "neutral",
      target: "es2022",
      mainFields: ["module", "main"],
      sourcemap: "external",
      plugins: [deviceImports()],
      logLevel: "silent",
    });
  } catch (error) {
    const refused = (error as Partial<BuildFailure>).errors?.find(({ detail }) => detail === NO_DEVICE);
    if (refused !== undefined) throw new HawserError("BAD_PROGRAM", `${placeOf(refused, source)}${refused.text}`, WORLD);
    throw new HawserError("BUNDLE_FAILED", `${source} cannot be bundled: ${errorMessage(error)}`, "Fix what the message names.");
  }
}

function placeOf({ location }: Message, source: string): string {
  return location === null ? `${basename(source)} ` : `${relative(process.cwd(), location.file)}:${location.line} `;
}

function deviceImports(): Plugin {
  return {
    name: "hawser-device-imports",
    setup(builder) {
      builder.onResolve({ filter: /^hawser(\/|$)/ }, ({ path }) =>
        PROGRAM_MODULES.some((name) => name === path)
          ? { path, external: true }
          : {
              errors: [{ text: `imports ${JSON.stringify(path)}, which is not for programs that run on every device`, detail: NO_DEVICE }],
            },
      );
      builder.onResolve({ filter: /^[^./]/ }, ({ path }) =>
        isBuiltin(path)
          ? { errors: [{ text: `imports ${JSON.stringify(path)}, a module of Node that no device has`, detail: NO_DEVICE }] }
          : undefined,
      );
    },
  };
}
