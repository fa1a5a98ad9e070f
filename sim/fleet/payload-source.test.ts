import { describe, expect, it } from "vitest";
import type { PublishProfile } from "./fleet-plan.js";
import { PayloadSource, readPayload } from "./payload-source.js";

const profile: PublishProfile = {
  topic: "telemetry",
  qos: 1,
  everyMs: 1_000,
  jitter: 0.2,
  sizeBytes: [200, 300],
  fields: { celsius: { number: [-5, 5], decimals: 1 }, count: { integer: [1, 3] }, door: { oneOf: ["open", "shut"] }, name: { text: 8 } },
};

describe("payloads drawn from a seed", () => {
  it("are the same for the same seed, and others for another", () => {
    const drawn = (seed: string): string[] => {
      const source = new PayloadSource(profile, seed);
      return [0, 1, 2].map((n) => source.next(n, 1_000.5));
    };
    expect(drawn("a")).toEqual(drawn("a"));
    expect(drawn("a")).not.toEqual(drawn("b"));
  });

  it("keep to sizes, fields and intervals", () => {
    const source = new PayloadSource(profile, "a");
    for (let n = 0; n < 200; n++) {
      const payload = source.next(n, 1_700_000_000_000.25);
      const read = JSON.parse(payload) as { celsius: number; count: number; door: string; name: string };
      expect(payload.length).toBeGreaterThanOrEqual(200);
      expect(payload.length).toBeLessThanOrEqual(300);
      expect(Math.abs(read.celsius)).toBeLessThanOrEqual(5);
      expect([1, 2, 3]).toContain(read.count);
      expect(["open", "shut"]).toContain(read.door);
      expect(read.name).toMatch(/^[a-z0-9]{8}$/);
      expect(Math.abs(source.nextDelayMs() - 1_000)).toBeLessThanOrEqual(200);
    }
  });

  it("are read back by their first bytes, and nothing else is", () => {
    const payload = new PayloadSource(profile, "a").next(7, 1_700_000_000_000.25);
    expect(readPayload(Buffer.from(payload))).toEqual({ n: 7, sentMs: 1_700_000_000_000.25 });
    expect(readPayload(Buffer.from('{"n":-1,"sentMs":1.000}'))).toBeUndefined();
    expect(readPayload(Buffer.from("hello"))).toBeUndefined();
  });
});
