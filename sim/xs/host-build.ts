/**
 * Builds the C host that runs device programs on the XS engine: engine and host from source, for 64 or 32 bits, each part cached under a
 * digest of all that goes into it. A build of both takes well under a minute; a change of the host's own files a second or two.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { HawserError } from "../../sdk/errors.js";
import { withBuildLock } from "./build-lock.js";
import { ENGINE_SOURCE_ID, engineSource } from "./engine-source.js";
import { generateC } from "./generated-c.js";
import { cacheFolder, packageRoot } from "../../firmware/build/project-files.js";

const run = promisify(execFile);

export type Bits = 32 | 64;

/** Native code linked in beside the host, such as the TLS engine and the key store. */
export interface NativeParts {
  /** Names this set in messages and cache keys. */
  name: string;
  /** Absolute paths of C files. Those that bind to XS (`xs-*.c`) are scanned for ids and native functions. */
  sources: readonly string[];
  includeFolders: readonly string[];
  defines: readonly string[];
  /** Absolute paths of static libraries, in link order. */
  libraries: readonly string[];
}

export interface HostBuildOptions {
  bits: Bits;
  /**
   * Collects garbage at every allocation and gives each chunk an allocation of its own, under AddressSanitizer and UBSan: a pointer into
   * the heap that C code keeps too long is found at once. Slow.
   */
  stress?: boolean;
  native?: NativeParts;
}

/** Two at a time: the machine has other work. */
const PARALLEL = 2;

const ENGINE_DEFINES = [
  "-DINCLUDE_XSPLATFORM",
  '-DXSPLATFORM="xs-platform.h"',
  "-DmxParse=1",
  "-DmxRun=1",
  "-DmxInstrument=1",
  "-DmxMetering=1",
  "-DmxBoundsCheck=1",
];

/** It reads strings a word at a time, up to seven bytes past their end, on purpose: AddressSanitizer would take that for a mistake. */
const UNSANITIZED_ENGINE_FILE = "xsCommon.c";

/** Engine files that belong to other tools: the lockdown of another host, snapshots. */
const UNUSED_ENGINE_FILES = new Set(["xsLockdown.c", "xsSnapshot.c"]);

/**
 * The path of the host's executable, built when it is not in the cache.
 * @throws HawserError `XS_SOURCES_MISSING`, `XS_SOURCES_DAMAGED`, `COMPILER_MISSING`, `XS_BUILD_FAILED`
 */
export async function buildHost(options: HostBuildOptions): Promise<string> {
  const engine = await engineSource();
  const engineArchive = await buildEngine(engine, options);
  const sources = [...hostSources(), ...(options.native?.sources ?? [])];
  const key = digest([
    engineArchive,
    ...compilerFlags(options),
    ...hostFilesText(),
    JSON.stringify(options.native ?? null),
    ...nativeText(options.native),
  ]);
  const executable = join(cacheFolder(), "xs", "host", key, "hawser-xs");
  await buildOnce(executable, options.bits, async (folder) => {
    const generated = generateC(
      sources.filter((file) => basename(file).startsWith("xs-") || file.startsWith(hostFolder())).map((file) => readFileSync(file, "utf8")),
    );
    writeFileSync(join(folder, "mc.xs.h"), generated.idsHeader);
    writeFileSync(join(folder, "ids.c"), generated.idsSource);
    writeFileSync(join(folder, "natives-table.c"), generated.nativesSource);
    const includes = ["-I", folder, "-I", hostFolder(), ...systemIncludes(engine), ...nativeIncludes(options.native)];
    const flags = [
      ...compilerFlags(options),
      ...ENGINE_DEFINES,
      ...(options.native?.defines ?? []),
      "-Wall",
      "-Wextra",
      "-Werror",
      ...includes,
    ];
    const objects = await compileAll([...sources, join(folder, "ids.c"), join(folder, "natives-table.c")], flags, folder);
    const libraries = options.native?.libraries ?? [];
    await gcc([
      ...compilerFlags(options),
      ...objects,
      engineArchive,
      ...libraries,
      "-lm",
      "-lpthread",
      "-ldl",
      // Of the engine's functions, one that knows no lines: see stack.c.
      "-Wl,--wrap=fxCaptureErrorStack",
      "-o",
      join(folder, "hawser-xs"),
    ]);
  });
  return executable;
}

function hostFolder(): string {
  return join(packageRoot(), "sim", "xs", "host");
}

function hostSources(): string[] {
  return readdirSync(hostFolder())
    .filter((name) => name.endsWith(".c"))
    .sort()
    .map((name) => join(hostFolder(), name));
}

function hostFilesText(): string[] {
  return readdirSync(hostFolder())
    .sort()
    .map((name) => readFileSync(join(hostFolder(), name), "utf8"));
}

function nativeText(native: NativeParts | undefined): string[] {
  if (!native) return [];
  const headers = native.includeFolders
    .filter((folder) => folder.startsWith(packageRoot()) && !folder.startsWith(cacheFolder()))
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => name.endsWith(".h"))
        .sort()
        .map((name) => join(folder, name)),
    );
  return [...native.sources, ...headers].map((file) => readFileSync(file, "utf8"));
}

