/** `hawser sim run --program --engine xs`: the program that runs on Node, on the board's engine, against a real mosquitto. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildHost } from "../../../sim/xs/host-build.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";
import { nativeParts } from "../../../sim/xs/native-parts.js";
import { block } from "../../../test/end-to-end/readme-blocks.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { ENV, makeCa, runningBroker, url, Watcher } from "../../../test/support/host-tools/test-fleet.js";

const BUILD_MS = 600_000;
/** Many processes: a bound on liveness for machines that are busy. */
const LIVENESS_MS = 180_000;

let cwd: string;
let port: number;
let broker: RunningCli;
const running: (() => unknown)[] = [];

beforeAll(async () => {
  await buildCli();
  await buildHost({ bits: 64, native: await nativeParts(64, { keys: "store" }) });
  cwd = mkdtempSync(join(tmpdir(), "hawser-xs-program-"));
  await makeCa(cwd);
  const atEnd = (end: () => Promise<void>): void => void running.push(end);
  const args = ["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v", "--json"];
  expect(await hawser(args, { cwd, env: ENV, atEnd })).toMatchObject({ code: 0, stderr: "" });
  ({ broker, mtlsPort: port } = await runningBroker(cwd, "mosquitto", undefined, { atEnd }));
}, BUILD_MS);
afterAll(async () => {
  // It writes into the directory until it has ended.
  broker.signal("SIGTERM");
  await broker.ended;
  for (const end of running.reverse()) await end();
  removeDirectory(cwd);
});

const write = (name: string, text: string): void => writeFileSync(join(cwd, name), text);
const run = (engine: string, program: string, ...more: string[]): string[] =>
  ["sim", "run", "--vault", "v", "--url", url(port), "--engine", engine, "--program", program].concat(more);

interface Ended {
  readonly code: number | null;
  readonly error: { readonly code?: string; readonly message?: string; readonly next?: string };
}

/** Of a run that fails. */
async function failing(args: readonly string[]): Promise<Ended> {
  const { code, stderr } = await hawser([...args, "--json"], { cwd, env: ENV });
  return { code, error: (JSON.parse(stderr.trim().split("\n").at(-1) ?? "{}") as { error: Ended["error"] }).error };
}

/** A program whose body is on line 3 and after. */
const withBody = (body: string): string =>
  `import type { Program } from "hawser";\nconst program: Program = async ({ device, scheduler, clock, onButton }) => {\n${body}\n};\nexport default program;\n`;

/** It reports, obeys commands and a button, and imports what programs may: the package, and a module of its own. */
const PANEL = `import { HawserError, type Program } from "hawser";
import { MqttClient } from "hawser/mqtt";
import { awsIotCore } from "hawser/presets";
import { reportTrouble } from "hawser/reports";
import { readingOf } from "./readings.ts";

const program: Program = async ({ device, scheduler, sensor, onButton, clock }) => {
  const tell = (what: string, payload: string): void => void device.publish(\`up/\${what}\`, payload, { qos: 1, queue: true });
  const began = clock.monotonicMs();
  tell("started", [typeof MqttClient, typeof awsIotCore, new HawserError("USAGE", "x").code, device.id].join());
  scheduler.after(100, () => tell("reading", readingOf(sensor("temperature"), clock.monotonicMs() - began)));
  // Where this policy lets a device write.
  reportTrouble(device, clock, { topic: "up/trouble" });
  device.publish({ absolute: "devices/another/up/x" }, "1", { qos: 1, queue: true }).catch(() => undefined);
  let presses = 0;
  onButton("report", () => {
    if (++presses === 2) tell("pressed", "twice");
  });
  for await (const command of device.subscribe("down/led", { qos: 1 })) tell("led", command.text().toUpperCase());
};
export default program;
`;

