/** docs/ci.md and action.yml: parsed as the CI systems parse them, and their commands run. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { buildCli, CLI, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { block } from "./readme-blocks.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = "docs/ci.md";

interface Action {
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default: string }>>;
  readonly outputs: Readonly<Record<string, { readonly value: string }>>;
  readonly runs: {
    readonly using: string;
    readonly steps: readonly [{ readonly shell: string; readonly env: Readonly<Record<string, string>>; readonly run: string }];
  };
}
interface Step {
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
}

const action = parse(readFileSync(join(ROOT, "action.yml"), "utf8")) as Action;

beforeAll(buildCli);

interface Ended {
  readonly code: number;
  readonly stdout: string;
}

function bash(script: string, cwd: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile("bash", ["-e", "-c", script], { cwd, env: { PATH: process.env["PATH"] ?? "", ...env } }, (_error, stdout) =>
      resolve({ code: child.exitCode ?? -1, stdout }),
    );
  });
}

/** A project in which `npx hawser` is this build. */
function project(): string {
  const cwd = temporaryDirectory();
  mkdirSync(join(cwd, "test"));
  writeFileSync(join(cwd, "test/outage.yaml"), block("ci-scenario", PAGE));
  mkdirSync(join(cwd, "bin"));
  writeFileSync(join(cwd, "bin/npx"), `#!/bin/sh\nshift\nexec "${process.execPath}" "${CLI}" "$@"\n`, { mode: 0o755 });
  return cwd;
}

/** Runs the action's step as the runner does: expressions are replaced, in variables only. */
async function act(given: Readonly<Record<string, string>>, cwd: string): Promise<Ended & { summary: string }> {
  const [step] = action.runs.steps;
  const env = Object.fromEntries(
    Object.entries(step.env).map(([name, value]) => [
      name,
      value.replace(/\$\{\{ inputs\.(\w+) \}\}/, (_all, input: string) => given[input] ?? action.inputs[input]?.default ?? ""),
    ]),
  );
  const summary = join(cwd, "summary.md");
  const ended = await bash(step.run, cwd, { ...env, GITHUB_ACTION_PATH: ROOT, GITHUB_STEP_SUMMARY: summary });
  return { ...ended, summary: existsSync(summary) ? readFileSync(summary, "utf8") : "" };
}

function expectResults(cwd: string, name: string): void {
  for (const kind of ["xml", "json", "html"])
    expect(existsSync(join(cwd, "hawser-results", `${name}.${kind}`)), `${name}.${kind}`).toBe(true);
}

describe("the GitHub action", { timeout: 120_000 }, () => {
  it("has inputs with descriptions, all of them variables of the step, and none in its script", () => {
    const [step] = action.runs.steps;
    expect(action.runs.using).toBe("composite");
    expect(step.run).not.toContain("${{");
    expect(Object.values(step.env).sort()).toEqual(
      Object.keys(action.inputs)
        .map((name) => `\${{ inputs.${name} }}`)
        .sort(),
    );
    const rows = [...readFileSync(join(ROOT, PAGE), "utf8").matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(rows.sort()).toEqual(Object.keys(action.inputs).sort());
    expect((JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { files: string[] }).files).toContain("action.yml");
  });

  it("is used in docs/ci.md with inputs that it has", () => {
    const { jobs } = parse(block("ci-github", PAGE)) as { jobs: { fleet: { steps: readonly Step[] } } };
    const used = jobs.fleet.steps.find(({ uses }) => uses === "./node_modules/hawser");
    expect(Object.keys(action.inputs)).toEqual(expect.arrayContaining(Object.keys(used?.with ?? {})));
    expect(used?.with?.["scenarios"]?.trim()).toBe("test/outage.yaml");
  });

  it("plays a scenario, writes its results and the summary, and passes", async () => {
    const cwd = project();
    const { code, summary } = await act({ scenarios: "test/outage.yaml\n", virtual: "true" }, cwd);
    expect(code).toBe(0);
    expectResults(cwd, "outage");
    expect(summary.match(/^### /gm)).toHaveLength(1);
  });

  it("fails with an annotation for what failed, and still plays what comes after it, the fleet too", async () => {
    const cwd = project();
    const short = "fleet: { devices: 2, publish: { every: 300ms } }\nduration: 2s\n";
    writeFileSync(join(cwd, "test/bad.yaml"), `name: bad start\n${short}expect: [at least 3 devices used psk]\n`);
    writeFileSync(join(cwd, "test/second.yaml"), `name: second\n${short}expect: [no message lost]\n`);
    const fleet = "--devices=2\n--duration=2s\n--publish-every=300ms\n--broker=embedded\n--workers=1\n";
    const { code, stdout, summary } = await act({ scenarios: "test/bad.yaml\ntest/second.yaml", virtual: "true", fleet }, cwd);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^::error title=bad start%3A at least 3 devices used psk::/m);
    for (const name of ["bad", "second", "fleet"]) expectResults(cwd, name);
    expect(summary.match(/^### /gm)).toHaveLength(3);
  });

  it("runs nothing that stands in an input, and says what is missing", async () => {
    const cwd = project();
    const hostile = await act({ scenarios: "$(touch pwned)`touch pwned`;touch pwned.yaml" }, cwd);
    expect([hostile.code === 0, existsSync(join(cwd, "pwned")), existsSync(join(cwd, "pwned.yaml"))]).toEqual([false, false, false]);
    expect(await act({}, cwd)).toMatchObject({ code: 2, stdout: expect.stringContaining("give the input scenarios or fleet") as string });
  });
});

describe("the recipes of docs/ci.md", { timeout: 180_000 }, () => {
  const commands = {
    gitlab: (parse(block("ci-gitlab", PAGE)) as { fleet: { script: string[] } }).fleet.script,
    jenkins: [...block("ci-jenkins", PAGE).matchAll(/^\s*sh '([^']*)'$/gm)].map(([, command]) => command ?? ""),
  };

  it("run the same commands on GitLab and Jenkins, and name the files that they write", () => {
    expect(commands.jenkins).toEqual(commands.gitlab);
    const gitlab = parse(block("ci-gitlab", PAGE)) as { fleet: { artifacts: { paths: string[]; reports: { junit: string } } } };
    expect(gitlab.fleet.artifacts).toMatchObject({ paths: ["outage.html"], reports: { junit: "outage.xml" } });
    const jenkins = block("ci-jenkins", PAGE);
    expect([jenkins.split("{").length, jenkins.split("(").length]).toEqual([jenkins.split("}").length, jenkins.split(")").length]);
    expect(jenkins).toMatch(/junit 'outage\.xml'\s+archiveArtifacts artifacts: 'outage\.html'/);
  });

  it("pass in a project, and write what the pipeline reads", async () => {
    const cwd = project();
    const [install, ...rest] = commands.gitlab;
    expect(install).toBe("npm ci");
    const { code } = await bash(rest.join("\n"), cwd, { PATH: `${join(cwd, "bin")}:${process.env["PATH"] ?? ""}` });
    expect(code).toBe(0);
    expect(readFileSync(join(cwd, "outage.xml"), "utf8")).toContain('failures="0"');
    expect(existsSync(join(cwd, "outage.html"))).toBe(true);
  });
});
