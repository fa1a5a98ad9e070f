import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import type { Finished } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json } from "../../../test/support/host-tools/test-fleet.js";
import { provisionDevice, testKey } from "../../../test/support/host-tools/scene.js";
import { openCa } from "../../ca/certificate-authority.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";

beforeAll(buildCli);

const DAY_MS = 86_400_000;

/** Two meters at different sites, one revoked device, and a client. */
async function smallFleet(): Promise<string> {
  const cwd = await directoryWithCa({ lifetimesMs: { device: 20 * DAY_MS, client: 200 * DAY_MS } });
  const ca = await openCa(join(cwd, "ca"), ENV.HAWSER_PASSPHRASE);
  await ca.applyPolicy(`${DEFAULT_POLICY_TEXT}\nattributes:\n  site: { values: [b1, b2] }\n`);
  await ca.issueClient({ name: "board", role: "backend", attributes: { site: "b2" } });
  const meter = await ca.reserve({ id: "meter-1", role: "meter", attributes: { site: "b1" } });
  await ca.complete(meter, (await testKey("meter-1")).csr);
  await ca.activate(meter);
  for (const id of ["meter-2", "meter-3"]) await provisionDevice(ca, id);
  await ca.revoke({ id: "meter-3" });
  return cwd;
}

test("list shows the names that all its filters fit, and counts them", async () => {
  const cwd = await smallFleet();
  const ids = async (...flags: string[]): Promise<string[]> =>
    (await json<{ id: string }[]>(cwd, "list", "--dir", "ca", ...flags)).map(({ id }) => id);
  expect(await ids("--attribute", "site=b1", "--attribute", "site=b2")).toEqual(["board", "meter-1"]);
  expect(await ids("--state", "active", "--kind", "device", "--lacks", "site")).toEqual(["meter-2"]);
  expect(await ids("--class", "device", "--expires-within", "30d", "--id", "meter-*", "--sort", "expiry", "--limit", "1")).toEqual([
    "meter-1",
  ]);
  expect(await json(cwd, "list", "--dir", "ca", "--kind", "device", "--count")).toEqual({ count: 3, states: { active: 2, revoked: 1 } });
});

test("list prints a table with attributes, JSON lines as its JSON, and CSV with a column for each attribute", async () => {
  const cwd = await smallFleet();
  const text = async (...flags: string[]): Promise<string> => (await hawser(["list", "--dir", "ca", ...flags], { cwd, env: ENV })).stdout;
  expect(await text("--role", "meter")).toMatch(/^ID +KIND +ROLE +STATE +SERIAL +EXPIRES +ATTRIBUTES\nmeter-1 .* site=b1\n$/);
  expect(
    (await text("--format", "jsonl"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(await json(cwd, "list", "--dir", "ca"));
  expect(await text("--format", "csv", "--id", "meter-?")).toMatch(
    /^id,kind,role,state,serial,notBefore,notAfter,site\r\nmeter-1,device,meter,active,[0-9a-f]+,[^,]+Z,[^,]+Z,b1\r\nmeter-2,.*,\r\nmeter-3,device,sensor,revoked,,,,\r\n$/,
  );
});

test("list says how many more there are than --limit shows", async () => {
  const cwd = await directoryWithCa();
  const ca = await openCa(join(cwd, "ca"), ENV.HAWSER_PASSPHRASE);
  for (const id of ["dev1", "dev2", "dev3"]) await provisionDevice(ca, id);
  const list = (...flags: string[]): Promise<Finished> => hawser(["list", "--dir", "ca", ...flags], { cwd, env: ENV });
  expect(await list("--limit", "2")).toMatchObject({ code: 0, stderr: "The first 2 of 3.\n" });
  expect(await list("--limit", "2", "--count")).toMatchObject({ stdout: "3\n", stderr: "" });
  expect(await list("--role", "none")).toMatchObject({ stdout: "No name fits.\n" });
});

test("list follows a rollover: --previous-issuer shows who has not moved", async () => {
  const cwd = await directoryWithCa();
  const ca = await openCa(join(cwd, "ca"), ENV.HAWSER_PASSPHRASE);
  await provisionDevice(ca, "dev1");
  await ca.rollOver();
  await provisionDevice(ca, "dev2");
  expect(await json(cwd, "list", "--dir", "ca", "--previous-issuer")).toMatchObject([{ id: "dev1" }]);
  await provisionDevice(ca, "dev1", true);
  expect(await json(cwd, "list", "--dir", "ca", "--previous-issuer")).toEqual([]);
});

test.each([
  [
    ["--state", "gone"],
    /^error USAGE: option '--state <state>' argument 'gone' is invalid\. Allowed choices are reserved, active, certificate-revoked, revoked\./,
  ],
  [["--attribute", "site"], /^error USAGE: "site" is not NAME=VALUE\./],
  [["--format", "csv", "--json"], /"code":"USAGE","message":"--json and --format exclude each other"/],
  [["--class", "engine"], /^error USAGE: the policy has no class "engine"\. Next: Choose one of device\./],
] as const)("list refuses %j", async (flags, message) => {
  const cwd = await directoryWithCa();
  expect(await hawser(["list", "--dir", "ca", ...flags], { cwd, env: ENV })).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringMatching(message) as string,
  });
});

test("provision and issue refuse attributes that the policy does not declare, and make nothing", async () => {
  const cwd = await directoryWithCa();
  const provision = ["provision", "--dir", "ca", "--id", "meter-1", "--vault", "v", "--attribute"];
  expect(await hawser([...provision, "site=b1"], { cwd, env: ENV })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error INVALID_ATTRIBUTE: the policy has no attribute "site"/) as string,
  });
  expect(await hawser([...provision, "site="], { cwd, env: ENV })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error USAGE: the attribute site needs one value/) as string,
  });
  const issue = ["issue", "--dir", "ca", "--name", "board", "--role", "backend", "--out", "b", "--attribute", "site=b1"];
  expect(await hawser(issue, { cwd, env: ENV })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error INVALID_ATTRIBUTE/) as string,
  });
  expect(await json(cwd, "list", "--dir", "ca")).toEqual([]);
});

test("provision and issue set the attributes that they are given", async () => {
  const cwd = await smallFleet();
  await json(cwd, "provision", "--dir", "ca", "--id", "meter-4", "--attribute", "site=b2", "--vault", "v");
  await json(cwd, "issue", "--dir", "ca", "--name", "panel", "--role", "backend", "--attribute", "site=b1", "--out", "b");
  expect(
    (await json<{ id: string; attributes?: object }[]>(cwd, "list", "--dir", "ca")).map(({ id, attributes }) => [id, attributes]),
  ).toEqual(
    expect.arrayContaining([
      ["meter-4", { site: "b2" }],
      ["panel", { site: "b1" }],
      ["meter-2", undefined],
    ]),
  );
});

test("a directory that is no CA is told before anything is read", async () => {
  expect(await hawser(["list", "--dir", "."], { cwd: temporaryDirectory(), env: ENV })).toMatchObject({
    code: 6,
    stderr: expect.stringMatching(/^error NOT_A_CA/) as string,
  });
});
