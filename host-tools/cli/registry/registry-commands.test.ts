import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, hawser } from "../../../test/support/host-tools/test-cli.js";
import { ENV, json } from "../../../test/support/host-tools/test-fleet.js";
import { Scene } from "../../../test/support/host-tools/scene.js";

const scene = new Scene();
beforeAll(buildCli);

test("ca init makes a registry in SQLite, registry move moves it, and without the passphrase a list says that it is not verified", async () => {
  const cwd = scene.directory();
  await json(cwd, "ca", "init", "--dir", "ca", "--registry", "sqlite");
  await json(cwd, "provision", "--dir", "ca", "--id", "a", "--vault", "a.vault");
  const { code, stderr, stdout } = await hawser(["list", "--dir", "ca"], { cwd, env: {} });
  expect([code, stderr, stdout]).toEqual([
    0,
    expect.stringContaining("not verified") as string,
    expect.stringMatching(/^a +device/m) as string,
  ]);
  const move = ["registry", "move", "--dir", "ca", "--to", "files"];
  expect(await json(cwd, ...move)).toEqual({ dir: "ca", from: "sqlite", to: "files", names: 1 });
  expect([existsSync(join(cwd, "ca/registry/a.json")), existsSync(join(cwd, "ca/registry.sqlite"))]).toEqual([true, false]);
  expect((await hawser(move, { cwd, env: ENV })).stdout).toBe("The registry of ca (1 name) is in one file for each name already.\n");
  await scene.clean();
});

test.each(["file:ca", "libsql:ca", "a?mode=ro#x%41"])("a directory called %s is a path to SQLite too, and no address", async (dir) => {
  const cwd = scene.directory();
  await json(cwd, "ca", "init", "--dir", dir, "--registry", "sqlite");
  expect(await json(cwd, "ca", "verify", "--dir", dir)).toMatchObject({ names: 0 });
  expect(readdirSync(cwd)).toEqual([dir]);
  await scene.clean();
});

test("registry move refuses a kind that there is not", async () => {
  const { code, stderr } = await hawser(["registry", "move", "--dir", "ca", "--to", "csv"], { cwd: scene.directory(), env: ENV });
  expect([code, stderr]).toEqual([2, expect.stringMatching(/^error USAGE: .*files, sqlite/) as string]);
});
