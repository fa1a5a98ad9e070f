/** Latencies as HDR histograms of microseconds: recorded anywhere, merged exactly, read as quantiles. */
import { build, decodeFromCompressedBase64, type Histogram } from "hdr-histogram-js";
import type { Quantiles } from "./fleet-result.js";

const HOUR_MICROS = 3_600_000_000;

export function latencyHistogram(): Histogram {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: HOUR_MICROS, numberOfSignificantValueDigits: 3, bitBucketSize: 32 });
}

/** What a histogram takes of a duration: from 1 us to an hour. */
export function micros(durationMs: number): number {
  return Math.min(HOUR_MICROS, Math.max(1, Math.round(durationMs * 1_000)));
}

/** Of all parts together, as if they had been recorded in one. @param parts compressed, base64; empty ones say nothing */
export function mergedQuantiles(parts: readonly (string | undefined)[]): Quantiles {
  const all = latencyHistogram();
  for (const part of parts) if (part !== undefined && part !== "") all.add(decodeFromCompressedBase64(part, 32));
  const at = (percentile: number): number => (all.totalCount === 0 ? 0 : inMs(all.getValueAtPercentile(percentile)));
  return {
    count: all.totalCount,
    p50Ms: at(50),
    p90Ms: at(90),
    p99Ms: at(99),
    p999Ms: at(99.9),
    maxMs: all.totalCount === 0 ? 0 : inMs(all.maxValue),
  };
}

function inMs(value: number): number {
  return Math.round(value / 100) / 10;
}
