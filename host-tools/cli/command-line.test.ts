import { beforeAll, describe, expect, test } from "vitest";
import { buildCli, hawser, temporaryDirectory } from "../../test/support/host-tools/test-cli.js";

beforeAll(buildCli);

const COMMANDS = [
  "ca init",
  "ca crl",
  "provision",
  "enrol",
  "issue",
  "revoke",
  "list",
  "broker config",
  "broker run",
  "authority",
  "sim run",
  "sim fleet",
  "sim proxy",
  "demo",
  "image nvs",
  "image secure-cert",
  "image inspect",
  "image plan",
  "label make",
  "label check",
  "explain",
  "export",
];

describe("hawser", () => {
  test("lists its commands, quickly enough to be asked at any time", async () => {
    const { code, stdout, stderr } = await hawser(["--help"], { cwd: temporaryDirectory() });
    expect([code, stderr]).toEqual([0, ""]);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command.split(" ")[0] ?? ""} `, "m"));
  });

  test.each(COMMANDS)("explains %s: what for, options, examples and exit codes", async (command) => {
    const cwd = temporaryDirectory();
    const [help, viaHelp] = await Promise.all([
      hawser([...command.split(" "), "--help"], { cwd }),
      hawser([...command.split(" ").slice(0, 1), "--help"], { cwd }),
    ]);
    expect([help.code, help.stderr, viaHelp.code]).toEqual([0, "", 0]);
    expect(help.stdout).toMatch(new RegExp(`^Usage: hawser ${command} \\[options\\](?: \\[[\\w.]+\\]| <\\w+>)?\\n\\n[A-Z][^]*?\\.\\n`));
    expect(help.stdout).toMatch(/\nExamples:\n {2}.*hawser/);
    expect(help.stdout).toMatch(/\nExit codes:\n {4}0 {2}done\n/);
    expect(help.stdout).toContain("--json");
    for (const line of help.stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test.each([["help"], ["help", "sim"], ["help", "sim", "run"], ["sim", "help", "run"], ["help", "list"], ["sim", "run", "-h"], ["-h"]])(
    "answers %s %s %s as --help",
    async (...words) => {
      const cwd = temporaryDirectory();
      const named = words.filter((word) => word !== "help" && word !== "-h");
      const [help, flag] = await Promise.all([hawser(words, { cwd }), hawser([...named, "--help"], { cwd })]);
      expect(help).toEqual(flag);
      expect(help.stdout).toMatch(new RegExp(`^Usage: ${["hawser", ...named].join(" ")} \\[options\\]`));
    },
  );

  test("shows its help when it is given nothing", async () => {
    const cwd = temporaryDirectory();
    expect(await hawser([], { cwd })).toEqual(await hawser(["--help"], { cwd }));
  });

  test("says its version", async () => {
    const { code, stdout } = await hawser(["--version"], { cwd: temporaryDirectory() });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each([
    [["nonsense"], /^error USAGE: unknown command 'nonsense'\. Next: Run: hawser --help\.\n$/],
    [["ca"], /^error USAGE: missing command\. Next: Run: hawser ca --help\.\n$/],
    [["sim", "rum"], /^error USAGE: unknown command 'rum' \(Did you mean run\?\)\. Next: Run: hawser sim --help\.\n$/],
    [["help", "nope"], /^error USAGE: unknown command 'nope'\. Next: Run: hawser --help\.\n$/],
    [["help", "sim", "rum"], /^error USAGE: unknown command 'rum'\. Next: Run: hawser sim --help\.\n$/],
    [["sim", "help", "rum"], /^error USAGE: unknown command 'rum'\. Next: Run: hawser sim --help\.\n$/],
    [["list"], /^error USAGE: required option '--dir <dir>' not specified\. Next: Run: hawser list --help\.\n$/],
    [["list", "--dirr", "x"], /^error USAGE: unknown option '--dirr' \(Did you mean --dir\?\)\. Next: Run: hawser list --help\.\n$/],
    [["list", "--dir", "x", "--nonsense"], /^error USAGE: unknown option '--nonsense'\. /],
    [["list", "--dir", "x", "more"], /^error USAGE: too many arguments/],
    [
      ["broker", "config", "--dir", "x", "--for", "hive", "--out", "y", "--mtls-port", "1", "--psk-port", "2"],
      /^error USAGE: .*'hive' is invalid/,
    ],
    [
      ["broker", "config", "--dir", "x", "--for", "mosquitto", "--out", "y", "--mtls-port", "0", "--psk-port", "2"],
      /^error BAD_PORT: [^,]+\n$/,
    ],
    [
      ["broker", "config", "--dir", "x", "--for", "mosquitto", "--out", "", "--mtls-port", "1", "--psk-port", "2"],
      /^error USAGE: option '--out <out>' argument '' is invalid\. It is empty\. /,
    ],
    [["broker", "run", "--dir", "x", "--mtls-port", "70000", "--psk-port", "0"], /^error BAD_PORT: .*, or 0 to let the system choose\.\n$/],
    [["ca", "init", "--dir", ""], /^error USAGE: option '--dir <dir>' argument '' is invalid\. It is empty\. /],
    [["list", "--dir", ""], /^error USAGE: option '--dir <dir>' argument '' is invalid\. It is empty\. /],
    [
      ["issue", "--dir", "x", "--name", "y", "--role", "backend", "--out", ""],
      /^error USAGE: option '--out <out>' argument '' is invalid\. It is empty\. /,
    ],
    [
      ["provision", "--dir", "x", "--id", "y", "--vault", ""],
      /^error USAGE: option '--vault <path>' argument '' is invalid\. It is empty\. /,
    ],
    [
      ["provision", "--dir", "x", "--id", "y", "--serial", ""],
      /^error USAGE: option '--serial <port>' argument '' is invalid\. It is empty\. /,
    ],
    [["provision", "--dir", "x", "--id", "y", "--serial", "z", "--baud", "0"], /^error BAD_BAUD: invalid baud rate "0"\. /],
    [
      ["sim", "run", "--vault", "", "--url", "mqtts://localhost:1"],
      /^error USAGE: option '--vault <path>' argument '' is invalid\. It is empty\. /,
    ],
    [["sim", "run", "--vault", "v", "--url", "mqtt://localhost:1883"], /^error BAD_URL: .*devices always use TLS/],
    [["sim", "run", "--vault", "v", "--url", "mqtts://localhost:1", "--publish-every", "soon"], /^error BAD_DURATION: /],
    [["sim", "run", "--vault", "v", "--url", "mqtts://localhost:1", "--count", "0"], /^error BAD_NUMBER: /],
    [["authority", "--dir", "x", "--url", "localhost"], /^error BAD_URL: /],
  ])("refuses %j with one line and exit code 2", async (args, line) => {
    const { code, stdout, stderr } = await hawser(args, { cwd: temporaryDirectory() });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(line);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("says usage errors as JSON when asked for", async () => {
    const { code, stdout, stderr } = await hawser(["list", "--json"], { cwd: temporaryDirectory() });
    expect([code, stdout]).toEqual([2, ""]);
    expect(JSON.parse(stderr)).toEqual({
      error: { code: "USAGE", message: "required option '--dir <dir>' not specified", next: "Run: hawser list --help" },
    });
  });
});
