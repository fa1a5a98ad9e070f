/** A product's own program on many devices: mistakes planted in it are named, each by the check that is about it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

interface Ran {
  readonly code: number | null;
  readonly stderr: string;
  readonly result: Result;
  readonly failed: readonly string[];
  /** Detail of the check whose name fits. */
  detail(check: RegExp): string;
}

/** Mistakes by the file that makes them; each is on a device of its own, which takes its commands where `takes` does not say otherwise. */
const MISTAKES: Readonly<Record<string, { readonly body: string; readonly takes?: false }>> = {
  timer: { body: 'scheduler.after(200, () => {\n  throw new Error("planted " + device.id);\n});' },
  handler: { body: 'for await (const message of device.subscribe("down/#", { qos: 1 })) JSON.parse(message.text());', takes: false },
  rejection: { body: 'void (async () => {\n  await Promise.resolve();\n  throw new TypeError("planted");\n})();' },
  reader: { body: 'sensor("pressure");' },
  // By the processor's time: on a busy machine it blocks for as much longer as whoever looks for it is slower.
  cruncher: {
    body: "const crunch = () => {\n  const end = process.cpuUsage().user + 2_000_000;\n  while (process.cpuUsage().user < end);\n};\nscheduler.after(300, crunch);",
  },
  trespasser: { body: 'device.publish("status/x", "x", { qos: 1 }).catch(() => undefined);' },
  chatterbox: {
    body: 'const send = () => {\n  for (let i = 0; i < 50; i++) device.publish("up/x", "x").catch(() => undefined);\n  scheduler.after(500, send);\n};\nsend();',
  },
  hermit: { body: 'device.publish("up/hello", "x", { qos: 1, queue: true }).catch(() => undefined);', takes: false },
  leaker: {
    body: "const kept: string[] = [];\nconst leak = () => {\n  for (let i = 0; i < 1_000; i++) kept.push(`reading ${i} of ${Math.random()}`);\n  scheduler.after(200, leak);\n};\nleak();",
  },
};
const NAMES = Object.keys(MISTAKES);

/** A bound on liveness: about half a minute where nothing else runs. */
const RUNS_MS = 600_000;

const folders: string[] = [];
const running: (() => unknown)[] = [];
let good: Promise<Ran>;
let bad: Promise<Ran>;
let outage: Promise<Ran>;

