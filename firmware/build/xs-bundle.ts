/**
 * Bundles a device program for an engine without Node into one ES module. The simulator and the firmware build both use it, so they run the
 * same bytes.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { build, type Plugin } from "esbuild";
import { HawserError } from "../../sdk/errors.js";
import type { LeanTexts } from "./lean/text-table.js";

export interface BundleOptions {
  /** Absolute path of the program's first module. */
  entry: string;
  /** Where the bundle goes; its folder is made. */
  outputFile: string;
  /** Modules left out, by absolute path: imported at run time by the name given here, as a preloaded SDK is. */
  separate?: Readonly<Record<string, string>>;
  /** Keep names and lines as written: for reading a stack trace. Default false. */
  readable?: boolean;
  /** Leave out the texts of errors and logs: identifiers stand in their place. Default: they stay. */
  lean?: LeanOptions;
  /** Changes a module's source before it is bundled: to measure it. */
  rewrite?: (source: string, path: string) => string;
}

export interface LeanOptions {
  /** Speak this version of MQTT only, and leave the other out: 5 for 5.0, 4 for 3.1.1. Default: both. */
  protocolVersion?: 4 | 5;
}

export interface Bundle {
  file: string;
  sizeBytes: number;
  /** The bytes of each module in it, the largest first; by its path below the package's folder. */
  modules: readonly (readonly [path: string, sizeBytes: number])[];
  /** The texts that a lean bundle left out, by identifier. */
  texts: LeanTexts;
}

/**
 * @throws HawserError `BUNDLE_FAILED` naming the file and line that cannot be bundled
 */
export async function bundleDevice(options: BundleOptions): Promise<Bundle> {
  if (!existsSync(options.entry))
    throw new HawserError("BUNDLE_FAILED", `${options.entry} does not exist`, "Pass the path of the program's entry module.");
  const lean = await leanBuild(options);
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
      minifySyntax: !options.readable || lean.only !== undefined,
      ...(!options.readable && { mangleProps: new RegExp(`^(?:_\\$.*${lean.internalNames.map((name) => `|${name}`).join("")})$`) }),
      ...(lean.only && { define: { HAWSER_ONLY_VERSION: String(lean.only) } }),
      plugins: [separateModules(options.separate ?? {}), sharedMethods(lean.rewrite)],
      metafile: true,
      logLevel: "silent",
    });
    const [{ bytes = 0, inputs = {} } = {}] = Object.values(result.metafile.outputs);
    const modules = Object.entries(inputs).map(([path, { bytesInOutput }]) => [path, bytesInOutput] as const);
    return {
      file: options.outputFile,
      sizeBytes: bytes,
      modules: modules.sort(([, one], [, other]) => other - one),
      texts: lean.texts(),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HawserError(
      "BUNDLE_FAILED",
      `${options.entry} cannot be bundled for a device: ${reason}`,
      "Import nothing of Node in a device program.",
    );
  }
}

interface LeanBuild {
  only: 4 | 5 | undefined;
  /** Of members that the minifier may shorten. */
  internalNames: readonly string[];
  rewrite: (source: string, path: string) => string;
  texts: () => LeanTexts;
}

/** Loaded where it is wanted: it needs the TypeScript compiler. */
async function leanBuild({ entry, lean, rewrite }: BundleOptions): Promise<LeanBuild> {
  if (lean === undefined) return { only: undefined, internalNames: [], rewrite: rewrite ?? ((source) => source), texts: () => ({}) };
  const { LeanModules } = await import("./lean/lean-modules.js");
  return new LeanModules(entry, lean.protocolVersion);
}

/** What a module exports by value, types left out. Moddable's own modules need not be there. */
export async function exportsOf(entry: string): Promise<readonly string[]> {
  const { metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "neutral",
    external: ["embedded:*", "time", "timer"],
    logLevel: "warning",
  });
  return Object.values(metafile.outputs)[0]?.exports ?? [];
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

/**
 * Private methods become ordinary ones, each class's under names of its own. XS keeps a slot of 16 bytes for each private method in each
 * instance (3 KB of a connected device), and none for what the prototype has, which lies in flash. What a constructor keeps of its
 * parameters gets such names too: the minifier shortens those, and leaves alone what others might read.
 */
function sharedMethods(rewrite: LeanBuild["rewrite"]): Plugin {
  return {
    name: "hawser-shared-methods",
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const file = path.split(/[\\/]/).slice(-2).join("_").replace(/\W/g, "_");
        return { loader: "ts", contents: shareMethods(rewrite(await readFile(path, "utf8"), path), file) };
      });
    },
  };
}

/** @param file what makes the names of this file's classes differ from others' */
export function shareMethods(source: string, file: string): string {
  const classes = source.split(/^(?=(?:export )?(?:default )?(?:abstract )?class )/m);
  return classes
    .map((text, index) => {
      const methods = new Set([...text.matchAll(/^  (?:static |async |get |set |\*)*#(\w+)[(<]/gm)].map(([, name]) => name));
      const shared = text.replace(/(?<=[\s.!(*])#(\w+)\b/g, (whole, name: string) =>
        methods.has(name) ? `_$${name}_${file}_${index}` : whole,
      );
      return shortenKept(shared, `${file}_${index}`);
    })
    .join("");
}

/** `constructor(private readonly a: A)` of a class that extends none keeps `a` under a name that the minifier may shorten. */
function shortenKept(text: string, suffix: string): string {
  const head = /^(?:export )?(?:abstract )?class (?!.* extends ).*\{\n/.exec(text);
  const [constructor, parameters = ""] = /^  constructor\((.*?)\) \{/ms.exec(text) ?? [];
  if (!head || constructor === undefined) return text;
  const taken = [...text.matchAll(/\{([^{}]*)\} = this;/g)].map(([, names]) => names).join();
  const kept = [...parameters.matchAll(/\bprivate (?:readonly )?(\w+)/g)]
    .map(([, name = ""]) => name)
    .filter((name) => !new RegExp(`\\b${name}\\b`).test(taken));
  const assigned = kept.map((name) => ` this.${name} = ${name};`).join("");
  const plain = kept.reduce((given, name) => given.replace(new RegExp(`\\bprivate (?:readonly )?(?=${name}\\b)`), ""), constructor);
  return kept.reduce(
    (body, name) => body.replace(new RegExp(`\\bthis\\.${name}\\b`, "g"), `this._$${name}_${suffix}`),
    text.replace(constructor, () => plain + assigned),
  );
}
