/** 32-bit programs where the kernel runs none: through QEMU, the whole device with native TLS too. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { measureBudgets } from "../../test/support/xs/budgets.js";
import { Plant } from "../../test/support/xs/plant.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { no32Bits } from "../../test/support/xs/pointer-sizes.js";
import { buildHost } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { runner32 } from "./thirty-two-bits.js";

const run = promisify(execFile);
const BUILD_MS = 600_000;
const REFUSER = fileURLToPath(new URL("../../test/support/xs/refuse-32-bits.c", import.meta.url));

const programs = new ProgramFolder();
const folder = mkdtempSync(join(tmpdir(), "hawser-emulated-"));
afterAll(async () => {
  await programs.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(no32Bits)("where the kernel runs no 32-bit programs", () => {
  let host: string;
  let refuser: string;
  beforeAll(async () => {
    host = await buildHost({ bits: 32 });
    refuser = join(folder, "refuse");
    await run("gcc", [REFUSER, "-o", refuser]);
  }, BUILD_MS);

  it("the host itself is ended, and runs in qemu-i386", async () => {
    const program = programs.write("sizes.mjs", `native("xs_print")(JSON.stringify(native("xs_heap")().slotBytes));`);
    // This machine's own kernel may be such a one: it runs the host in no case.
    const isNative = (await runner32()).length === 0;
    await expect(run(refuser, [host, program])).rejects.toMatchObject(isNative ? { signal: "SIGSYS" } : { code: expect.anything() });
    expect((await run(refuser, ["qemu-i386", host, program])).stdout).toBe("16\n");
  });
});

describe.skipIf(no32Bits)("with HAWSER_FORCE_EMULATOR=1", () => {
  let plant: Plant;
  beforeAll(async () => {
    await buildHost({ bits: 32, native: await nativeParts(32) });
    plant = await Plant.build();
  }, BUILD_MS);
  afterAll(() => plant.close());
  beforeEach(() => void vi.stubEnv("HAWSER_FORCE_EMULATOR", "1"));
  afterEach(() => void vi.unstubAllEnvs());

  it(
    "32-bit programs go to QEMU, and a whole mTLS session runs there within its budget",
    async () => {
      expect((await runner32())[0]).toMatch(/^qemu-i386/);
      const [, , session] = await measureBudgets(plant, folder, "emulated");
      expect(session!.value).toBeLessThanOrEqual(session!.target);
    },
    BUILD_MS,
  );
});
