import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import type { Sample } from "../../../sim/fleet/fleet-result.js";
import { Terminal } from "../terminal.js";
import { progressLines } from "./fleet-start.js";

const sample: Sample = {
  atMs: 2_000,
  connected: 3,
  asleep: 0,
  attempts: 3,
  messages: 10,
  waiting: 1,
  rssMb: 50,
  byCredential: { mtls: 3 },
};

function lineOf(shown: Sample, json: boolean): string {
  const [out, err] = [new PassThrough(), new PassThrough()];
  progressLines(new Terminal(json, out as unknown as NodeJS.WriteStream, err as unknown as NodeJS.WriteStream, {}))(shown, { TIMEOUT: 2 });
  return String(out.read() ?? err.read());
}

describe("the progress of a fleet", () => {
  it("says how long deliveries take where that is measured", () => {
    const measured = { ...sample, p50Ms: 1.2, p99Ms: 8.4 };
    expect(lineOf(measured, false)).toContain("3 online, 5 msg/s, p50 1.2 ms, p99 8.4 ms, 1 wait; TIMEOUT 2");
    expect(JSON.parse(lineOf(measured, true))).toMatchObject({ event: "progress", p50Ms: 1.2, p99Ms: 8.4 });
  });

  it("says nothing of it where it is not measured", () => {
    expect(lineOf(sample, false)).toContain("3 online, 5 msg/s, 1 wait; TIMEOUT 2");
    expect(Object.keys(JSON.parse(lineOf(sample, true)) as object)).not.toContain("p50Ms");
  });
});
