/** What is made of a build for the chip that went wrong, over the real make and recipes of the shape of Moddable's. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ignoredFailure } from "./esp-idf.mjs";

/** @returns what make prints for a makefile whose target `build` runs `idf` */
function made(idf: string): string {
  const folder = mkdtempSync(join(tmpdir(), "hawser-esp-idf-"));
  const makefile = join(folder, "makefile");
  writeFileSync(makefile, `clear:\n\t-@rm ${folder}/absent 2>/dev/null\nbuild: clear\n\t-cd ${folder} ; ${idf}\n\techo "# Built files"\n`);
  const { status, stdout, stderr } = spawnSync("make", ["-f", makefile, "build"], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  rmSync(folder, { recursive: true });
  expect(status).toBe(0);
  return `${stdout}${stderr}`;
}

it("sees that idf.py failed although make ended with 0", () => {
  expect(ignoredFailure(made('bash -c "exit 2"'))).toContain("build] Error 2 (ignored)");
});

it("takes no other failure that make ignores for one of the image", () => {
  const output = made("true");
  expect(output).toContain("clear] Error 1 (ignored)");
  expect(ignoredFailure(output)).toBeUndefined();
});
