import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { Seat } from "../../../test/support/host-tools/terminal-seat.js";
import { buildCli, CLI, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const START = "2026-11-28T09:53:55: mosquitto version 2.0.21 starting\n";
/** An id that would colour the terminal, clear it and write to its title. */
const EVIL = "ev\u001b[31m\u001b[2J\u001b]0;x\u0007il";
const refusal = (id: string, at = "2026-11-28T09:53:58"): string => `${at}: Client ${id} disconnected, not authorised.\n`;

/** A live table forgets what is old. */
const now = (): string => String(Math.floor(Date.now() / 1000));

function place(...lines: string[]): string {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "m.log"), START + lines.join(""));
  return cwd;
}

test.each([["q"], ["\u0003"]])(
  "on a terminal the table is live, draws no sender's control characters, and %j gives the terminal back",
  async (key) => {
    const cwd = place(refusal(EVIL, now()));
    const seat = await Seat.at(["monitor", "top", "--log", "m.log", "--every", "50ms"], cwd);
    await seat.shows(/calls itself {3}ev\\u001b\[31m/);
    expect(seat.screen).toMatch(/\u001b\[1m\w+ 2\.0\.21/);
    appendFileSync(join(cwd, "m.log"), refusal("second", now()).repeat(12));
    await seat.shows(/alerts +\d+ +\d+ +1\b/);
    await seat.shows(/failed-logins +calls itself +second +1[012]/);
    seat.type(key);
    expect(await seat.ended).toBe(0);
    expect(seat.isAsBefore).toBe(true);
    await seat.shows(/\u001b\[\?1049l[\s\S]*since start[\s\S]*second +\d/);
    for (const evil of ["\u001b[31m\u001b[2J", "\u001b]0;", "\u0007"]) expect(seat.screen).not.toContain(evil);
  },
);

test("a signal ends it and gives the terminal back", async () => {
  const seat = await Seat.at(["monitor", "top", "--log", "m.log"], place());
  await seat.shows(/no offenders/);
  seat.child.kill("SIGTERM");
  expect(await seat.ended).toBe(0);
  await seat.shows(/\u001b\[\?1049l/);
  expect(seat.isAsBefore).toBe(true);
});

test("writes no colours on a terminal that has none", async () => {
  const seat = await Seat.at(["monitor", "top", "--log", "m.log"], place(), { NO_COLOR: "1" });
  await seat.shows(/no offenders/);
  seat.type("q");
  await seat.ended;
  expect(seat.screen).not.toMatch(/\u001b\[\d+m/);
});

test("with --once the table at the log's end is printed plainly, and as one object with --json", async () => {
  const cwd = place(...Array.from({ length: 11 }, () => refusal(EVIL)));
  const plain = await hawser(["monitor", "top", "--log", "m.log", "--once"], { cwd });
  expect(plain).toMatchObject({ code: 0, stderr: "" });
  expect(plain.stdout).toMatch(/^refused +11 +11 +11$/m);
  expect(plain.stdout).toMatch(/^[ -~\n]*$/);
  const { stdout } = await hawser(["monitor", "top", "--log", "m.log", "--once", "--json"], { cwd });
  expect(JSON.parse(stdout)).toMatchObject({
    version: "2.0.21",
    connected: 0,
    connectedBy: "log",
    refused: { lastMinute: 11, lastHour: 11, total: 11 },
    alerts: { total: 1 },
    refusedBy: { password: { total: 11 } },
    offenders: [{ rule: "failed-logins", by: "claimedClient", offender: EVIL, score: 11 }],
    notices: [],
  });
});

test("through pipes the table is printed again and again until the log ends", async () => {
  const top = spawn(process.execPath, [CLI, "monitor", "top", "--log", "-", "--every", "20ms"], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void top.kill("SIGKILL"));
  let text = "";
  top.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    // Two tables show the first line; then the log ends.
    if ((text.match(/^refused +\d+ +\d+ +1$/gm) ?? []).length >= 2) top.stdin.end();
  });
  top.stdin.write(START + refusal("a"));
  expect((await once(top, "close"))[0]).toBe(0);
  expect(text).toMatch(/^[ -~\n]*$/);
});

test("the embedded broker's own output is shown under its name, with what it denies", async () => {
  const cwd = temporaryDirectory();
  const time = "2026-11-28T09:53:58.000Z";
  const lines = [
    { time, event: "ready", engine: "embedded" },
    { time, event: "connected", name: "pump-1", clientId: "pump-1" },
    { time, event: "denied", clientId: "pump-1", action: "subscribe", topic: "devices/#" },
  ];
  writeFileSync(join(cwd, "b.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const top = ["monitor", "top", "--log", "b.jsonl", "--log-format", "embedded", "--once"];
  const { code, stdout, stderr } = await hawser(top, { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^embedded broker Hawser /);
  expect(JSON.parse((await hawser([...top, "--json"], { cwd })).stdout)).toMatchObject({
    broker: "embedded",
    connected: 1,
    connectedBy: "log",
    denied: { total: 1 },
  });
});

test("with a CA directory it shows states and certificates that end, without a passphrase", async () => {
  const cwd = await directoryWithCa();
  writeFileSync(join(cwd, "m.log"), START);
  expect(await hawser(["provision", "--dir", "ca", "--id", "pump-1", "--vault", "v"], { cwd, env: ENV })).toMatchObject({ code: 0 });
  const args = ["monitor", "top", "--log", "m.log", "--once", "--dir", "ca"];
  const { stdout } = await hawser([...args, "--json"], { cwd });
  expect(JSON.parse(stdout)).toMatchObject({
    fleet: {
      names: 1,
      states: { active: 1 },
      enrolmentsLastHour: { issued: 0, refused: 0 },
      expiringWithin14Days: { count: 0, first: [] },
    },
  });
  const missing = await hawser([...args.slice(0, -1), "nothing"], { cwd });
  expect([missing.code, missing.stdout]).toEqual([0, expect.stringMatching(/^nothing: /m) as string]);
});

test.each([
  [[], 2, /^error USAGE: required option '--log/],
  [["--log", "nothing.log"], 6, /^error NOT_FOUND: /],
  [["--log", "m.log", "--ca", "x"], 2, /^error USAGE: --credentials and --ca need --sys/],
  [["--rabbitmq", "https://localhost", "--credentials", "x"], 2, /--rabbitmq and --once do not go together/],
  [["--rabbitmq", "https://localhost", "--log", "m.log"], 2, /--rabbitmq goes with neither --log nor --sys/],
  [["--log", "m.log", "--every", "0"], 2, /^error BAD_DURATION: /],
])("monitor top %j ends with %i and one line", async (args, exit, line) => {
  const { code, stderr } = await hawser(["monitor", "top", "--once", ...args], { cwd: place() });
  expect([code, stderr]).toEqual([exit, expect.stringMatching(line) as string]);
});
