/** The limits that a CA's policy gives a role, as the monitor holds devices to them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { KnownRoles } from "./known-roles.js";

beforeAll(buildCli);

it("are those of the default device role for a role that the policy does not name, and none for a role without limits", async () => {
  const cwd = temporaryDirectory();
  const run = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await hawser(args, { cwd, env: { HAWSER_PASSPHRASE: "correct horse battery staple" } });
    expect([code, stderr]).toEqual([0, ""]);
  };
  await run("ca", "init", "--dir", "ca");
  await run("policy", "init", "--out", "policy.yaml");
  const device = "  device:\n    for: devices\n    class: device\n";
  const policy = readFileSync(join(cwd, "policy.yaml"), "utf8");
  expect(policy).toContain(device);
  writeFileSync(join(cwd, "policy.yaml"), policy.replace(device, `${device}    limits:\n      messagesPerSecond: 7\n`));
  await run("policy", "apply", "--dir", "ca", "policy.yaml");
  const roles = new KnownRoles(join(cwd, "ca"), (reason) => expect.unreachable(reason));
  onTestFinished(() => roles.close());
  expect(["pump", "device", "backend"].map((role) => roles.limitsOf(role).messagesPerSecond)).toEqual([7, 7, undefined]);
});
