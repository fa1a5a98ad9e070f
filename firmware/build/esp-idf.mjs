/** What is there of ESP-IDF, and whether it knows the settings this firmware asks for. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./moddable-sdk.mjs";

/** What Moddable SDK 8.2 builds with. */
export const WANTED_IDF = "v6.0";

/** @returns {string[]} one line for each thing that is missing; empty when a board can be built for */
export function missingForEsp32(subclass = "esp32") {
  const idf = process.env.IDF_PATH;
  const isXtensa = subclass === "esp32" || subclass.startsWith("esp32s");
  const compiler = `${isXtensa ? `xtensa-${subclass}` : "riscv32-esp"}-elf-gcc`;
  const missing = [];
  if (!idf)
    missing.push(
      `ESP-IDF ${WANTED_IDF}: IDF_PATH is not set. https://docs.espressif.com/projects/esp-idf/en/${WANTED_IDF}/esp32/get-started/`,
    );
  else if (!existsSync(join(idf, "components", "mbedtls", "mbedtls", "include"))) {
    missing.push(`ESP-IDF in ${idf}: not whole (no components/mbedtls/mbedtls: clone it with --recursive)`);
  }
  for (const program of [compiler, "idf.py", "cmake", "ninja", "python"]) {
    if (!findProgram(program)) missing.push(`${program}: comes with ESP-IDF's install.sh and, in each shell, export.sh`);
  }
  return missing;
}

/**
 * Moddable's makefile goes on when `idf.py build` fails, an image too large for its partition among the reasons, and ends with 0.
 * @param {string} output what mcconfig printed, in English
 * @returns {string | undefined} make's line about it
 */
export function ignoredFailure(output) {
  return output.split("\n").find((line) => /^make(\[\d+\])?: \[(.*: )?build\] Error \d+ \(ignored\)$/.test(line));
}

/** The CONFIG_ names of a settings file. */
export function settingNames(file) {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => /^CONFIG_\w+=/.test(line)).map((line) => line.slice("CONFIG_".length, line.indexOf("=")));
}

/** @returns {string[]} the settings that no Kconfig file of this ESP-IDF declares: they would be ignored in silence */
export function unknownSettings(idf, names) {
  const declared = new Set();
  const visit = (folder, depth) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && depth < 3) visit(path, depth + 1);
      else if (entry.name.startsWith("Kconfig")) declaredIn(path).forEach((name) => declared.add(name));
    }
  };
  visit(join(idf, "components"), 0);
  return names.filter((name) => !declared.has(name));
}

function declaredIn(path) {
  return [...readFileSync(path, "utf8").matchAll(/^\s*(?:menu)?config\s+(\w+)/gm)].map(([, name]) => name);
}
