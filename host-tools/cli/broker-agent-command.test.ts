/** The section of docs/brokers.md on a broker on another machine, run as written. */
import { execFile } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { freePorts } from "../../test/support/host-tools/scene.js";
import { buildCli, CLI, hawser, RunningCli } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const PAGE = readFileSync(fileURLToPath(new URL("../../docs/brokers.md", import.meta.url)), "utf8");
const run = promisify(execFile);

/** The commands below a marker, one a line. */
function commands(name: string): string[] {
  const script = new RegExp(`<!-- ${name} -->\\s*\`\`\`sh\\n([\\s\\S]*?)\`\`\``).exec(PAGE)?.[1] ?? "";
  return script
    .replace(/ \\\n\s*/g, " ")
    .trim()
    .split("\n");
}

test("a broker on another machine is made, served and shut as docs/brokers.md says", { timeout: 300_000 }, async () => {
  const cwd = await directoryWithCa();
  const [mtlsPort, pskPort] = await freePorts();
  const env = { PATH: process.env["PATH"] ?? "", ...ENV };
  copyFileSync(join(cwd, "ca/root.crt.pem"), join(cwd, "root.crt.pem"));
  const sh = async (command: string, more: Record<string, string> = {}): Promise<string> => {
    const script = command.replace(/^hawser/, `"${process.execPath}" "${CLI}"`);
    return (await run("bash", ["-euc", script], { cwd, env: { ...env, ...more } })).stdout;
  };
  const withPorts = (command: string): string =>
    command.replaceAll("8883", String(mtlsPort)).replaceAll("8884", String(pskPort)).replace("--agents 8899", "--agents 0");
  const argsOf = (command: string): string[] => withPorts(command).split(" ").slice(1);

  const made = await sh(commands("agent-init")[0] ?? "");
  const fingerprint = /fingerprint: ([0-9a-f]{64})/.exec(made)?.[1] ?? "";
  const unit = readFileSync(join(cwd, "agent/hawser-broker-agent.service"), "utf8");
  expect(unit).toMatch(/^User=mosquitto$/m);
  expect(unit).toMatch(/^CapabilityBoundingSet=$/m);
  expect(unit).toContain(`hawser broker agent --dir "${cwd}/agent" --authority "localhost:8899" --out "${cwd}/agent-broker"`);

  const [config = "", authorityCommand = ""] = commands("agent-config");
  // Mosquitto, which the agent starts, stays who runs this test.
  const asMe = withPorts(config).replace("--agent ", `--user ${userInfo().username} --agent `);
  expect(await sh(asMe, { FINGERPRINT: fingerprint })).toContain("Its agent fetches it from hawser authority --agents.");
  expect((await hawser(["provision", "--dir", "ca", "--id", "pump-7", "--vault", "v"], { cwd, env: ENV })).code).toBe(0);

  const authority = new RunningCli(argsOf(authorityCommand), { cwd, env: ENV });
  const { port } = await authority.waitFor("agents-ready");
  const agent = new RunningCli(argsOf((commands("agent-run")[0] ?? "").replace("8899", String(port))), { cwd, env: {} });
  await agent.waitFor("serving");
  await authority.waitFor("connected");

  const revoked = await hawser(["revoke", "--dir", "ca", "--id", "pump-7"], { cwd, env: ENV });
  expect(revoked).toMatchObject({ code: 0, stdout: expect.stringContaining("files loaded, sessions ended (pump-7)") as string });
  authority.signal("SIGTERM");
  agent.signal("SIGTERM");
  expect([(await authority.ended).code, (await agent.ended).code]).toEqual([0, 0]);
  expect((await hawser(["broker", "config", "--dir", "ca", ...argsOf(config).slice(4), "--agent", "x"], { cwd, env: ENV })).stderr).toMatch(
    /^error BAD_CONFIG: "x" is not an agent's fingerprint/,
  );
});
