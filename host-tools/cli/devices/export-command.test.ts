/** `hawser export`: audited, 0600, and no secret without the flag. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, hawser } from "../../../test/support/host-tools/test-cli.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../../test/support/host-tools/scene.js";

const scene = new Scene();
beforeAll(buildCli);
afterAll(() => scene.clean());

test("exports are audited and private, and hold a secret only where --secrets says so", async () => {
  const ca = await scene.ca();
  const { psk } = await provisionDevice(ca, "sensor-1");
  await provisionDevice(ca, "Sensor.2");
  const cwd = scene.directory();
  const run = (form: string, ...args: string[]): ReturnType<typeof hawser> =>
    hawser(["export", form, "--dir", ca.directory, ...(args.includes("--out") ? [] : ["--out", `${form}.out`]), ...args], {
      cwd,
      env: { HAWSER_PASSPHRASE: PASSPHRASE },
    });
  const trail = (): Record<string, unknown>[] =>
    readFileSync(join(ca.directory, "audit.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === "exported");

  expect(JSON.parse((await run("erp", "--separator", ";", "--json")).stdout)).toEqual({
    form: "erp",
    out: "erp.out",
    devices: 2,
    secrets: false,
  });
  expect(readFileSync(join(cwd, "erp.out"), "utf8")).toMatch(/^\ufeffid;serial;mac;role;.*\r\nSensor\.2;;;sensor;.*\r\nsensor-1;/);
  expect((await run("json", "--device", "sensor-1")).code).toBe(0);
  expect(readFileSync(join(cwd, "json.out"), "utf8")).not.toContain(psk.toString("hex"));
  expect((await run("json", "--device", "sensor-1", "--secrets", "--out", "secret.json")).stdout).toContain("WITH SECRETS");
  expect(readFileSync(join(cwd, "secret.json"), "utf8")).toContain(psk.toString("hex"));
  expect((await run("emqx-users", "--secrets", "--passwords", "passwords.csv")).code).toBe(0);
  for (const file of ["erp.out", "json.out", "secret.json", "emqx-users.out", "passwords.csv"])
    expect([file, statSync(join(cwd, file)).mode & 0o777]).toEqual([file, 0o600]);
  expect(trail().map(({ form, devices, secrets, name }) => [form, devices, secrets, name])).toEqual([
    ["erp", 2, "no", undefined],
    ["json", 1, "no", "sensor-1"],
    ["json", 1, "yes", "sensor-1"],
    ["emqx-users", 2, "yes", undefined],
  ]);

  // A gateway's credentials, as `hawser issue` leaves them.
  await ca.issueClient({
    name: "gateway-1",
    role: "backend",
    keep: ({ chainPem, keyPem: key, trustAnchorPem }) => {
      for (const [name, text] of [
        ["client.crt.pem", chainPem],
        ["client.key.pem", key],
        ["ca.crt.pem", trustAnchorPem],
      ] as const)
        writeFileSync(join(cwd, name), text, { mode: 0o600 });
    },
  });
  writeFileSync(join(cwd, "p12.pass"), "gateway passphrase\n", { mode: 0o600 });
  expect((await run("pkcs12", "--credentials", ".", "--secrets", "--out-passphrase-file", "p12.pass")).code).toBe(0);
  expect((await run("pem", "--credentials", ".")).code).toBe(0);
  expect(readFileSync(join(cwd, "pem.out"), "utf8")).not.toContain("PRIVATE KEY");
  expect(trail().at(-1)).toMatchObject({ form: "pem", name: "gateway-1", secrets: "no" });

  for (const [form, args, line] of [
    ["xml", [], /^error USAGE: unknown form "xml"/],
    ["azure-group", ["--secrets"], /^error USAGE: the form azure-group holds no secret/],
    ["emqx-users", ["--out", "x.csv"], /^error USAGE: emqx-users draws new passwords/],
    ["aws-bulk", [], /^error BAD_EXPORT: Sensor\.2 cannot be the name of a thing/],
    ["azure-individual", [], /^error BAD_EXPORT: the device Sensor\.2/],
    ["erp", ["--device", "nobody", "--out", "x.csv"], /^error UNKNOWN_ID: nobody/],
    ["erp", [], /^error OUT_EXISTS/],
  ] as const) {
    const { stderr } = await run(form, ...args);
    expect(stderr).toMatch(line);
  }
  for (const file of ["aws-bulk.out", "x.csv"]) expect(existsSync(join(cwd, file))).toBe(false);
});
