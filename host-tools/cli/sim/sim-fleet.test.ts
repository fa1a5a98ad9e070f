import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, runningBroker, url } from "../../../test/support/host-tools/test-fleet.js";

interface Result {
  passed: boolean;
  checks: { name: string; passed: boolean }[];
  messages: { accepted: { qos1: number; qos2: number }; delivered: number; faultCount: number };
  commands: { sent: number; answered: number };
  connections: { most: number; accepted: number };
}

beforeAll(buildCli);

const resultOf = (stdout: string): Result => JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result;

describe("hawser sim fleet", { timeout: 180_000 }, () => {
  it("settles every message of a fleet whose broker is killed half-way, and writes what a pipeline reads", async () => {
    const cwd = temporaryDirectory();
    const flags = [
      "--devices",
      "6",
      "--duration",
      "10s",
      "--publish-every",
      "300ms",
      "--qos",
      "mixed",
      "--commands",
      "4",
      "--restart-broker",
      "500ms",
      "--retry-cap",
      "1s",
      "--broker",
      "embedded",
      "--seed",
      "s",
    ];
    const files = ["--junit", "fleet.xml", "--html", "fleet.html", "--result", "fleet.json"];
    const { code, stdout, stderr } = await hawser(["sim", "fleet", ...flags, ...files, "--json"], {
      cwd,
      env: { GITHUB_STEP_SUMMARY: join(cwd, "summary.md") },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const result = resultOf(stdout);
    expect(result).toMatchObject({ passed: true, messages: { faultCount: 0 } });
    expect(result.messages.accepted.qos2).toBeGreaterThan(0);
    expect(result.connections.accepted).toBeGreaterThanOrEqual(12);
    expect(result.commands.answered).toBe(result.commands.sent);
    expect(readFileSync(join(cwd, "fleet.xml"), "utf8")).toContain('failures="0"');
    expect(readFileSync(join(cwd, "summary.md"), "utf8")).toContain("every accepted message is delivered");
    expect((JSON.parse(readFileSync(join(cwd, "fleet.json"), "utf8")) as { events: unknown[] }).events).toHaveLength(2);
  });

  it("fails and names what is missing where devices cannot come online", async () => {
    const cwd = temporaryDirectory();
    // The broker is killed half-way and comes back only after the run.
    const flags = [
      "--devices",
      "2",
      "--duration",
      "1s",
      "--publish-every",
      "100ms",
      "--restart-broker",
      "6s",
      "--drain",
      "1s",
      "--broker",
      "embedded",
      "--start-rate",
      "1",
      "--workers",
      "1",
    ];
    const { code, stdout, stderr } = await hawser(["sim", "fleet", ...flags, "--json"], { cwd });
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "FLEET_FAILED" } });
    expect(resultOf(stdout).passed).toBe(false);
  });

  it("takes its devices from a CA, keeps them in a sealed file, and uses them again", async () => {
    const cwd = await directoryWithCa();
    const { mtlsPort } = await runningBroker(cwd, "embedded");
    const run = [
      "sim",
      "fleet",
      "--devices",
      "3",
      "--duration",
      "2s",
      "--publish-every",
      "200ms",
      "--dir",
      "ca",
      "--url",
      url(mtlsPort),
      "--identities",
      "fleet.sealed",
      "--ids",
      "line-{n:3}",
      "--json",
    ];
    for (const times of [1, 2]) {
      const { code, stdout, stderr } = await hawser(run, { cwd, env: ENV });
      expect({ times, code, stderr }).toEqual({ times, code: 0, stderr: "" });
      expect(resultOf(stdout).connections.most).toBe(3);
    }
    const names = await json<{ name: string; state: string }[]>(cwd, "list", "--dir", "ca");
    expect(JSON.stringify(names)).toContain("line-003");
    const sealed = readFileSync(join(cwd, "fleet.sealed"), "utf8");
    expect(sealed).not.toContain("line-001");
    const wrong = await hawser(run, { cwd, env: { HAWSER_PASSPHRASE: "another passphrase" } });
    expect(wrong.code).toBe(3);
  });

  it("has its topics where the policy of the CA has them", async () => {
    const cwd = await directoryWithCa();
    const policy = DEFAULT_POLICY_TEXT.replace("base: devices/{id}", "base: plant/{id}")
      .replace('["devices/#"]', '["plant/#"]')
      .replace(/topic: identity\/(\w+)/g, 'topic: "who/{id}/$1"\n        absolute: true');
    writeFileSync(join(cwd, "p.yaml"), policy);
    await json(cwd, "policy", "apply", "p.yaml", "--dir", "ca");
    const { mtlsPort } = await runningBroker(cwd, "embedded");
    const flags = ["--devices", "3", "--duration", "3s", "--publish-every", "200ms", "--commands", "5", "--url", url(mtlsPort)];
    for (const client of ["hawser", "mqttjs"]) {
      const { code, stdout, stderr } = await hawser(
        ["sim", "fleet", ...flags, "--dir", "ca", "--ids", `${client}-{n}`, "--client", client, "--json"],
        { cwd, env: ENV },
      );
      expect({ client, code, stderr }).toEqual({ client, code: 0, stderr: "" });
      const { messages, commands } = resultOf(stdout);
      expect(messages.delivered).toBeGreaterThan(5);
      expect([commands.answered, commands.sent > 0]).toEqual([commands.sent, true]);
    }
  });

  it.each([
    [["--devices", "0"], "BAD_NUMBER"],
    [["--devices", "1", "--dir", "ca"], "USAGE"],
    [["--devices", "1", "--ids", "same"], "INVALID_ID"],
    [["--devices", "1", "--topic", "a/#"], "INVALID_TOPIC"],
    [["--devices", "1", "--payload", "9-1"], "USAGE"],
  ])("refuses %j with %s before anything is made", async (flags, code) => {
    const { code: exit, stderr } = await hawser(["sim", "fleet", ...flags, "--json"], { cwd: temporaryDirectory() });
    expect([exit, (JSON.parse(stderr) as { error: { code: string } }).error.code]).toEqual([2, code]);
  });
});
