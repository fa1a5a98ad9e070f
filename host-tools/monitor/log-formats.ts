/** What may have written the log. */

/** `embedded`: what `hawser broker run --json` prints. */
export const LOG_FORMATS = ["mosquitto", "embedded"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
