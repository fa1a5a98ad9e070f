/** The life of a CA, with a faked clock: see `fleet-decade.ts`. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, onTestFinished, test } from "vitest";
import { PostgresServer } from "../support/host-tools/postgres-server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Debian's libfaketime: see `system-parts.mjs`. */
const LIBRARY = readdirSync("/usr/lib")
  .map((machine) => `/usr/lib/${machine}/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));

test("twelve years of one fleet: no device needs a hand, and none accepts a wrong anchor", { timeout: 600_000 }, async () => {
  expect(LIBRARY, "install Debian's libfaketime").toBeDefined();
  const work = mkdtempSync(join(tmpdir(), "hawser-decade-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const program = join(ROOT, "dist", `decade-${process.pid}.mjs`);
  onTestFinished(() => rmSync(program, { force: true }));
  await build({
    entryPoints: [join(import.meta.dirname, "fleet-decade.ts")],
    outfile: program,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "warning",
    define: { HAWSER_VERSION: '"test"' },
  });
  const clock = join(work, "clock");
  // The server's clock, too: changes are held against it. Its user may look at the clock's file, and at nothing else there.
  chmodSync(work, 0o711);
  const faked = {
    LD_PRELOAD: LIBRARY ?? "",
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: "1",
    // Timers run on as they are: time passes between two stops, not during one.
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
  };
  const database = await PostgresServer.start(undefined, faked);
  onTestFinished(() => database.stop());
  const child = spawn(process.execPath, [program, work, clock, database.urlFile], {
    env: {
      PATH: process.env["PATH"],
      HOME: work,
      HAWSER_STATE_DIR: join(work, "state"),
      ...faked,
    },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => output.push(text));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  expect(code, output.join("")).toBe(0);
  const lines = output
    .join("")
    .split("\n")
    .filter((line) => line.startsWith("{"));
  expect(JSON.parse(lines.at(-1) ?? "{}")).toMatchObject({ done: true, years: 12, roots: 2 });
});
