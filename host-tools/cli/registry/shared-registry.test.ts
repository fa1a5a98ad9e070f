/** A registry that machines share, by commands. */
import { chmodSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { PostgresServer } from "../../../test/support/host-tools/postgres-server.js";
import { freePorts, Scene } from "../../../test/support/host-tools/scene.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { ENV, json } from "../../../test/support/host-tools/test-fleet.js";

// Each runs some ten commands.
vi.setConfig({ testTimeout: 240_000 });

const scene = new Scene();
let server: PostgresServer;

beforeAll(async () => {
  buildCli();
  server = await PostgresServer.start();
}, 120_000);
afterAll(async () => {
  await server.stop();
  await scene.clean();
});

test("machines share a CA by a URL that is in no argument, message or file of the CA", async () => {
  const cwd = scene.directory();
  const url = server.url.replace("hawser@", "hawser:wonderland@");
  const env = { ...ENV, HAWSER_REGISTRY_URL: url };
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await hawser(args, { cwd, env });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).not.toContain("wonderland");
    return stdout;
  };
  await run("ca", "init", "--dir", "one", "--registry", "postgres");
  expect(await run("registry", "join", "--dir", "two")).toMatch(
    /^two is this machine's directory of the CA "Hawser", at change 2, with 0 names/,
  );
  await run("provision", "--dir", "two", "--id", "a", "--vault", "a.vault");
  expect(await run("list", "--dir", "one")).toMatch(/^a +device +sensor +active/m);
  await run("revoke", "--dir", "one", "--id", "a");
  expect(await run("list", "--dir", "two")).toMatch(/^a +device +sensor +revoked/m);
  expect(await run("ca", "verify", "--dir", "two")).toMatch(/all agree/);
  for (const file of readdirSync(cwd, { recursive: true, encoding: "utf8" }).map((name) => join(cwd, name)))
    if (statSync(file).isFile()) expect(readFileSync(file, "latin1"), file).not.toContain("wonderland");
});

