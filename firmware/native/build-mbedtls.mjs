/**
 * Brings Mbed TLS 3.6 LTS onto this machine for the XS host and the native tests: Debian's source package (checked by apt against the
 * archive's signed index), built with `mbedtls-config.h` into `.cache/mbedtls/` at the root of this package. Nothing of the system is changed:
 * apt runs with lists and cache of its own. A second call finds all in the cache and needs no network.
 *
 * From the command line: `node firmware/native/build-mbedtls.mjs [32|64] [sanitize]`.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const CONFIG = join(HERE, "mbedtls-config.h");
const CACHE = join(HERE, "..", "..", ".cache", "mbedtls");
const SOURCE_LINE = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n";
const WANTED = /^mbedtls-(3\.6\.\d+)$/;
const KEPT = new Set(["include", "library", "LICENSE"]);
const JOBS = 2;

/** Runs a program to its end. @returns {Promise<string>} what it printed; rejects with its last error line */
function run(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("error", () => reject(new Error(`${command} is not installed`)));
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${basename(command)} ${args.at(-1)}: ${(errors.trim() || output.trim()).split("\n").slice(-6).join(" | ")}`));
    });
  });
}

const exists = (path) => stat(path).then(() => true, () => false);

/** Fills a directory of the cache once: whoever finishes first wins, and a run that is broken off leaves nothing that looks finished. */
async function once(directory, fill) {
  if (await exists(directory)) return directory;
  await mkdir(dirname(directory), { recursive: true });
  const beside = await mkdtemp(`${directory}.`);
  try {
    await fill(beside);
    await rename(beside, directory).catch(async (error) => {
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return directory;
}

async function fetchSource(directory) {
  const apt = join(directory, "apt");
  await mkdir(join(apt, "lists", "partial"), { recursive: true });
  await mkdir(join(apt, "archives", "partial"), { recursive: true });
  await writeFile(join(apt, "sources.list"), SOURCE_LINE);
  const options = [
    `Dir::Etc::sourcelist=${join(apt, "sources.list")}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${join(apt, "lists")}`,
    `Dir::Cache=${apt}`,
    "Acquire::Retries=2",
    "Acquire::http::Timeout=20",
    "APT::Sandbox::User=",
  ].flatMap((option) => ["-o", option]);
  await run("apt-get", [...options, "update", "--error-on=any"], directory);
  // Download, check against the signed index, unpack, patch.
  await run("apt-get", [...options, "source", "mbedtls"], directory);
  // Keep what is compiled: tests, documents and archives are most of it.
  for (const name of await readdir(directory)) {
    if (!WANTED.test(name)) {
      await rm(join(directory, name), { recursive: true, force: true });
      continue;
    }
    for (const inner of await readdir(join(directory, name))) {
      if (!KEPT.has(inner)) await rm(join(directory, name, inner), { recursive: true, force: true });
    }
  }
}

/** @returns {Promise<{directory: string, version: string}>} */
async function source() {
  const directory = await once(join(CACHE, "source"), fetchSource);
  const name = (await readdir(directory)).find((entry) => WANTED.test(entry));
  if (name === undefined) throw new Error("Debian trixie no longer has Mbed TLS 3.6");
  return { directory: join(directory, name), version: WANTED.exec(name)[1] };
}

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

/**
 * @param {{ bits?: 32 | 64, sanitize?: boolean, config?: string }} [options] `sanitize`: with AddressSanitizer and UndefinedBehaviorSanitizer;
 *   `config`: another configuration header that includes this folder's
 * @returns {Promise<import("./build-mbedtls.mjs").MbedTls>} the static library, and what code that uses it is compiled with
 * @throws Error with one line that says what is missing
 */
export async function mbedTls({ bits = 64, sanitize = false, config = CONFIG } = {}) {
  const { directory, version } = await source();
  const target = [`-m${bits}`, ...(sanitize ? ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] : [])];
  const includeFolders = [join(directory, "include"), join(HERE, "its"), HERE, join(directory, "library")];
  const defines = [`-DMBEDTLS_CONFIG_FILE="${config}"`];
  const use = [...target, ...includeFolders.flatMap((folder) => (folder.startsWith(directory) ? ["-isystem", folder] : [`-I${folder}`])), ...defines];
  // Mbed TLS compares empty names with memcmp(NULL, NULL, 0), which only a pedant minds.
  const flags = ["-std=c99", "-Os", "-g", ...(sanitize ? ["-fno-sanitize=nonnull-attribute"] : [])];
  const compiler = await run("gcc", ["--version"], HERE);
  const ingredients = [await readFile(CONFIG, "utf8"), await readFile(config, "utf8"), flags, target, compiler.split("\n")[0]];
  const key = createHash("sha256").update(JSON.stringify(ingredients)).digest("hex").slice(0, 12);
  const built = await once(join(CACHE, `${version}-${bits}${sanitize ? "-sanitize" : ""}-${key}`), async (beside) => {
    const library = join(directory, "library");
    const files = (await readdir(library)).filter((name) => name.endsWith(".c")).map((name) => join(library, name));
    await compile(files, [...use, ...flags], beside);
    const objects = (await readdir(beside)).map((name) => join(beside, name));
    await run("ar", ["rcs", join(beside, "libmbedtls.a"), ...objects], HERE);
  });
  return { version, library: join(built, "libmbedtls.a"), includeFolders, defines, flags: use };
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
