/** A straight line through what was measured over time, by least squares. */
export interface Measured {
  readonly atMs: number;
  readonly value: number;
}

export interface StraightLine {
  /** Of the value, per millisecond. */
  readonly slope: number;
  /** The share of the values' variance that the line explains, 0..1. */
  readonly explained: number;
}

/** @param points two or more, at different times */
export function straightLine(points: readonly Measured[]): StraightLine {
  const mean = (of: (point: Measured) => number): number => points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [meanMs, meanValue] = [mean(({ atMs }) => atMs), mean(({ value }) => value)];
  const both = mean(({ atMs, value }) => (atMs - meanMs) * (value - meanValue));
  const time = mean(({ atMs }) => (atMs - meanMs) ** 2);
  const spread = mean(({ value }) => (value - meanValue) ** 2);
  return { slope: both / time, explained: spread === 0 ? 0 : both ** 2 / (time * spread) };
}
