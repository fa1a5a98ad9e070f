/** `hawser sim run --program`: a product's own program on one device, as its developer runs it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { block } from "../../../test/end-to-end/readme-blocks.js";
import { buildCli, hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, runningBroker } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const PAGE = "docs/testing.md";
/** Many processes: a bound on liveness for machines that are busy. */
const LIVENESS_MS = 180_000;

test(
  "sim run --program shows what the program does, ends when its messages are sent, and names what it throws",
  { timeout: LIVENESS_MS },
  async () => {
    const cwd = await directoryWithCa();
    await json(cwd, "provision", "--dir", "ca", "--id", "sensor-1", "--vault", "sensor-1.vault");
    const { mtlsPort } = await runningBroker(cwd, "embedded");
    writeFileSync(join(cwd, "thermometer.ts"), block("own-program", PAGE).replaceAll("60_000", "200"));
    const [, ...args] = block("run-program", PAGE).trim().replace("8883", String(mtlsPort)).split(" ");

    const counted = await hawser([...args, "--count", "3", "--json"], { cwd, env: ENV });
    expect({ code: counted.code, stderr: counted.stderr }).toEqual({ code: 0, stderr: "" });
    const events = counted.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; n?: number; topic?: string });
    expect(events.filter(({ event }) => event === "published").slice(0, 3)).toMatchObject(
      [1, 2, 3].map((n) => ({ n, topic: "devices/sensor-1/up/temperature" })),
    );
    expect(events.map(({ event }) => event)).toContain("connected");
    expect(events.at(-1)?.event).toBe("stopped");

    const throwing =
      'export default ({ device, onButton }) => {\n  device.subscribe("down/led");\n  onButton("report", () => {\n    throw new TypeError("planted");\n  });\n};\n';
    writeFileSync(join(cwd, "button.ts"), throwing);
    const pressed = args.map((arg) => (arg === "thermometer.ts" ? "button.ts" : arg));
    const failed = await hawser([...pressed, "--press", "report=200ms", "--json"], { cwd, env: ENV });
    expect([failed.code, JSON.parse(failed.stderr)]).toMatchObject([
      1,
      { error: { code: "PROGRAM_FAILED", message: "the program throws: TypeError: planted at button.ts:4" } },
    ]);
    expect(failed.stdout).toContain('"event":"subscribed","filter":"devices/sensor-1/down/led"');
  },
);
