/** Output that nobody gets: a reader that went away, a disk that is full. Linux's /dev/full stands for the disk. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, temporaryDirectory } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, runningBroker, url } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

/** Runs a line of bash in which `$0 $1` is hawser. --norc: with a socket for stdin bash takes itself for a remote shell, and reads it. */
function bash(cwd: string, line: string): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync("bash", ["--norc", "-c", line, process.execPath, CLI], {
    cwd,
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", ...ENV },
  });
  return { status, stdout, stderr };
}

const FULL = /^error STORAGE_FULL: the output could not be written: [^\n]+ Next: [^\n]+\n$/;

test("a reader that goes away is no error", async () => {
  const cwd = await directoryWithCa();
  expect(bash(cwd, '"$0" "$1" list --dir ca | true; echo "${PIPESTATUS[0]}"')).toEqual({ status: 0, stdout: "0\n", stderr: "" });
});

test("a reader that goes away before the count is reached leaves the work undone, and needs no telling", async () => {
  const cwd = await directoryWithCa();
  await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v");
  const { mtlsPort } = await runningBroker(cwd, "embedded");
  const simRun = `"$0" "$1" sim run --vault v --url ${url(mtlsPort)} --publish-every 1h`;
  expect(bash(cwd, `${simRun} --count 3 | head -1 > first; echo "\${PIPESTATUS[0]}"`)).toEqual({ status: 0, stdout: "130\n", stderr: "" });
  expect(readFileSync(join(cwd, "first"), "utf8")).toMatch(/ connecting /);
  expect(bash(cwd, `${simRun} | head -1 > first; echo "\${PIPESTATUS[0]}"`)).toEqual({ status: 0, stdout: "0\n", stderr: "" });
  for (const more of ["", " --count 3"])
    expect(bash(cwd, `${simRun}${more} > /dev/full`)).toEqual({ status: 6, stdout: "", stderr: expect.stringMatching(FULL) as string });
});

test.each(["list --dir ca", "list --help", "--version", "help list", "provision --dir ca --id sensor-1 --vault v"])(
  "%s fails when the disk has no room for its output",
  async (command) => {
    const cwd = await directoryWithCa();
    expect(bash(cwd, `"$0" "$1" ${command} > /dev/full`)).toEqual({ status: 6, stdout: "", stderr: expect.stringMatching(FULL) as string });
  },
);

test("says so as JSON when asked for, and nothing more where the command had failed already", async () => {
  const cwd = await directoryWithCa();
  const lost = bash(cwd, '"$0" "$1" list --dir ca --json > /dev/full');
  expect([lost.status, JSON.parse(lost.stderr)]).toEqual([6, { error: expect.objectContaining({ code: "STORAGE_FULL" }) as unknown }]);
  expect(bash(cwd, '"$0" "$1" list --dir nowhere > /dev/full').stderr).toMatch(/^error NOT_A_CA: [^\n]+\n$/);
});

test("a file that takes only the first part of the output is no success", () => {
  const cwd = temporaryDirectory();
  const { status, stderr } = bash(cwd, 'ulimit -f 1; exec "$0" "$1" sim run --help > cut');
  expect([status, stderr]).toEqual([6, expect.stringMatching(FULL)]);
  expect(readFileSync(join(cwd, "cut"), "utf8")).toHaveLength(1024);
});
