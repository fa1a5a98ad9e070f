/**
 * How 32-bit programs of this project run here: as they are, or through QEMU's user emulation where the kernel refuses them, as kernels of
 * many container and cloud hosts do. Found out by running one: neither a package nor an architecture's name tells.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import { cacheFolder } from "../../firmware/build/project-files.js";

const run = promisify(execFile);

/** Debian's qemu-user, and the static build of the same. */
const EMULATORS = ["qemu-i386", "qemu-i386-static"];
/** Anything else the probe may end with is not its own doing: a shell that was given an ELF file ends with 2 or 127. */
const PROBE_EXIT = 42;
const PROBE = `#include <stdio.h>\nint main(void) { return sizeof(void *) == 4 ? ${PROBE_EXIT} : 1; }\n`;

const found = new Map<boolean, Promise<readonly string[]>>();

/**
 * What goes before the path of a 32-bit program on a command line: nothing, or the emulator. `HAWSER_FORCE_EMULATOR=1` takes the emulator
 * on any kernel.
 * @throws HawserError `COMPILER_MISSING`, `EMULATOR_MISSING`
 */
export function runner32(): Promise<readonly string[]> {
  const isForced = process.env["HAWSER_FORCE_EMULATOR"] === "1";
  const known = found.get(isForced) ?? findRunner(isForced);
  found.set(isForced, known);
  return known;
}

async function findRunner(isForced: boolean): Promise<readonly string[]> {
  mkdirSync(join(cacheFolder(), "xs"), { recursive: true });
  const folder = mkdtempSync(join(cacheFolder(), "xs", "probe-32-"));
  const program = join(folder, "probe");
  try {
    writeFileSync(`${program}.c`, PROBE);
    await run("gcc", ["-m32", `${program}.c`, "-o", program]).catch((error: unknown) => {
      const reason =
        process.arch === "x64"
          ? "Install gcc, libc6-dev and gcc-multilib (Debian: apt-get install gcc libc6-dev gcc-multilib)."
          : "Use an x86-64 machine: only its compiler makes them.";
      throw new HawserError(
        "COMPILER_MISSING",
        `no compiler for 32-bit programs on this ${process.arch} machine: ${errorMessage(error).split("\n")[0] ?? ""}`,
        reason,
      );
    });
    for (const command of [...(isForced ? [] : [[]]), ...EMULATORS.map((name) => [name])])
      if (await proves([...command, program])) return command;
    const reason = isForced ? "HAWSER_FORCE_EMULATOR=1 asks for an emulator" : "this kernel runs no 32-bit programs";
    throw new HawserError(
      "EMULATOR_MISSING",
      `${reason}, and there is no qemu-i386 to run them`,
      "Install it (Debian: apt-get install qemu-user).",
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function proves([command = "", ...parameters]: readonly string[]): Promise<boolean> {
  const exit = await run(command, parameters).then(
    () => 0,
    (error: { code?: unknown }) => error.code,
  );
  return exit === PROBE_EXIT;
}
