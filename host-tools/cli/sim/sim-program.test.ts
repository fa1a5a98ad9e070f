/** A product's own program on many devices: mistakes planted in it are named, each by the check that is about it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { block } from "../../../test/end-to-end/readme-blocks.js";
import { buildCli, hawser, temporaryDirectory } from "../../../test/support/host-tools/test-cli.js";

interface Result {
  readonly checks: readonly { readonly name: string; readonly passed: boolean; readonly detail: string }[];
  readonly program: {
    readonly topics: readonly { readonly topic: string; readonly count: number; readonly example: string }[];
    readonly filters: readonly string[];
  };
  readonly messages: { readonly accepted: { readonly qos1: number }; readonly delivered: number };
}

beforeAll(buildCli);

async function run(
  source: string,
  flags: readonly string[] = [],
  file = "program.ts",
): Promise<{ code: number | null; failed: string[]; detail: (check: RegExp) => string; result: Result; stderr: string }> {
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, file), source);
  const { code, stdout, stderr } = await hawser(
    [
      "sim",
      "fleet",
      "--devices",
      "3",
      "--duration",
      "6s",
      "--drain",
      "10s",
      "--workers",
      "1",
      "--broker",
      "embedded",
      "--program",
      file,
      ...flags,
      "--json",
    ],
    { cwd },
  );
  const result = JSON.parse(stdout.trim().split("\n").at(-1) || "{}") as Result;
  const failed = (result.checks ?? []).filter(({ passed }) => !passed).map(({ name }) => name);
  return { code, failed, detail: (check) => result.checks.find(({ name }) => check.test(name))?.detail ?? "", result, stderr };
}

const withBody = (body: string): string =>
  `import type { Program } from "hawser";\nconst program: Program = async ({ device, scheduler, sensor, onButton }) => {\n${body}\n};\nexport default program;\n`;

describe("hawser sim fleet --program", { timeout: 120_000 }, () => {
  it("runs the program of docs/testing.md on every device, settles its messages and shows its topics", async () => {
    const { code, stderr, result, failed } = await run(
      block("own-program", "docs/testing.md").replaceAll("60_000", "500"),
      ["--sensor", "temperature=18..24"],
      "thermometer.ts",
    );
    expect({ code, stderr, failed }).toEqual({ code: 0, stderr: "", failed: [] });
    expect(result.messages.accepted.qos1).toBeGreaterThan(20);
    expect(result.messages.delivered).toBe(result.messages.accepted.qos1);
    expect(result.program.topics).toMatchObject([{ topic: "devices/{id}/up/temperature" }]);
    expect(JSON.parse(result.program.topics[0]!.example).celsius).toBeGreaterThanOrEqual(18);
  });

  it("takes commands and buttons to the program", async () => {
    const body = `onButton("report", () => void device.publish("up/pressed", "x", { qos: 1, queue: true }));
      for await (const message of device.subscribe("down/led", { qos: 1 })) await device.publish("up/led", message.payload, { qos: 1, queue: true });`;
    const { code, failed, result, detail } = await run(withBody(body), ["--press", "report=1s", "--command", "down/led=on {n}"]);
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
    expect(detail(/takes every command/)).toMatch(/^[1-9]\d* commands$/);
    expect(result.program.filters).toEqual(["devices/{id}/down/led"]);
    expect(result.program.topics.map(({ topic }) => topic)).toEqual(["devices/{id}/up/led", "devices/{id}/up/pressed"]);
  });

  it.each([
    [
      "throws in a timer",
      'scheduler.after(200, () => {\n  throw new Error("planted " + device.id);\n});',
      [],
      /throws nothing/,
      /planted \{id\} at program\.ts:4, 3 times, first on fleet-\d/,
    ],
    [
      "crashes in the handler of a command",
      'for await (const message of device.subscribe("down/#", { qos: 1 })) JSON.parse(message.text());',
      ["--command", "down/config={"],
      /throws nothing/,
      /SyntaxError.* at program\.ts:3, 3 times/,
    ],
    [
      "leaves a promise without a handler",
      'void (async () => {\n  await Promise.resolve();\n  throw new TypeError("planted");\n})();',
      [],
      /throws nothing/,
      /TypeError: planted at program\.ts:5, 3 times/,
    ],
    ["reads a sensor that nobody gave", 'sensor("pressure");', [], /throws nothing/, /UNKNOWN_INPUT: .*"pressure".* at program\.ts:3/],
    [
      "blocks for two seconds",
      "const crunch = () => {\n  const end = performance.now() + 2_000;\n  while (performance.now() < end);\n};\nscheduler.after(300, crunch);",
      [],
      /never blocks/,
      /blocks in crunch\(\) at program\.ts:5 for up to \d+\.\d s/,
    ],
    [
      "publishes to a topic that its role may not",
      'device.publish("status/x", "x", { qos: 1 }).catch(() => undefined);',
      [],
      /is refused/,
      /devices\/\{id\}\/status\/x is denied by the policy, 3 times/,
    ],
    [
      "publishes too fast",
      'const send = () => {\n  device.publish("up/x", "x").catch(() => undefined);\n  scheduler.after(20, send);\n};\nsend();',
      [],
      /more than 10 times a second/,
      /3 devices are above the limit/,
    ],
    [
      "never subscribes",
      "await device.online();",
      ["--command", "down/led=on"],
      /takes every command/,
      /on 3 devices: fleet-\d took 0 of \d+, and never subscribes/,
    ],
  ])("names a program that %s", async (_what, body, flags, check, detail) => {
    const tried = await run(withBody(body), flags);
    expect(tried.code).toBe(1);
    expect(tried.failed[0]).toMatch(check);
    expect(tried.detail(check)).toMatch(detail);
    expect(JSON.parse(tried.stderr)).toMatchObject({ error: { code: "FLEET_FAILED" } });
  });

  it("meets the faults of a scenario, and is judged by its own checks too", async () => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, "thermometer.ts"), block("own-program", "docs/testing.md").replaceAll("60_000", "500"));
    const fleet =
      "{ devices: 2, retryCap: 1s, program: { file: thermometer.ts, sensors: { temperature: 18..24 }, commands: [down/led=on] } }";
    const events = "[{ at: 4s, name: outage, broker: restart }]";
    const body = `name: x\nfleet: ${fleet}\nbroker: { engine: embedded }\nduration: 10s\ntimeline: ${events}\nexpect: [no message lost, no device used psk]\n`;
    writeFileSync(join(cwd, "s.yaml"), body);
    const { code, stdout } = await hawser(["sim", "scenario", "s.yaml", "--json"], { cwd });
    const { checks } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result;
    const failed = checks.filter(({ passed }) => !passed);
    expect(code).toBe(1);
    expect(failed.map(({ name }) => name)).toEqual(["the program takes every command"]);
    expect(failed[0]?.detail).toContain("never subscribes");
    const virtual = await hawser(["sim", "scenario", "s.yaml", "--virtual", "--json"], { cwd });
    expect([virtual.code, (JSON.parse(virtual.stderr) as { error: { code: string } }).error.code]).toEqual([2, "SCENARIO_INVALID"]);
  });

  it("names a program that leaks", async () => {
    const body =
      "const kept: string[] = [];\nconst leak = () => {\n  for (let i = 0; i < 2_000; i++) kept.push(`reading ${i} of ${Math.random()}`);\n  scheduler.after(200, leak);\n};\nleak();";
    const { code, failed, detail } = await run(withBody(body), ["--duration", "24s"]);
    expect({ code, failed }).toEqual({ code: 1, failed: ["the program's memory does not grow"] });
    expect(detail(/does not grow/)).toMatch(/^\d+(\.\d)? KB a device and minute, steadily; the limit is 64$/);
  });

  it.each([
    ["export const other = 1;\n", "BAD_PROGRAM", "program.js"],
    ['throw new Error("planted");\n', "BAD_PROGRAM", "program.js"],
    ["const = ;\n", "BUNDLE_FAILED", "program.ts"],
  ])("refuses %j with %s", async (source, expected, file) => {
    const { code, stderr } = await run(source, [], file);
    expect([code === 0, (JSON.parse(stderr) as { error: { code: string } }).error.code]).toEqual([false, expected]);
  });

  it.each([
    [["--sensor", "x=1"], "USAGE"],
    [["--program", "absent.ts"], "NOT_FOUND"],
    [["--program", "x.js", "--sensor", "x"], "USAGE"],
    [["--program", "x.js", "--command", "up/x=1"], "INVALID_TOPIC"],
    [["--program", "x.js", "--commands", "2"], "USAGE"],
    [["--program", "x.js", "--client", "mqttjs"], "USAGE"],
  ])("refuses %j with %s before anything is made", async (flags, code) => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, "x.js"), "export default () => undefined;\n");
    const { stderr } = await hawser(["sim", "fleet", "--devices", "1", ...flags, "--json"], { cwd });
    expect((JSON.parse(stderr) as { error: { code: string } }).error.code).toBe(code);
  });
});