describe("sim run --program --engine xs", { timeout: LIVENESS_MS }, () => {
  test("publishes and takes what it does on Node, message for message", async () => {
    write("panel.ts", PANEL);
    write(
      "readings.ts",
      "export const readingOf = (celsius: number, ms: number): string => JSON.stringify({ celsius, isLater: ms >= 100 && ms < 60_000 });\n",
    );
    const seen: string[][] = [];
    for (const engine of ["node", "xs"]) {
      const watcher = await Watcher.start(cwd, `operator-${engine}`, port);
      const device = new RunningCli(run(engine, "panel.ts", "--sensor", "temperature=21.5", "--press", "report=300ms"), { cwd, env: ENV });
      expect(await device.waitFor("subscribed")).toMatchObject({ filter: "devices/sensor-1/down/led" });
      await device.waitFor("connected");
      await watcher.waitFor(({ topic }) => topic.endsWith("up/pressed"));
      await watcher.send("devices/sensor-1/down/led", "on");
      await watcher.waitFor(({ topic }) => topic.endsWith("up/led"));
      await watcher.waitFor(({ topic }) => topic.endsWith("up/trouble"));
      expect(await device.waitFor("message")).toMatchObject({ topic: "devices/sensor-1/down/led" });
      device.signal("SIGINT");
      expect(await device.ended).toMatchObject({ code: 0, stderr: "" });
      expect(device.events.at(-1)?.["event"]).toBe("stopped");
      seen.push(
        watcher.seen
          .filter(({ topic }) => topic.includes("/up/"))
          .map(({ topic, text }) => `${topic} ${text}`)
          .sort(),
      );
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]).toEqual([
      "devices/sensor-1/up/led ON",
      "devices/sensor-1/up/pressed twice",
      'devices/sensor-1/up/reading {"celsius":21.5,"isLater":true}',
      "devices/sensor-1/up/started function,object,USAGE,sensor-1",
      'devices/sensor-1/up/trouble {"v":1,"kind":"denied","count":1,"topic":"devices/another/up/x"}',
    ]);
  });

  test("runs the program of docs/testing.md until its messages are sent", async () => {
    write("thermometer.ts", block("own-program", "docs/testing.md").replaceAll("60_000", "200"));
    const command = block("run-program-xs", "docs/testing.md").replace("sensor-1.vault", "v").replace("8883", String(port));
    const [, ...args] = command.replaceAll("\\", "").trim().split(/\s+/);
    const { code, stdout, stderr } = await hawser([...args, "--count", "3", "--json"], { cwd, env: ENV });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/"event":"published","n":3,"topic":"devices\/sensor-1\/up\/temperature"/);
  });

  test.each([
    ["in a button", 'onButton("go", () => {\n  throw new TypeError("planted");\n});', "TypeError: planted at mistake.ts:4"],
    ["in a timer", 'scheduler.after(50, () => {\n  throw new Error("planted on " + device.id);\n});', "planted on {id} at mistake.ts:4"],
    ["before it began", "await undefined;\n(undefined as unknown as string).length;", "TypeError: .* at mistake.ts:4"],
    [
      "in a promise",
      'void (async () => {\n  await Promise.resolve();\n  throw new RangeError("planted");\n})();',
      "RangeError: planted at mistake.ts:5",
    ],
    [
      "by what only Node has",
      'onButton("go", () => {\n  setTimeout(() => undefined, 1);\n});',
      "ReferenceError: .*setTimeout.* at mistake.ts:4",
    ],
  ])("fails with file and line when the program throws %s", async (_where, body, told) => {
    write("mistake.ts", withBody(body));
    const { code, error } = await failing(run("xs", "mistake.ts", "--press", "go=200ms"));
    expect([code, error.code, error.message]).toEqual([
      1,
      "PROGRAM_FAILED",
      expect.stringMatching(new RegExp(`^the program throws: ${told}$`)),
    ]);
  });

  test("names what ends the engine", async () => {
    write("deep.ts", withBody('const deep = (): number => deep() + 1;\nonButton("go", () => deep());'));
    const { code, error } = await failing(run("xs", "deep.ts", "--press", "go=200ms"));
    expect([code, error]).toMatchObject([
      1,
      { code: "PROGRAM_FAILED", message: "the program ends the engine: it calls itself too deeply" },
    ]);
  });

  test("names a program that blocks for seconds, publishes where it may not, leaks and never subscribes", async () => {
    // By turns and not by the clock: on a busy machine it holds the engine for as much longer as it is slower.
    const block = "const block = () => {\n  let n = 0;\n  while (n < 150_000_000) n++;\n};";
    const leak =
      "const kept: string[] = [];\nconst leak = () => {\n  for (let i = 0; i < 100; i++) kept.push(`reading ${i} of ${clock.wallMs()}`);\n  scheduler.after(200, leak);\n};";
    const trespass = 'device.publish("status/x", "x", { qos: 1, queue: true }).catch(() => undefined);';
    write("mistakes.ts", withBody(`${block}\n${leak}\nscheduler.after(500, block);\nleak();\n${trespass}`));
    const device = new RunningCli(run("xs", "mistakes.ts"), { cwd, env: ENV });
    expect(await device.waitFor("publish-failed")).toMatchObject({ topic: "devices/sensor-1/status/x", code: "NOT_AUTHORIZED" });
    expect(await device.waitFor("program-blocks")).toMatchObject({ where: "mistakes.ts:5" });
    const { where, tookMs } = await device.waitFor("program-blocked");
    expect([where, Number(tookMs) > 1_000]).toEqual(["mistakes.ts:5", true]);
    expect(Number((await device.waitFor("program-grows"))["kilobytesPerMinute"])).toBeGreaterThan(64);
    device.signal("SIGINT");
    expect((await device.ended).code).toBe(0);
    expect(device.events.map(({ event }) => event)).toContain("program-hears-nothing");
  });

  test("goes on hearing its user while the program never lets go of the engine", async () => {
    write("endless.ts", withBody("scheduler.after(300, () => {\n  for (;;);\n});"));
    const device = new RunningCli(run("xs", "endless.ts"), { cwd, env: ENV });
    expect(await device.waitFor("program-blocks")).toMatchObject({ where: "endless.ts:4" });
    device.signal("SIGINT");
    expect(await device.ended).toMatchObject({ code: 0, stderr: "" });
  });

  test.each([
    ['import { readFileSync } from "node:fs";', 'imports "node:fs", a module of Node that no device has'],
    ['import { EventEmitter } from "events";', 'imports "events", a module of Node that no device has'],
    ['import { nodePlatform } from "hawser/node";', 'imports "hawser/node", which is not for programs that run on every device'],
  ])("refuses a program with %s, and says where it stands and what to do", async (line, told) => {
    write("inner.ts", `\n${line}\nexport const inner = ${/\{ (\w+) \}/.exec(line)?.[1] ?? ""};\n`);
    write("outer.ts", `import { inner } from "./inner.ts";\nexport default () => inner;\n`);
    expect(await failing(run("xs", "outer.ts"))).toMatchObject({
      code: 2,
      error: { code: "BAD_PROGRAM", message: `inner.ts:2 ${told}`, next: expect.stringContaining("{ device, clock, scheduler") as string },
    });
  });

  test.each([
    ["exports no program", "export const other = 1;\n", "BAD_PROGRAM", /exports no program/],
    ["throws while it is loaded", 'throw new Error("at once");\nexport default () => undefined;\n', "BAD_PROGRAM", /at once/],
    ["cannot be parsed", "export default (\n", "BUNDLE_FAILED", /wrong\.ts/],
    [
      "asks the package for what it has not",
      'import { nothing } from "hawser";\nexport default () => nothing;\n',
      "BAD_PROGRAM",
      /nothing/,
    ],
  ])("refuses a program that %s", async (_what, text, code, message) => {
    write("wrong.ts", text);
    expect((await failing(run("xs", "wrong.ts"))).error).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});
