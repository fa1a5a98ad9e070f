/** The commands among the ten recipes of docs/testing.md, run as written; the six tests among them run in package.test.ts. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../sim/brokers/free-port.js";
import { buildCli, CLI, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { block } from "./readme-blocks.js";

const PAGE = "docs/testing.md";

beforeAll(buildCli);

/** Runs a block in a folder in which `hawser` is this build. What it leaves running ends with it. */
function shell(script: string, cwd: string): Promise<{ code: number | null; stdout: string }> {
  mkdirSync(join(cwd, "bin"), { recursive: true });
  writeFileSync(join(cwd, "bin/hawser"), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`, { mode: 0o755 });
  const whole = `set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n${script}`;
  const env = { PATH: `${join(cwd, "bin")}:${process.env["PATH"] ?? ""}` };
  return new Promise((resolve) => {
    const child = execFile("bash", ["-c", whole], { cwd, env }, (_error, stdout) => resolve({ code: child.exitCode, stdout }));
  });
}

describe("the recipes of docs/testing.md", { timeout: 180_000 }, () => {
  it("check a scenario, report on it for a pipeline, and play it again from its seed to the same end", async () => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, "outage.yaml"), block("scenario-outage", PAGE));
    const blocks = ["recipe-check", "recipe-report", "recipe-replay"].map((name) => block(name, PAGE));
    const { code, stdout } = await shell(blocks.join("\n"), cwd);
    expect(code).toBe(0);
    expect(stdout).toContain("outage.yaml is a valid scenario");
    expect(readFileSync(join(cwd, "outage.xml"), "utf8")).toContain('failures="0"');
    expect(readFileSync(join(cwd, "outage.html"), "utf8")).toContain("broker outage");
  });

  it("cut a board off from its broker and let it back", async () => {
    const upstream = createServer().listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => upstream.once("listening", resolve));
      const { port } = upstream.address() as { port: number };
      const [listen = 0, control = 0] = await freePorts(2);
      const script = block("recipe-bench", PAGE)
        .replace("localhost:8883", `127.0.0.1:${port}`)
        .replace("127.0.0.1:9883", `127.0.0.1:${listen}`)
        .replaceAll("8474", String(control));
      const { code, stdout } = await shell(script, temporaryDirectory());
      expect(code).toBe(0);
      expect([...stdout.matchAll(/"enabled":\s*(true|false)/g)].map(([, enabled]) => enabled)).toEqual(["false", "true"]);
    } finally {
      upstream.close();
    }
  });
});
