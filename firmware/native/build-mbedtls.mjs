/**
 * Builds Mbed TLS for the XS host and the native tests into `.cache/mbedtls/` at the root of this package. By default 3.6 LTS from Debian's
 * source package (checked by apt against the archive's signed index), with `mbedtls-config.h`. Nothing of the system is changed: apt runs
 * with lists and cache of its own. A second call finds all in the cache and needs no network.
 *
 * HAWSER_MBEDTLS_SOURCE names a folder with the sources of another one: 3.6, or 4.x (a release unpacked, a checkout with its submodules, or
 * ESP-IDF's
 * `components/mbedtls/mbedtls`), built with `mbedtls-4/`. All tests but the fuzzer's then run on that.
 *
 * From the command line: `node firmware/native/build-mbedtls.mjs [32|64] [sanitize]`.
 */
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { once, run } from "../build/build-steps.mjs";
import { mbedTlsSource } from "../build/mbedtls-source.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const CONFIG = join(HERE, "mbedtls-config.h");
const CACHE = join(HERE, "..", "..", ".cache", "mbedtls");
const JOBS = 2;

/** Compiles all files, a few at a time, each nicely. */
async function compile(files, flags, outputDirectory) {
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      await run("nice", ["gcc", ...flags, "-c", file, "-o", join(outputDirectory, `${basename(file, ".c")}.o`)], HERE);
    }
  };
  await Promise.all(Array.from({ length: JOBS }, worker));
}

async function filesIn(folders) {
  const found = [];
  for (const folder of folders)
    found.push(...(await readdir(folder)).filter((name) => name.endsWith(".c")).map((name) => join(folder, name)));
  return found;
}

/**
 * @param {{ bits?: 32 | 64, sanitize?: boolean, config?: string }} [options] `sanitize`: with AddressSanitizer and
 *   UndefinedBehaviorSanitizer;
 *   `config`: another configuration header, for Debian's 3.6, which includes this folder's
 * @returns {Promise<import("./build-mbedtls.mjs").MbedTls>} the static library, and what code that uses it is compiled with
 * @throws Error with one line that says what is missing
 */
export async function mbedTls({ bits = 64, sanitize = false, config = CONFIG } = {}) {
  const source = await mbedTlsSource(config === CONFIG ? process.env.HAWSER_MBEDTLS_SOURCE : undefined, config);
  const target = [
    `-m${bits}`,
    ...(sanitize ? ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] : []),
  ];
  const own = [join(HERE, "its"), HERE];
  const includeFolders = [...source.includeFolders, ...own];
  const use = [
    ...target,
    ...source.includeFolders.flatMap((folder) => ["-isystem", folder]),
    ...own.map((folder) => `-I${folder}`),
    ...source.defines,
  ];
  // Mbed TLS compares empty names with memcmp(NULL, NULL, 0), which only a pedant minds.
  const flags = ["-std=c99", "-Os", "-g", ...(sanitize ? ["-fno-sanitize=nonnull-attribute"] : [])];
  const compiler = await run("gcc", ["--version"], HERE);
  const configs = await Promise.all(source.configs.map((file) => readFile(file, "utf8")));
  const key = createHash("sha256")
    .update(JSON.stringify([configs, flags, target, compiler.split("\n")[0]]))
    .digest("hex")
    .slice(0, 12);
  const built = await once(join(CACHE, `${source.id}-${bits}${sanitize ? "-sanitize" : ""}-${key}`), async (beside) => {
    await compile(await filesIn(source.folders), [...use, ...flags], beside);
    const objects = (await readdir(beside)).map((name) => join(beside, name));
    await run("ar", ["rcs", join(beside, "libmbedtls.a"), ...objects], HERE);
  });
  return { version: source.version, library: join(built, "libmbedtls.a"), includeFolders, defines: source.defines, flags: use };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bits = process.argv.includes("32") ? 32 : 64;
  try {
    const { version, library } = await mbedTls({ bits, sanitize: process.argv.includes("sanitize") });
    process.stdout.write(`Mbed TLS ${version}: ${library}\n`);
  } catch (error) {
    process.stderr.write(`Mbed TLS cannot be built here: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