function compilerFlags(options: HostBuildOptions): string[] {
  const machine = [`-m${options.bits}`, "-fno-common", "-g"];
  if (!options.stress) return [...machine, "-O2"];
  return [
    ...machine,
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-omit-frame-pointer",
    "-DmxStress=1",
    "-DmxNoChunks=1",
    "-DmxASANStackMargin=131072",
  ];
}

function systemIncludes(engine: string): string[] {
  return ["includes", "platforms", "sources"].flatMap((name) => ["-isystem", join(engine, name)]);
}

/** Other people's headers are not held to our warnings. */
function nativeIncludes(native: NativeParts | undefined): string[] {
  return (native?.includeFolders ?? []).flatMap((path) => [path.startsWith(cacheFolder()) ? "-isystem" : "-I", path]);
}

async function buildEngine(engine: string, options: HostBuildOptions): Promise<string> {
  const platform = readFileSync(join(hostFolder(), "xs-platform.h"), "utf8");
  // The engine itself leaves shifts and unaligned reads undefined in places: only our own files are held to UBSan.
  const flags = compilerFlags(options).map((flag) => (flag === "-fsanitize=address,undefined" ? "-fsanitize=address" : flag));
  const key = digest([ENGINE_SOURCE_ID, platform, UNSANITIZED_ENGINE_FILE, ...flags, ...ENGINE_DEFINES]);
  const archive = join(cacheFolder(), "xs", "engine", key, "libxs.a");
  const folder = join(engine, "sources");
  const sources = readdirSync(folder)
    .filter((name) => name.endsWith(".c") && !UNUSED_ENGINE_FILES.has(name))
    .map((name) => join(folder, name));
  await buildOnce(archive, options.bits, async (partial) => {
    const all = [...flags, ...ENGINE_DEFINES, "-w", "-I", hostFolder(), ...systemIncludes(engine)];
    const isPlain = (file: string): boolean => basename(file) === UNSANITIZED_ENGINE_FILE;
    const plain = await compileAll(
      sources.filter(isPlain),
      all.filter((flag) => !flag.startsWith("-fsanitize")),
      partial,
    );
    const objects = [
      ...plain,
      ...(await compileAll(
        sources.filter((file) => !isPlain(file)),
        all,
        partial,
      )),
    ];
    await run("ar", ["rcs", join(partial, "libxs.a"), ...objects]);
    for (const object of objects) rmSync(object);
  });
  return archive;
}

/** Builds in a folder beside and renames it when all is done, one process at a time. What is in the cache needs no compiler. */
async function buildOnce(product: string, bits: Bits, build: (folder: string) => Promise<void>): Promise<void> {
  const folder = join(product, "..");
  if (existsSync(product)) return;
  await withBuildLock(`${folder}.lock`, async () => {
    if (existsSync(product)) return;
    await checkCompiler(bits);
    const partial = `${folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true });
    await build(partial);
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
  });
}

async function compileAll(sources: readonly string[], flags: readonly string[], folder: string): Promise<string[]> {
  const queue = [...sources];
  const objects: string[] = [];
  const worker = async (): Promise<void> => {
    for (let source = queue.shift(); source !== undefined; source = queue.shift()) {
      const object = join(folder, `${basename(source, ".c")}.o`);
      objects.push(object);
      await gcc([...flags, "-c", source, "-o", object]);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return objects.sort();
}

async function gcc(parameters: readonly string[]): Promise<void> {
  try {
    await run("nice", ["-n", "10", "gcc", ...parameters], { maxBuffer: 16 * 1024 * 1024 });
  } catch (error) {
    const output = (error as { stderr?: string }).stderr ?? String(error);
    throw new HawserError(
      "XS_BUILD_FAILED",
      `the XS host did not compile:\n${output}`,
      "Fix the C sources, or report this with the compiler's version.",
    );
  }
}

async function checkCompiler(bits: Bits): Promise<void> {
  const probe = join(cacheFolder(), "xs", `probe-${bits}-${process.pid}`);
  mkdirSync(join(cacheFolder(), "xs"), { recursive: true });
  writeFileSync(`${probe}.c`, "#include <stdio.h>\nint main(void) { return 0; }\n");
  try {
    await run("gcc", [`-m${bits}`, `${probe}.c`, "-o", probe]);
  } catch {
    const parts = bits === 32 ? "gcc, libc6-dev and gcc-multilib" : "gcc and libc6-dev";
    throw new HawserError(
      "COMPILER_MISSING",
      `no C compiler for ${bits} bits here`,
      `Install ${parts} (Debian: apt-get install ${parts.replaceAll(",", "").replace(" and ", " ")}).`,
    );
  } finally {
    rmSync(`${probe}.c`, { force: true });
    rmSync(probe, { force: true });
  }
}

function digest(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, 24);
}
