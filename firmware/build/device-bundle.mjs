/**
 * Makes `dist/xs/`, what a Moddable project compiles (see manifest.json):
 *
 * - `device.js`: the SDK and the platform's logic in one ES module, made by the same bundler as the simulator's
 *   programs (`firmware/build/xs-bundle.ts`). Imported as `hawser/device`.
 * - `board-esp32.js`, `board-linux.js`: `hawser/board`, the only ones that import Moddable's modules; manifest.json picks one.
 * - `hawser.js`, `mqtt.js`, `firmware.js`: the names applications import, each a line over those, with a `.d.ts` over `dist/types`. They
 *   import with
 *   the prefix `moddable:`, which XS ignores and mcpack wants for what comes from a manifest.
 * - `lean.js`, `lean-5.js`, `lean-311.js`: `device.js` without the texts of errors and logs, the last two for one version of MQTT alone.
 *   `lean-texts.json`, by which `hawser explain` puts the texts back. A project names one of them in place of `device.js`.
 * - `presets.js`, `reports.js` and `sleep.js`: `hawser/presets`, `hawser/reports` and `hawser/sleep`, which a project that wants them names
 *   in its own manifest.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { ROOT } from "./package-root.mjs";

const OUTPUT = join(ROOT, "dist", "xs");
const BOARDS = join(ROOT, "firmware", "boards");

/** Module by module: where its exports are declared, and where they come from on a device. */
const FACES = {
  hawser: { source: "sdk/index", from: "moddable:hawser/device" },
  mqtt: { source: "sdk/mqtt/index", from: "moddable:hawser/device" },
  firmware: { source: "firmware/boards/esp32", from: "moddable:hawser/board" },
};

const LEAN = { lean: {}, "lean-5": { protocolVersion: 5 }, "lean-311": { protocolVersion: 4 } };

/**
 * @param {{ folder?: string }} [options] `folder`: elsewhere than `dist/xs`
 * @returns {Promise<Record<string, number>>} the size of each, by its name
 */
export async function buildLeanBundles({ folder = OUTPUT } = {}) {
  mkdirSync(folder, { recursive: true });
  const { bundleDevice } = await deviceBundler();
  const sizes = {};
  const texts = {};
  for (const [name, lean] of Object.entries(LEAN)) {
    const bundle = await bundleDevice({ entry: join(ROOT, "firmware", "device-bundle.ts"), outputFile: join(folder, `${name}.js`), lean });
    sizes[name] = bundle.sizeBytes;
    Object.assign(texts, bundle.texts);
  }
  writeFileSync(join(folder, "lean-texts.json"), `${JSON.stringify(texts)}\n`);
  return sizes;
}

/**
 * @param {{ readable?: boolean, folder?: string }} [options] `readable`: names and lines as written; `folder`: elsewhere than `dist/xs`
 * @returns {Promise<{ sizeBytes: number }>} the size of `device.js`
 */
export async function buildDeviceBundle({ readable = false, folder = OUTPUT } = {}) {
  mkdirSync(folder, { recursive: true });
  const { bundleDevice, exportsOf } = await deviceBundler();
  const bundle = await bundleDevice({ entry: join(ROOT, "firmware", "device-bundle.ts"), outputFile: join(folder, "device.js"), readable });
  for (const [name, { source, from }] of Object.entries(FACES)) {
    const names = await exportsOf(join(ROOT, `${source}.ts`));
    writeFileSync(join(folder, `${name}.js`), `export { ${names.join(", ")} } from "${from}";\n`);
    writeFileSync(join(folder, `${name}.d.ts`), `export * from "../types/${source}.js";\n`);
  }
  const beside = [
    ...["esp32", "linux"].map((board) => ({ entry: join(BOARDS, `${board}.ts`), name: `board-${board}.js`, from: "hawser/device" })),
    { entry: join(ROOT, "sdk", "presets", "index.ts"), name: "presets.js", from: "moddable:hawser/device" },
    { entry: join(ROOT, "sdk", "reports", "index.ts"), name: "reports.js", from: "moddable:hawser/device" },
    {
      entry: join(ROOT, "firmware", "sleep", "index.ts"),
      name: "sleep.js",
      from: "moddable:hawser/device",
      // Functions alone: nothing there that may exist but once.
      with: ["sleep", "encoding"].map((room) => join(ROOT, "sdk", room)),
    },
  ];
  for (const { entry, name, from, with: others = [] } of beside) {
    await buildBeside(entry, join(folder, name), from, readable, [dirname(entry), ...others]);
  }
  writeFileSync(join(folder, "presets.d.ts"), `export * from "../types/sdk/presets/index.js";\n`);
  writeFileSync(join(folder, "reports.d.ts"), `export * from "../types/sdk/reports/index.js";\n`);
  writeFileSync(join(folder, "sleep.d.ts"), `export * from "../types/firmware/sleep/index.js";\n`);
  return { sizeBytes: bundle.sizeBytes };
}

/** The declarations that the `.d.ts` files above stand on. Throws when the firmware has type errors, after tsc has printed them. */
export function buildDeviceTypes() {
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const options = [
    "--noEmit",
    "false",
    "--declaration",
    "--emitDeclarationOnly",
    "--rootDir",
    ROOT,
    "--outDir",
    join(ROOT, "dist", "types"),
  ];
  execFileSync(process.execPath, [tsc, "-p", join(ROOT, "firmware", "tsconfig.json"), ...options], { stdio: "inherit" });
}

/** `firmware/build/xs-bundle.ts`, which is TypeScript. */
async function deviceBundler() {
  const file = join(ROOT, ".cache", "firmware", "bundler.mjs");
  const entryPoints = [join(ROOT, "firmware", "build", "xs-bundle.ts")];
  await build({ entryPoints, outfile: file, bundle: true, format: "esm", platform: "node", packages: "external", logLevel: "warning" });
  return import(`${pathToFileURL(file).href}?${process.pid}`);
}

/** A module and what lies in `folders` become one; the rest of ours comes from `from`, Moddable's from Moddable. */
async function buildBeside(entry, outputFile, from, readable, folders) {
  const plugin = {
    name: "hawser-beside",
    setup(builder) {
      builder.onResolve({ filter: /.*/ }, ({ path, resolveDir, kind }) => {
        if (kind === "entry-point") return undefined;
        if (!path.startsWith(".")) return { path, external: true };
        if (folders.includes(dirname(join(resolveDir, path)))) return undefined;
        // What nobody uses is not imported.
        return { path: from, external: true, sideEffects: false };
      });
    },
  };
  await build({
    entryPoints: [entry],
    outfile: outputFile,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    minify: !readable,
    plugins: [plugin],
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { sizeBytes } = await buildDeviceBundle({ readable: process.argv.includes("--readable") });
  if (process.argv.includes("--types")) buildDeviceTypes();
  process.stdout.write(`dist/xs/device.js: ${sizeBytes} bytes\n`);
  for (const [name, bytes] of Object.entries(await buildLeanBundles())) process.stdout.write(`dist/xs/${name}.js: ${bytes} bytes\n`);
}
