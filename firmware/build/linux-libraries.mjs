/**
 * What a build with `-p lin` links: Mbed TLS, and the two files of arguments that manifest.json hands to compiler and linker. Once for each
 * install:
 * `node node_modules/hawser/firmware/build/linux-libraries.mjs`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mbedTls } from "../native/build-mbedtls.mjs";
import { ROOT } from "./package-root.mjs";
import { Missing, runScript, say } from "./script.mjs";

const FOLDER = join(ROOT, ".cache", "firmware", "linux");

/** @returns the version of Mbed TLS and the folder of the files */
export async function writeLinuxLibraries() {
  const { version, library, includeFolders, defines } = await mbedTls({ bits: 64 });
  mkdirSync(FOLDER, { recursive: true });
  const words = [...includeFolders.map((folder) => `-I${folder}`), ...defines];
  writeFileSync(join(FOLDER, "compile.rsp"), `${words.map((word) => `'${word}'`).join("\n")}\n`);
  writeFileSync(join(FOLDER, "link.rsp"), `'${library}'\n`);
  return { version, folder: FOLDER };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const command = "node node_modules/hawser/firmware/build/linux-libraries.mjs";
  const usage = `${command}\n\nBuilds Mbed TLS for builds with -p lin, once for each install. Takes no options.\nExit codes: 0 built, or there already; 1 it cannot be built here; 2 a bad command line`;
  await runScript({ command, usage }, async () => {
    const { version, folder } = await writeLinuxLibraries().catch((error) => {
      throw new Missing(`Mbed TLS cannot be built here: ${error instanceof Error ? error.message : String(error)}`);
    });
    say(`Mbed TLS ${version}, for builds with -p lin: ${folder}`);
  });
}
