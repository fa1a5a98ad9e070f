import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { removeDirectory } from "./remove-directory.js";

test("a directory goes although another program writes new files into it until it ends", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-remove-"));
  mkdirSync(join(directory, "data"));
  const program = `
    const { writeFileSync } = require("node:fs");
    const untilMs = Date.now() + 1000;
    for (let n = 0; Date.now() < untilMs; n++) {
      try { writeFileSync(\`data/\${n}\`, ""); if (n === 500) process.stdout.write("writes\\n"); } catch {}
    }`;
  const writer = spawn(process.execPath, ["-e", program], { cwd: directory, stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void writer.kill("SIGKILL"));
  await once(writer.stdout, "data");
  removeDirectory(directory);
  expect(existsSync(directory)).toBe(false);
});

test("a directory that is not there is no error", () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-remove-"));
  removeDirectory(directory);
  expect(() => removeDirectory(directory)).not.toThrow();
});

test("what stands in the way for another reason is thrown at once", () => {
  // Nodes differ in what they take for nothing there; all refuse a name that no file can have.
  expect(() => removeDirectory(`${tmpdir()}/\0`)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }));
});
