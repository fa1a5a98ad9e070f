/**
 * The shipped alert rules with a faster clock: every window (`[10m]`), `offset` and `for` is divided, and nothing else is touched.
 * Thresholds are numbers a second, so they mean the same.
 */
const UNITS_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };
const DURATIONS = /(\[|\boffset |^ *for: )(\d+)([smh])(?=[\])\s]|$)/gm;

/** @param divisor how much faster; windows never fall below `leastS` seconds, which must hold two scrapes */
export function scaledRules(rules: string, divisor: number, leastS: number): string {
  return rules.replace(DURATIONS, (_, before: string, count: string, unit: string) => {
    const seconds = (Number(count) * (UNITS_S[unit] ?? 1)) / divisor;
    return `${before}${Math.max(leastS, Math.round(seconds))}s`;
  });
}
