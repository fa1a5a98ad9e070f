/** See build-harness.mjs. */
export function buildHarness(options?: { program?: "harness" | "fuzz"; bits?: 32 | 64; sanitize?: boolean; internals?: boolean }): Promise<string>;