test("a directory remembers the file with the URL, and says where to look when that is gone, or when others may read it", async () => {
  const cwd = scene.directory();
  const file = join(cwd, "registry-url");
  writeFileSync(file, `${server.url}\n`, { mode: 0o600 });
  await json(cwd, "ca", "init", "--dir", "ca", "--name", "Remembers");
  expect(await json(cwd, "registry", "move", "--dir", "ca", "--to", "postgres", "--registry-url-file", "registry-url")).toEqual({
    ...{ dir: "ca", from: "files", to: "postgres", names: 0 },
  });
  await json(cwd, "provision", "--dir", "ca", "--id", "a", "--vault", "a.vault");
  chmodSync(file, 0o644);
  const refused = await hawser(["revoke", "--dir", "ca", "--id", "a"], { cwd, env: ENV });
  expect([refused.code, refused.stderr]).toEqual([
    3,
    expect.stringMatching(/error REGISTRY_URL_EXPOSED: others may read .*registry-url/) as string,
  ]);
  chmodSync(file, 0o600);
  await server.kill();
  const read = await hawser(["list", "--dir", "ca"], { cwd, env: ENV });
  expect([read.code, read.stdout, read.stderr]).toEqual([
    0,
    expect.stringMatching(/^a +device +sensor +active/m) as string,
    expect.stringMatching(/^warning REGISTRY_AWAY: the registry's database .* does not answer/m) as string,
  ]);
  const { code, stderr } = await hawser(["revoke", "--dir", "ca", "--id", "a"], { cwd, env: ENV });
  expect([code, stderr]).toEqual([4, expect.stringMatching(/^error REGISTRY_AWAY: /m) as string]);
  await server.resume();
  await json(cwd, "revoke", "--dir", "ca", "--id", "a");
  expect(await json(cwd, "registry", "snapshot", "--dir", "ca")).toMatchObject({ dir: "ca", revision: 6 });
  expect(await json(cwd, "registry", "move", "--dir", "ca", "--to", "files")).toMatchObject({ from: "postgres", to: "files", names: 1 });
});

test("a directory leaves a database that was put back, changed or moved, and a sound one when it is forced to alone", async () => {
  const cwd = scene.directory();
  const file = ["--registry-url-file", server.urlFile];
  await json(cwd, "ca", "init", "--dir", "one", "--name", "Left", "--registry", "postgres", ...file);
  for (const dir of ["two", "three"]) await json(cwd, "registry", "join", "--dir", dir, "--name", "Left", ...file);
  await json(cwd, "issue", "--dir", "one", "--name", "dash", "--role", "backend", "--out", "dash");
  await json(cwd, "list", "--dir", "two");
  const leave = (dir: string): string[] => ["registry", "move", "--dir", dir, "--to", "files", "--without-database"];
  const left = { from: "postgres", to: "files", names: 1 };
  const refused = async (code: string, ...args: string[]): Promise<void> => {
    const { stderr } = await hawser(args, { cwd, env: ENV });
    expect(stderr).toMatch(new RegExp(`^error ${code}: `, "m"));
  };
  await refused("REGISTRY_IN_USE", ...leave("one"));
  const [log] = await server.query("SELECT log FROM hawser_changes ORDER BY added DESC LIMIT 1");
  const sql = async (statement: string): Promise<unknown> => server.query(`${statement} AND log = '${String(log?.["log"])}'`);
  await sql("UPDATE hawser_changes SET body = body || 'x' WHERE revision = 3");
  await refused("REGISTRY_TAMPERED", "list", "--dir", "three");
  expect(await json(cwd, ...leave("three"))).toEqual({ dir: "three", ...left, names: 0 });
  await sql("DELETE FROM hawser_changes WHERE revision = 3");
  await refused("REGISTRY_ROLLED_BACK", "list", "--dir", "two");
  expect(await json(cwd, ...leave("two"))).toEqual({ dir: "two", ...left });
  expect(await json(cwd, "ca", "verify", "--dir", "two")).toMatchObject({ names: 1 });

  await json(cwd, "registry", "move", "--dir", "two", "--to", "postgres", ...file);
  await sql("DELETE FROM hawser_snapshots WHERE true");
  await json(cwd, "registry", "join", "--dir", "four", "--name", "Left", ...file);
  await json(cwd, "registry", "move", "--dir", "two", "--to", "sqlite");
  await refused("REGISTRY_MOVED", "list", "--dir", "four");
  await refused("REGISTRY_IN_USE", ...leave("four"));
  expect(await json(cwd, ...leave("four"), "--force")).toEqual({ dir: "four", ...left });
});

test("a machine that joins again names the brokers that its former directory kept, until they are written again", async () => {
  const cwd = scene.directory();
  const file = ["--registry-url-file", server.urlFile, "--name", "Rejoined"];
  await json(cwd, "ca", "init", "--dir", "one", "--name", "Rejoined", "--registry", "postgres", ...file.slice(0, 2));
  await json(cwd, "registry", "join", "--dir", "two", ...file);
  const [mtls, psk] = await freePorts();
  const configure = [
    "broker",
    "config",
    "--dir",
    "one",
    "--for",
    "mosquitto",
    "--out",
    "broker",
    "--mtls-port",
    `${mtls}`,
    "--psk-port",
    `${psk}`,
  ];
  await json(cwd, ...configure);
  for (const name of ["a", "b", "c"]) await json(cwd, "issue", "--dir", "two", "--name", name, "--role", "backend", "--out", name);
  const left = /^warning OUTPUT_LEFT: the broker configuration in .*broker is not kept up to date/m;
  const run = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await hawser(args, { cwd, env: ENV });
    return `${stdout}${stderr}`;
  };
  const said = await run("revoke", "--dir", "two", "--id", "a");
  expect(said).toContain("Brokers of other machines (1) follow when those machines take this in");
  expect(said).not.toMatch(left);
  expect(await run("ca", "verify", "--dir", "one")).not.toMatch(left);

  renameSync(join(cwd, "one"), join(cwd, "former"));
  expect(await run("registry", "join", "--dir", "one", ...file)).toMatch(left);
  expect(await run("revoke", "--dir", "one", "--id", "b")).toMatch(left);
  expect(await run("ca", "verify", "--dir", "one")).toMatch(left);
  await json(cwd, ...configure);
  expect(await run("revoke", "--dir", "one", "--id", "c")).not.toMatch(left);
  expect(readFileSync(join(cwd, "broker/crl.pem"), "utf8")).toContain(readFileSync(join(cwd, "one/crl.pem"), "utf8").trim());
});

test("registry follow takes in what other machines change, as it happens", async () => {
  const cwd = scene.directory();
  const file = ["--registry-url-file", server.urlFile];
  await json(cwd, "ca", "init", "--dir", "one", "--name", "Followed", "--registry", "postgres", ...file);
  await json(cwd, "registry", "join", "--dir", "two", "--name", "Followed", ...file);
  const follower = new RunningCli(["registry", "follow", "--dir", "two"], { cwd, env: ENV });
  await follower.waitFor("ready");
  await json(cwd, "provision", "--dir", "one", "--id", "a", "--vault", "a.vault");
  await follower.waitFor("taken-in", ({ revision }) => revision === 5);
  follower.signal("SIGTERM");
  expect(await follower.ended).toMatchObject({ code: 0 });
  expect(readFileSync(join(cwd, "two/state.json"))).toEqual(readFileSync(join(cwd, "one/state.json")));
});

test("connect is refused for a CA that is not shared", async () => {
  const cwd = scene.directory();
  await json(cwd, "ca", "init", "--dir", "ca");
  const { code, stderr } = await hawser(["registry", "connect", "--dir", "ca"], { cwd, env: ENV });
  expect([code, stderr]).toEqual([6, expect.stringMatching(/error REGISTRY_NOT_FOUND: the registry of ca is in no database/) as string]);
});
