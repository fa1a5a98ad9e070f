import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { CommandHook } from "./command-hook.js";

const UNSTOPPED = new AbortController().signal;

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "hawser-hook-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("a program gets the message on its standard input alone, and an environment without secrets", async () => {
  const cwd = directory();
  const program = join(cwd, "page me");
  writeFileSync(program, `#!/bin/sh\ncat > '${cwd}/in'\nenv > '${cwd}/env'\nprintf '%s\\n' "$#" "$@" > '${cwd}/arguments'\n`);
  chmodSync(program, 0o700);
  const before = process.env["HAWSER_PASSPHRASE_FILE"];
  process.env["HAWSER_PASSPHRASE_FILE"] = process.env["HAWSER_PASSPHRASE"] = "not to be told";
  onTestFinished(() => {
    delete process.env["HAWSER_PASSPHRASE"];
    if (before === undefined) delete process.env["HAWSER_PASSPHRASE_FILE"];
    else process.env["HAWSER_PASSPHRASE_FILE"] = before;
  });
  const body = '{"offender":"$(touch x); --help"}';
  const hook = new CommandHook({ command: [program, "$HOME; touch y"], timeoutMs: 20_000 });
  expect(await hook.send({ id: "1", body }, UNSTOPPED)).toEqual({ kind: "done" });
  const read = (name: string): string => readFileSync(join(cwd, name), "utf8");
  expect(read("in")).toBe(`${body}\n`);
  expect(read("arguments")).toBe("1\n$HOME; touch y\n");
  expect(read("env")).toMatch(/^PATH=/m);
  expect(read("env")).not.toMatch(/HAWSER|not to be told/);
  expect(["x", "y"].filter((name) => existsSync(join(cwd, name)))).toEqual([]);
});

test.each([
  ["exit 3", { kind: "failed", reason: "it ended with 3" }],
  ["exit 75", { kind: "retry", reason: "it ended with 75" }],
  ["kill -TERM $$", { kind: "failed", reason: "it was stopped by SIGTERM" }],
])("a program that ends by %j is judged by how it ended", async (script, outcome) => {
  const hook = new CommandHook({ command: ["/bin/sh", "-c", script], timeoutMs: 20_000 });
  expect(await hook.send({ id: "1", body: "{}" }, UNSTOPPED)).toEqual(outcome);
});

test.each([
  ["is not there", ["nothing"], "ENOENT"],
  ["is a directory", ["."], "EACCES"],
  ["has a file for a directory in its path", ["program", "below"], "ENOTDIR"],
])("a program that %s fails, and nothing else does", async (_, path, code) => {
  const cwd = directory();
  writeFileSync(join(cwd, "program"), "");
  const hook = new CommandHook({ command: [join(cwd, ...path), "x"], timeoutMs: 20_000 });
  expect(await hook.send({ id: "1", body: "{}" }, UNSTOPPED)).toEqual({
    kind: "failed",
    reason: expect.stringContaining(code) as string,
  });
});

test("a program that runs too long is ended together with what it started", async () => {
  const cwd = directory();
  const script = `sleep 1000 & echo $! > '${cwd}/child'; wait`;
  const hook = new CommandHook({ command: ["/bin/sh", "-c", script], timeoutMs: 2000 });
  expect(await hook.send({ id: "1", body: "{}" }, UNSTOPPED)).toEqual({ kind: "failed", reason: "it ran longer than 2 s and was ended" });
  const child = Number(readFileSync(join(cwd, "child"), "utf8"));
  const isRunning = (): boolean => existsSync(`/proc/${child}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${child}/status`, "utf8"));
  await expect.poll(isRunning).toBe(false);
});

test("a stop of the monitor ends the program", async () => {
  const stop = new AbortController();
  const sent = new CommandHook({ command: ["/bin/sleep", "1000"], timeoutMs: 20_000 }).send({ id: "1", body: "{}" }, stop.signal);
  stop.abort();
  expect(await sent).toEqual({ kind: "failed", reason: "it was ended because the monitor stops" });
});
