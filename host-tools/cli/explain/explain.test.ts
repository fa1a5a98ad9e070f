import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

beforeAll(buildCli);

const TEXTS = {
  Ab3x: ["the id \u0001 has \u0001 characters", "Choose a shorter id."],
  z901: ["a listener threw"],
};

function placed(): { cwd: string; texts: string } {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "texts.json"), JSON.stringify(TEXTS));
  return { cwd, texts: "texts.json" };
}

test("a code is explained as docs/errors.md does, and one that there is not is refused", async () => {
  const cwd = temporaryDirectory();
  expect((await hawser(["explain", "OUTBOX_FULL", "SERVER_MOVED"], { cwd })).stdout).toMatch(
    /^OUTBOX_FULL: .+\n {2}Next: .+\nSERVER_MOVED: The broker names another, for good\.\n {2}Next: Change the configuration\.\n$/,
  );
  expect(JSON.parse((await hawser(["explain", "SERVER_MOVED", "--json"], { cwd })).stdout)).toMatchObject({ code: "SERVER_MOVED" });
  const unknown = await hawser(["explain", "NO_SUCH_CODE"], { cwd });
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    "error USAGE: unknown error code NO_SUCH_CODE. Next: See docs/errors.md for all of them.\n",
  ]);
});

test("the texts of a lean device's log are put back, and all else stays as it is", () => {
  const { cwd, texts } = placed();
  const log = [
    'error INVALID_ID: {Ab3x|"a {b}"|5}',
    "plain {braces} and {zzzz|unknown}",
    "{z901} twice {z901}",
    "{Ab3x|{z901}|{}}",
    "cut off {Ab3x|one",
    "{z901}\u001b[2J",
  ];
  const { stdout } = spawnSync(process.execPath, [CLI, "explain", "--texts", texts], { cwd, input: log.join("\n"), encoding: "utf8" });
  expect(stdout.split("\n")).toEqual([
    'error INVALID_ID: the id "a {b}" has 5 characters. Next: Choose a shorter id.',
    "plain {braces} and {zzzz|unknown}",
    "a listener threw twice a listener threw",
    "the id a listener threw has {} characters. Next: Choose a shorter id.",
    "cut off {Ab3x|one",
    "a listener threw\ufffd[2J",
    "",
  ]);
});

test("an unknown text and a file without texts are refused with the next step", async () => {
  const { cwd, texts } = placed();
  const unknown = await hawser(["explain", "--texts", texts, "{qqqq}"], { cwd });
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("neither an error code nor a text of this build")]);
  for (const content of ["no JSON", '{"Ab3x":7}']) {
    writeFileSync(join(cwd, "bad.json"), content);
    const bad = await hawser(["explain", "--texts", "bad.json", "{Ab3x}"], { cwd });
    expect([bad.code, bad.stderr]).toEqual([6, expect.stringContaining("no texts of a lean build in ")]);
  }
});
