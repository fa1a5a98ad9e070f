import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { readHookFile } from "./hook-file.js";

// What the build puts in.
vi.stubGlobal("HAWSER_VERSION", "test");

interface Place {
  readonly mode?: number;
  readonly secretMode?: number;
  readonly secret?: string;
}

function read(text: string, { mode = 0o600, secretMode = 0o600, secret = "0".repeat(32) }: Place = {}): unknown[] {
  const directory = mkdtempSync(join(tmpdir(), "hawser-hooks-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const before = process.umask(0);
  writeFileSync(join(directory, "hooks.yaml"), text, { mode });
  writeFileSync(join(directory, "secret"), secret, { mode: secretMode });
  process.umask(before);
  return readHookFile(join(directory, "hooks.yaml"), { failed: () => undefined, settled: () => undefined });
}

const hook = (fields: string): string => `hooks:\n  - {name: a, ${fields}}\n`;

test.each([
  ["hooks: []", /hooks must NOT have fewer than 1 items/],
  ["hooks: [", /./],
  ["hook: []", /the file must have required property 'hooks'/],
  [hook("url: https://a.example, event: [alert]"), /hooks\/0 must NOT have additional properties: event/],
  [hook("url: https://a.example, events: [alarm]"), /hooks\/0\/events\/0 must be equal to one of the allowed values: connected,/],
  [hook("per-minute: 3"), /a needs either url or command/],
  [hook("url: https://a.example, command: [/bin/true]"), /a needs either url or command/],
  [hook("command: [page]"), /absolute path/],
  [hook("command: [/bin/true], secret-file: secret"), /need url/],
  [hook('command: [/bin/true, "a\\0b"]'), /must match pattern/],
  [hook("url: http://a.example/token"), /the url is not https/],
  [hook("url: ftp://a.example/token"), /the url is not https/],
  [hook("url: 'https://user:token@a.example/'"), /user name or password/],
  [hook("url: https://a.example, timeout: 1h"), /timeout 1h is too long/],
  [hook("url: https://a.example, ca-file: hooks.yaml"), /no PEM certificate/],
  [`${hook("command: [/bin/true]")}  - {name: a, command: [/bin/true]}\n`, /two hooks are called a/],
])("the file %j is refused, and no token of an address is told", (text, message) => {
  expect(() => read(text)).toThrow(expect.objectContaining({ code: "HOOKS_INVALID", message: expect.stringMatching(message) as string }));
  expect(() => read(text)).not.toThrow(/token/);
});

const owner = { failed: () => undefined, settled: () => undefined };

test.each(["/dev/zero", tmpdir()])("%s is not read: it is not a file", (path) => {
  const error = { code: "NOT_A_FILE", message: `${path} is not a regular file` };
  expect(() => readHookFile(path, owner)).toThrow(expect.objectContaining(error));
});

test.each(["secret-file", "ca-file"])("a pipe that %s names is not waited for", (field) => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-hooks-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  execFileSync("mkfifo", [join(directory, "pipe")]);
  writeFileSync(join(directory, "hooks.yaml"), hook(`url: https://a.example, ${field}: pipe`), { mode: 0o600 });
  const error = { code: "NOT_A_FILE", message: `${join(directory, "pipe")} is not a regular file` };
  expect(() => readHookFile(join(directory, "hooks.yaml"), owner)).toThrow(expect.objectContaining(error));
});

test("a file that all users may write is refused: who writes it runs programs", () => {
  expect(() => read(hook("command: [/bin/true]"), { mode: 0o602 })).toThrow(/all users may write/);
});

test("a secret that all users can read, or that is short, is refused", () => {
  const text = hook("url: https://a.example, secret-file: secret");
  expect(() => read(text, { secretMode: 0o604 })).toThrow(expect.objectContaining({ code: "PASSPHRASE_FILE_EXPOSED" }));
  expect(() => read(text, { secret: "123456789012345\n" })).toThrow(/fewer than 16 bytes/);
  expect(read(text, { secret: "1234567890123456\n" })).toHaveLength(1);
});
