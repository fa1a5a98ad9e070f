/** See esp-idf.mjs. */
export function ignoredFailure(output: string): string | undefined;
