/**
 * The commands of docs/getting-started.md and docs/ca*.md, run as they stand there; only ports and `npx hawser` are replaced. README's own:
 * package.test.ts.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { buildCli, CLI, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { PostgresServer } from "../support/host-tools/postgres-server.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { block } from "./readme-blocks.js";

const GUIDE = "docs/getting-started.md";

interface Ran {
  code: number | null;
  output: string;
}

/** Runs a script with bash, stopping at the first command that fails; what it left in the background ends with it. */
async function bash(script: string, directory: string): Promise<Ran> {
  const bin = join(directory, "bin");
  mkdirSync(bin);
  // What npm's link in node_modules/.bin does.
  writeFileSync(join(bin, "hawser"), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`, { mode: 0o755 });
  const path = [bin, process.env["PATH"] ?? "", "/usr/sbin"].join(":");
  const child = spawn("bash", ["-euc", script], { cwd: directory, env: { PATH: path, HOME: directory }, detached: true });
  const endGroup = (): void => {
    try {
      process.kill(-(child.pid ?? 0), "SIGKILL");
    } catch {
      // the group is gone already
    }
  };
  onTestFinished(endGroup);
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve) => child.once("exit", (status) => resolve(status)));
  endGroup();
  return { code, output: Buffer.concat(chunks).toString("utf8") };
}

beforeAll(buildCli);

describe("the first guide", () => {
  it("leads from nothing to a device's readings at mosquitto_sub", { timeout: 120_000 }, async () => {
    const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
    const wait = `until (exec 3<>/dev/tcp/localhost/${mtlsPort}) 2>/dev/null; do sleep 0.1; done`;
    const script = block("walkthrough", GUIDE)
      .replaceAll("npx hawser", "hawser")
      .replaceAll("8883", String(mtlsPort))
      .replaceAll("8884", String(pskPort))
      // A person types more slowly than a script runs.
      .replace(/^(mosquitto -c .*)$/m, `$1\n${wait}`);
    expect(script).toContain(wait);
    const directory = temporaryDirectory();
    const { code, output } = await bash(script, directory);
    expect(output).toMatch(/devices\/sensor-1\/up\/temperature \{.*"n":3/);
    expect(output).toMatch(/sensor-1 is shut out/);
    expect(code, output).toBe(0);
  });

  it("makes a first factory batch", { timeout: 120_000 }, async () => {
    const { code, output } = await bash(block("batch", GUIDE).replaceAll("npx hawser", "hawser"), temporaryDirectory());
    expect(code, output).toBe(0);
    const listed = JSON.parse(output.slice(output.lastIndexOf("\n", output.length - 2) + 1)) as unknown;
    expect(JSON.stringify(listed)).toMatch(/meter-001.*meter-002.*meter-003/);
  });

  it("has a CI run that ends with 0 after a hundred readings", { timeout: 180_000 }, async () => {
    const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
    const yaml = block("ci", GUIDE)
      .replaceAll("npx hawser", "hawser")
      .replaceAll("8883", String(mtlsPort))
      .replaceAll("8884", String(pskPort));
    const passphrase = /HAWSER_PASSPHRASE: (.*)/.exec(yaml)?.[1];
    const steps = [...yaml.matchAll(/- run: (?:\|\n((?: {6}.*\n)+)|(.*))/g)].map(([, lines, line]) => (lines ?? line ?? "").trim());
    expect(steps.shift()).toBe("npm ci");
    const { code, output } = await bash([`export HAWSER_PASSPHRASE='${passphrase ?? ""}'`, ...steps].join("\n"), temporaryDirectory());
    expect(code, output).toBe(0);
    expect(output).toMatch(/published .*100\b/);
  });
});

describe("a factory's first day", () => {
  it("goes from an empty bench to a batch whose summary is proved", { timeout: 120_000 }, async () => {
    const { code, output } = await bash(
      block("factory-first-batch", "docs/factory.md").replaceAll("npx hawser", "hawser"),
      temporaryDirectory(),
    );
    expect(code, output).toBe(0);
    expect(output).toMatch(/its ledger agrees: order 4711, alice, 3 passed, 0 failed/);
    expect(output).toMatch(/meter-0003 .*meter +active/);
  });
});

describe("the life of a CA", () => {
  it("goes from the first day over other hosts and another passphrase to what is noticed", { timeout: 600_000 }, async () => {
    const names = [
      "ca-first-day",
      "ca-every-day",
      "ca-hosts",
      "ca-passphrase",
      "ca-rollover",
      "ca-root-rollover",
      "ca-backup",
      "ca-restore",
      "ca-verify",
    ];
    const script = names
      .map((name) => block(name, name === "ca-restore" ? "docs/ca-backups.md" : "docs/ca.md"))
      .join("\n")
      .replaceAll("npx hawser", "hawser");
    const { code, output } = await bash(script, temporaryDirectory());
    expect(code, output).toBe(0);
    expect(output).toContain("All is well.");
    expect(output).toMatch(/for mqtt\.example\.com, mqtt-2\.example\.com, valid until/);
    expect(output).toMatch(/opens with the new passphrase alone/);
    expect(output).toMatch(/Plant 7 Issuing CA 2 issues from now on/);
    expect(output).toMatch(/The new root is good until .*Plant 7 Issuing CA 3 issues from now on/s);
    expect(output).toMatch(/It can be restored\. Nothing was changed\..*ca is the CA now, at change 1000/s);
    expect(output).toMatch(/error ISSUER_IN_USE: 1 names .*: meter-001/);
    expect(output).toMatch(/error CA_CORRUPT: .*not what the CA wrote last: meter-001\.json/);
    expect(output.trimEnd()).toMatch(/all agree\.$/);
    expect(output).not.toContain("not verified");
  });

  it(
    "asks a root that is carried away for an issuing CA, for the end of the one before, and for another root",
    { timeout: 300_000 },
    async () => {
      const passphrase = block("ca-first-day", "docs/ca.md").split("\n\n")[0] ?? "";
      const script = `${passphrase}\n${block("ca-offline", "docs/ca-keys.md")}`.replaceAll("npx hawser", "hawser");
      const { code, output } = await bash(script, temporaryDirectory());
      expect(code, output).toBe(0);
      expect(output).toMatch(/Plant 8 Issuing CA 2 issues from now on/);
      expect(output).toMatch(/The new root is good until .*\nPlant 8 Issuing CA 3 issues from now on/);
    },
  );

  it("moves the registry between files and SQLite", { timeout: 120_000 }, async () => {
    const passphrase = block("ca-first-day", "docs/ca.md").split("\n\n")[0] ?? "";
    const script = `${passphrase}\n${block("registry", "docs/registry.md")}`.replaceAll("npx hawser", "hawser");
    const { code, output } = await bash(script, temporaryDirectory());
    expect(code, output).toBe(0);
    expect(output).toMatch(/\(1 name\) was moved from one file for each name to an SQLite database\.\n.*all agree\.\n$/);
  });

  it("shares a registry among machines", { timeout: 240_000 }, async () => {
    const server = await PostgresServer.start();
    try {
      const passphrase = block("ca-first-day", "docs/ca.md").split("\n\n")[0] ?? "";
      const written = "postgres://hawser@/hawser?host=/run/postgresql";
      const [database = "", commands = "", rights = ""] = ["registry-database", "registry-shared", "registry-rights"].map((name) =>
        block(name, "docs/registry.md"),
      );
      expect(commands).toContain(written);
      const script = [
        `export PGHOST=${server.folder} PGUSER=postgres`,
        // As Debian's server has it: no user hawser yet, and a superuser of this name.
        "psql --quiet --username hawser --command 'CREATE ROLE postgres SUPERUSER LOGIN' postgres",
        "psql --quiet --command 'ALTER ROLE hawser RENAME TO founder' postgres",
        database,
        passphrase,
        commands,
        rights,
        "sed s/hawser@/hawser_station@/ registry-url > station-url",
        "chmod 600 station-url",
        "npx hawser registry join --dir station-3 --registry-url-file station-url",
        "npx hawser revoke --dir station-3 --id meter-001 --reason unspecified",
        "npx hawser registry snapshot --dir station-3",
        "npx hawser ca verify --dir station-3",
      ]
        .join("\n")
        .replace("/run/postgresql", server.folder)
        .replaceAll("npx hawser", "hawser");
      const { code, output } = await bash(script, temporaryDirectory());
      expect(code, output).toBe(0);
      expect(output).toMatch(/station-2 is this machine's directory of the CA "Plant 11", at change 2, with 0 names\./);
      expect(output).toMatch(/^meter-001 +device +sensor +active/m);
      expect(output).toMatch(/all agree\.\n$/);
    } finally {
      await server.stop();
    }
  });

  it("has OpenSSL fetch the revocation list of a certificate", { timeout: 300_000 }, async () => {
    const [port = 0] = await freePorts(1);
    const wait = `until (exec 3<>/dev/tcp/localhost/${port}) 2>/dev/null; do sleep 0.1; done`;
    const passphrase = block("ca-first-day", "docs/ca.md").split("\n\n")[0] ?? "";
    const script = `${passphrase}\n${block("ca-lists", "docs/ca-lists.md")}`
      .replaceAll("8880", String(port))
      // A person types more slowly than a script runs.
      .replace(/^(npx hawser ca serve .*)$/m, `$1\n${wait}`)
      .replaceAll("npx hawser", "hawser");
    expect(script).toContain(wait);
    const { code, output } = await bash(script, temporaryDirectory());
    expect(code, output).toBe(0);
    expect(output.trimEnd()).toMatch(/client\.crt\.pem: OK$/);
  });
});
