/** The build scripts as people start them: what they take, and what they say when there is no Moddable SDK. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let empty: string;
beforeAll(() => {
  empty = mkdtempSync(join(tmpdir(), "hawser-script-"));
});
afterAll(() => rmSync(empty, { recursive: true }));

function script(name: string, words: readonly string[], moddable = ""): { status: number | null; stdout: string; stderr: string } {
  // Whoever looks for a program finds none: nothing is built by mistake.
  const env = { ...process.env, MODDABLE: moddable, PATH: empty };
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), ...words], {
    encoding: "utf8",
    env,
  });
  return { status, stdout, stderr };
}

describe.each([
  ["linux", "npm run firmware:lin", "npm run firmware:lin -- --help"],
  ["esp32", "npm run firmware:esp32", "npm run firmware:esp32 -- --help"],
  [
    "linux-libraries",
    "node node_modules/hawser/firmware/build/linux-libraries.mjs",
    "node node_modules/hawser/firmware/build/linux-libraries.mjs --help",
  ],
])("%s", (name, command, help) => {
  it.each(["--help", "-h"])("explains itself with %s, whatever is missing", (word) => {
    const { status, stdout, stderr } = script(name, [word]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout.startsWith(command)).toBe(true);
    expect(stdout).toMatch(/\nExit codes: 0 .*; 2 a bad command line\n$/);
  });

  it.each([
    ["--bogus", "Unknown option '--bogus'"],
    ["--help=3", "Option '-h, --help' does not take an argument"],
    ["bogus", name === "esp32" ? 'unknown setting or option "bogus"' : 'unknown option "bogus"'],
  ])("refuses %s in one line before it looks for anything", (word, what) => {
    const { status, stdout, stderr } = script(name, [word]);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr.startsWith(`error BAD_ARGUMENT: ${what}`)).toBe(true);
    expect(stderr.endsWith(`. Next: Run: ${help}.\n`)).toBe(true);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });
});

it.each(["linux", "esp32"])("%s says what to do about a MODDABLE that is none", (name) => {
  const { status, stdout, stderr } = script(name, [], empty);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toContain(
    `MODDABLE is ${empty}, which is not a Moddable SDK: it has no tools/VERSION.\n  Next: export MODDABLE=/path/to/moddable`,
  );
});

it("esp32 takes settings, linux none", () => {
  expect(script("esp32", ["ssid=home", "broker=a=b"])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("MODDABLE is not set") as string,
  });
  expect(script("linux", ["ssid=home"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('unknown option "ssid=home"') as string,
  });
});

it("esp32 builds for the chips that it knows, and says which", () => {
  const { status, stderr } = script("esp32", ["chip=esp8266", "ssid=plant"]);
  expect([status, stderr]).toEqual([2, expect.stringMatching(/unknown chip "esp8266"\. Next: Choose one of: esp32, .*esp32c3/)]);
  expect(script("esp32", ["chip=esp32c3"])).toMatchObject({ status: 1, stderr: expect.stringContaining("MODDABLE") });
});
