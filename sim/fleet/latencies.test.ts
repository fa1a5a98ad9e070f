import { encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { expect, it } from "vitest";
import { latencyHistogram, mergedQuantiles, micros } from "./latencies.js";

it("gives of parts what one histogram of everything would, to the last digit", () => {
  const [all, ...parts] = Array.from({ length: 4 }, latencyHistogram);
  for (let n = 0; n < 10_000; n++) {
    const value = micros(((n * 7_919) % 10_007) ** 1.7 / 100);
    all?.recordValue(value);
    parts[n % 7 === 0 ? 0 : n % 2 === 0 ? 1 : 2]?.recordValue(value);
  }
  const merged = mergedQuantiles([...parts.map((part) => encodeIntoCompressedBase64(part)), "", undefined]);
  expect(merged).toEqual(mergedQuantiles([encodeIntoCompressedBase64(all!)]));
  expect(merged.count).toBe(10_000);
  expect(merged.p50Ms).toBeGreaterThan(0);
});

it("says nothing of nothing", () => {
  expect(mergedQuantiles([undefined, ""])).toEqual({ count: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 });
});
