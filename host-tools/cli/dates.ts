/** Times as commands print them. */

/** ISO 8601 in UTC, for scripts. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** The day alone, for people. */
export function day(ms: number): string {
  return isoTime(ms).slice(0, 10);
}
