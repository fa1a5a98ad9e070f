/** docs/incident.md, run as written. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { buildCli, CLI, hawser, RunningCli } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, PASSPHRASE, runningBroker, url } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const PAGE = readFileSync(fileURLToPath(new URL("../../docs/incident.md", import.meta.url)), "utf8");
const run = promisify(execFile);

/** The shell commands below a marker. */
function block(name: string): string {
  const script = new RegExp(`<!-- incident-${name} -->\\s*\`\`\`sh\\n([\\s\\S]*?)\`\`\``).exec(PAGE)?.[1] ?? "";
  expect(script).toContain("npx hawser");
  return script;
}

test("every incident's commands do what the page says, against mosquitto", { timeout: 300_000 }, async () => {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "passphrase"), `${PASSPHRASE}\n`, { mode: 0o600 });
  const env = { PATH: process.env["PATH"] ?? "", HAWSER_PASSPHRASE_FILE: join(cwd, "passphrase") };
  const play = async (name: string): Promise<string> => {
    const script = block(name).replaceAll("npx hawser", `"${process.execPath}" "${CLI}"`);
    return (await run("bash", ["-euc", script], { cwd, env })).stdout;
  };
  const ok = async (...args: string[]): Promise<void> => expect(await hawser(args, { cwd, env: ENV })).toMatchObject({ code: 0 });
  await ok("provision", "--dir", "ca", "--id", "pump-7", "--vault", "pump-7.vault");
  await ok("issue", "--dir", "ca", "--name", "dashboard", "--role", "backend", "--out", "dashboard");
  const { mtlsPort } = await runningBroker(cwd, "mosquitto");

  await play("policy");
  const [classes = "", roles = ""] = [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text);
  const policy = readFileSync(join(cwd, "policy.yaml"), "utf8");
  const added = policy.replace("\nclasses:\n", `\nclasses:\n${classes}`).replace("\nroles:\n", `\nroles:\n${roles}`);
  writeFileSync(join(cwd, "policy.yaml"), added);
  await play("apply");

  const device = new RunningCli(["sim", "run", "--vault", "pump-7.vault", "--url", url(mtlsPort), "--publish-every", "200ms"], {
    cwd,
    env: ENV,
  });
  await device.waitFor("published");
  const rights = await play("quarantine");
  expect(rights).toMatch(/publish +devices\/pump-7\/identity\/request/);
  expect(rights).not.toContain("devices/pump-7/up");
  await device.waitFor("publish-failed");
  const connections = (): number => device.events.filter(({ event }) => event === "connected").length;
  expect(connections()).toBe(1);
  await play("release");
  const publishedBefore = device.events.filter(({ event }) => event === "published").length;
  await device.waitFor(
    "published",
    (event) => device.events.filter(({ event: name }) => name === "published").indexOf(event) >= publishedBefore,
  );

  const denied = "2026-11-28T09:53:57: Denied PUBLISH from pump-7 (d0, q1, r0, m1, 'devices/pump-8/up/a', ... (1 bytes))\n";
  writeFileSync(join(cwd, "mosquitto.log"), denied.repeat(25));
  expect(await play("flood")).toMatch(/"rule":"denied-publishes","by":"client","offender":"pump-7"[\s\S]*pump-7 is quarantined/);

  expect(await play("network")).toMatch(
    /^1 blocked network, written to blocks\.nft\.\n {2}203\.0\.113\.0\/24 {2}until \S+ {2}flood\n[^]*\n1 blocked network, by the audit trail\.\n[^]*\n0 blocked networks, written/,
  );

  await play("release");
  writeFileSync(join(cwd, "mosquitto.log"), denied.replace(/^\S+:/, `${Math.floor(Date.now() / 1000)}:`).repeat(25));
  const hooks = [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""]) => text).find((text) => text.startsWith("hooks:")) ?? "";
  const program = ["/usr/bin/env", `HAWSER_STATE_DIR=${process.env["HAWSER_STATE_DIR"] ?? join(cwd, "state")}`, process.execPath, CLI];
  const command = program.map((word) => JSON.stringify(word)).join("\n      - ");
  expect(hooks).toContain("      - /usr/bin/hawser\n");
  writeFileSync(join(cwd, "hooks.yaml"), hooks.replace("/usr/bin/hawser", command).replaceAll("/srv/fleet", cwd), { mode: 0o600 });
  expect(await play("automatic")).toMatch(
    /"event":"quarantined","name":"pump-7","role":"quarantined","before":"device","rule":"denied-publishes"/,
  );

  const stolen = await play("stolen");
  expect(stolen).toContain("files loaded, sessions ended (pump-7)");
  expect(stolen).toMatch(/pump-7 +device +\S+ +revoked/);
  device.signal("SIGKILL");

  const before = readFileSync(join(cwd, "dashboard/client.crt.pem"), "utf8");
  await play("backend");
  expect(readFileSync(join(cwd, "dashboard/client.crt.pem"), "utf8")).not.toBe(before);

  await play("passphrase");
  expect((await hawser(["ca", "verify", "--dir", "ca"], { cwd, env: ENV })).code).toBe(3);
});