/** The runs wait for most of their time, so they wait together; each sentence below reads the one it is about. */
beforeAll(async () => {
  await buildCli();
  good = goodRun();
  bad = badRun();
  outage = outageRun();
  await Promise.all([good, bad, outage]);
}, RUNS_MS);
afterAll(async () => {
  for (const end of running) await end();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function project(files: Readonly<Record<string, string>>): string {
  const cwd = mkdtempSync(join(tmpdir(), "hawser-program-test-"));
  folders.push(cwd);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  return cwd;
}

async function play(args: readonly string[], cwd: string): Promise<Ran> {
  const { code, stdout, stderr } = await hawser(["sim", ...args, "--json"], { cwd, atEnd: (end) => running.push(end) });
  const result = JSON.parse(stdout.trim().split("\n").at(-1) || "{}") as Result;
  const failed = (result.checks ?? []).filter(({ passed }) => !passed).map(({ name }) => name);
  return { code, stderr, result, failed, detail: (check) => result.checks.find(({ name }) => check.test(name))?.detail ?? "" };
}

const fleet = (program: string, devices: number, ...more: readonly string[]): string[] =>
  ["fleet", "--devices", String(devices), "--duration", "5m", "--drain", "1m", "--workers", "1"].concat(
    ["--broker", "embedded", "--program", program],
    more,
  );

const withBody = (body: string): string =>
  `import type { Program } from "hawser";\nconst program: Program = async ({ device, scheduler, sensor, onButton }) => {\n${body}\n};\nexport default program;\n`;

const thermometer = (): string => block("own-program", "docs/testing.md").replaceAll("60_000", "500");

/** Ends the run as Ctrl-C does. A run is over when its devices have seen enough, however long a busy machine takes for that. */
const END = 'process.kill(process.ppid, "SIGINT")';

function goodRun(): Promise<Ran> {
  const panel = withBody(`onButton("report", () => {
        void device.publish("up/pressed", "x", { qos: 1, queue: true });
        seen(device.id, "press");
      });
      for await (const message of device.subscribe("down/led", { qos: 1 })) {
        await device.publish("up/led", message.payload, { qos: 1, queue: true });
        seen(device.id, "command");
      }`);
  const seen = `const left = new Map();
let isOver = false;
export function seen(id, what) {
  const mine = left.get(id) ?? { command: 1, press: 1, reading: 8 };
  left.set(id, mine);
  mine[what] -= 1;
  const isEnough = [...left.values()].flatMap((counts) => Object.values(counts)).every((count) => count <= 0);
  if (isOver || !isEnough || left.size < 3) return;
  isOver = true;
  ${END};
}
`;
  const both = `import panel from "./panel.ts";
import { seen } from "./seen.ts";
import thermometer from "./thermometer.ts";
export default (parts) => {
  thermometer({ ...parts, sensor: (name) => (seen(parts.device.id, "reading"), parts.sensor(name)) });
  return panel(parts);
};
`;
  const cwd = project({
    "main.ts": both,
    "panel.ts": `import { seen } from "./seen.ts";\n${panel}`,
    "seen.ts": seen,
    "thermometer.ts": thermometer(),
  });
  return play(fleet("main.ts", 3, "--sensor", "temperature=18..24", "--press", "report=1s", "--command", "down/led=on {n}"), cwd);
}

function badRun(): Promise<Ran> {
  const files = Object.entries(MISTAKES).map(([name, { body, takes = true }]): [string, string] => {
    const taking = takes ? '\nfor await (const _ of device.subscribe("down/#", { qos: 1 }));' : "";
    return [`${name}.ts`, withBody(body + taking)];
  });
  const imports = NAMES.map((name) => `import ${name} from "./${name}.ts";\n`).join("");
  // Memory is measured every two seconds in the same event loop; a trend takes six of them, after five seconds in which the start settles.
  const main = `${imports}const all = [${NAMES.join(", ")}];
let ticks = 0;
const tick = () => ++ticks === 12 && ${END};
export default (parts) => {
  const mistake = all[Number(parts.device.id.split("-")[1]) - 1];
  if (mistake === leaker) setInterval(tick, 2_000);
  return mistake(parts);
};
`;
  return play(fleet("main.ts", NAMES.length, "--command", "down/config={"), project({ ...Object.fromEntries(files), "main.ts": main }));
}

/** Over when each device has reported again over its second connection. */
function outageRun(): Promise<Ran> {
  const main = `import thermometer from "./thermometer.ts";
const connections = new Map();
const reported = new Set();
export default async ({ device, scheduler, sensor, ...rest }) => {
  device.listen(({ type }) => type === "connected" && connections.set(device.id, (connections.get(device.id) ?? 0) + 1));
  scheduler.after(200, () => {
    throw new Error("planted");
  });
  const reading = (name) => {
    if (connections.get(device.id) > 1 && reported.size < 2 && reported.add(device.id).size === 2) ${END};
    return sensor(name);
  };
  thermometer({ device, scheduler, sensor: reading, ...rest });
  for await (const _ of device.subscribe("down/led", { qos: 1 }));
};
`;
  const fleetPart = "{ devices: 2, retryCap: 1s, program: { file: main.ts, sensors: { temperature: 18..24 }, commands: [down/led=on] } }";
  const events = "[{ at: 4s, name: outage, broker: restart }]";
  const scenario = `name: x\nfleet: ${fleetPart}\nbroker: { engine: embedded }\nduration: 5m\ntimeline: ${events}\nexpect: [no message lost, no device used psk]\n`;
  return play(["scenario", "s.yaml"], project({ "main.ts": main, "thermometer.ts": thermometer(), "s.yaml": scenario }));
}

/** The id of the device that makes a mistake. */
const at = (name: string): string => `fleet-${NAMES.indexOf(name) + 1}`;

describe("hawser sim fleet --program", { timeout: 120_000 }, () => {
  it("runs the program of docs/testing.md on every device, settles its messages and shows its topics", async () => {
    const { code, stderr, result, failed } = await good;
    expect({ code, stderr, failed }).toEqual({ code: 0, stderr: "", failed: [] });
    expect(result.messages.accepted.qos1).toBeGreaterThan(20);
    expect(result.messages.delivered).toBe(result.messages.accepted.qos1);
    expect(result.program.topics.map(({ topic }) => topic)).toContain("devices/{id}/up/temperature");
    const reading = result.program.topics.find(({ topic }) => topic.endsWith("/temperature"));
    expect((JSON.parse(reading?.example ?? "") as { celsius: number }).celsius).toBeGreaterThanOrEqual(18);
  });

  it("takes commands and buttons to the program", async () => {
    const { result, detail } = await good;
    expect(detail(/takes every command/)).toMatch(/^[1-9]\d* commands$/);
    expect(result.program.filters).toEqual(["devices/{id}/down/led"]);
    expect(result.program.topics.map(({ topic }) => topic)).toEqual(
      ["led", "pressed", "temperature"].map((topic) => `devices/{id}/up/${topic}`),
    );
  });

  it.each([
    ["throws in a timer", /throws nothing/, `planted \\{id\\} at timer\\.ts:4, once, first on ${at("timer")}`],
    ["crashes in the handler of a command", /throws nothing/, `SyntaxError.* at handler\\.ts:3, once, first on ${at("handler")}`],
    ["leaves a promise without a handler", /throws nothing/, `TypeError: planted at rejection\\.ts:5, once, first on ${at("rejection")}`],
    ["reads a sensor that nobody gave", /throws nothing/, `UNKNOWN_INPUT: .*"pressure".* at reader\\.ts:3, once, first on ${at("reader")}`],
    [
      "blocks for two seconds",
      /never blocks/,
      `^the program blocks in crunch\\(\\) at cruncher\\.ts:5 for up to \\d+\\.\\d s, once, first on ${at("cruncher")}$`,
    ],
    [
      "publishes to a topic that its role may not",
      /is refused/,
      `^a message to devices/\\{id\\}/status/x is denied by the policy, once, first on ${at("trespasser")}$`,
    ],
    ["publishes too fast", /more than 10 times a second/, `^${at("chatterbox")} is the fastest: .*; 1 devices are above the limit$`],
    ["never subscribes", /takes every command/, `on \\d devices: `],
    ["leaks", /memory does not grow/, `^\\d+(\\.\\d)? KB a device and minute, steadily; the limit is 64$`],
  ])("names a program that %s", async (_what, check, told) => {
    expect((await bad).detail(check)).toMatch(new RegExp(told));
  });

  it("fails by the checks that name a mistake, and by no other", async () => {
    const { code, stderr, failed, detail } = await bad;
    expect([code, JSON.parse(stderr)]).toMatchObject([1, { error: { code: "FLEET_FAILED" } }]);
    expect(failed).toHaveLength(6);
    const errors = detail(/throws nothing/);
    const places = ["timer", "handler", "rejection", "reader"].map((name) => `first on ${at(name)}`);
    expect(errors.match(/first on [^;]*/g), errors).toHaveLength(places.length);
    for (const place of places) expect(errors).toContain(place);
  });

  it("meets the faults of a scenario, and is judged by its own checks too", async () => {
    const { code, failed, detail } = await outage;
    expect({ code, failed }).toEqual({ code: 1, failed: ["the program throws nothing"] });
    expect(detail(/throws nothing/)).toMatch(/^planted at main\.ts:7, 2 times, first on fleet-\d$/);
    expect(detail(/no message lost/)).toMatch(/^[1-9]/);
  });

  it.each([
    [["sim", "scenario", "s.yaml", "--virtual"], "SCENARIO_INVALID"],
    [fleetOfOne("--program", "other.js"), "BAD_PROGRAM"],
    [fleetOfOne("--sensor", "x=1"), "USAGE"],
    [fleetOfOne("--program", "x.js", "--client", "mqttjs"), "USAGE"],
  ])("refuses %j with %s", async (args, code) => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, "x.js"), "export default () => undefined;\n");
    writeFileSync(join(cwd, "other.js"), "export const other = 1;\n");
    writeFileSync(
      join(cwd, "s.yaml"),
      "name: x\nfleet: { devices: 1, program: { file: x.js } }\nduration: 1s\nexpect: [no message lost]\n",
    );
    const { stderr, ...ended } = await hawser([...args, "--json"], { cwd });
    expect([ended.code === 0, (JSON.parse(stderr) as { error: { code: string } }).error.code]).toEqual([false, code]);
  });
});

function fleetOfOne(...more: readonly string[]): string[] {
  return ["sim", "fleet", "--devices", "1", "--broker", "embedded", "--workers", "1", ...more];
}
