/**
 * Builds the C programs of the native tests (`harness`: engine and key store as a command; `fuzz`: hostile servers without end) from
 * `firmware/native` and `test/native/c`, warnings being errors, into `.cache/native/` under a digest of all that goes in.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { mbedTls } from "../../firmware/native/build-mbedtls.mjs";

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "..", "..");
const NATIVE = join(ROOT, "firmware", "native");
/** What the fuzzer puts its own hand to: see fuzz-crypto.c and fuzz-memo.c. */
const WRAPPED = [
  "psa_aead_encrypt",
  "psa_aead_decrypt",
  "psa_generate_key",
  "psa_export_public_key",
  "psa_raw_key_agreement",
  "psa_sign_hash",
  "psa_verify_hash",
];
const PROGRAMS = {
  harness: { sources: ["harness.c"], config: undefined, link: [] },
  fuzz: {
    sources: ["fuzz.c", "fuzz-crypto.c", "fuzz-input.c", "fuzz-memo.c"],
    config: join(HERE, "c", "fuzz-config.h"),
    link: WRAPPED.map((name) => `-Wl,--wrap=${name}`),
  },
};
const COMMON = ["connection.c", "heap.c", "settings.c"];
const WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wmissing-prototypes"];

const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function files(folder, endings) {
  return (await readdir(folder))
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .sort()
    .map((name) => join(folder, name));
}

/**
 * @param {{ program?: "harness" | "fuzz", bits?: 32 | 64, sanitize?: boolean, internals?: boolean }} [options]
 *   `internals`: whether our C files may see Mbed TLS's internal header (default true)
 * @returns {Promise<string>} path of the executable
 */
export async function buildHarness({ program = "harness", bits = 64, sanitize = false, internals = true } = {}) {
  const { sources, config, link } = PROGRAMS[program];
  const mbed = await mbedTls({ bits, sanitize, config });
  const engine = (await files(NATIVE, [".c"])).filter((file) => !basename(file).startsWith("xs-"));
  const own = [...sources, ...COMMON].map((name) => join(HERE, "c", name));
  const headers = [...(await files(NATIVE, [".h"])), ...(await files(join(HERE, "c"), [".h"]))];
  const defines = internals ? [] : ["-DHAWSER_WITHOUT_MBEDTLS_INTERNALS"];
  const flags = ["-std=c11", sanitize ? "-O1" : "-Os", "-g", ...WARNINGS, ...mbed.flags, ...defines, `-I${join(HERE, "c")}`, ...link];
  const hash = createHash("sha256").update(JSON.stringify([flags, mbed.library, own.map((file) => basename(file))]));
  for (const file of [...engine, ...own, ...headers]) hash.update(await readFile(file));
  const directory = join(ROOT, ".cache", "native", `${program}-${bits}${sanitize ? "-sanitize" : ""}-${hash.digest("hex").slice(0, 12)}`);
  const executable = join(directory, program);
  if (await exists(executable)) return executable;
  await mkdir(dirname(directory), { recursive: true });
  const beside = await mkdtemp(`${directory}.`);
  try {
    await run("nice", ["gcc", ...flags, ...engine, ...own, mbed.library, "-o", join(beside, program)]);
    // Another process may have finished the same build meanwhile: one as good as the other.
    await rename(beside, directory).catch(async (error) => {
      if (!(await exists(executable))) throw error;
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return executable;
}
