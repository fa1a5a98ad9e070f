/** See build-mbedtls.mjs. */
export interface MbedTls {
  version: string;
  /** Path of the static library. */
  library: string;
  includeFolders: string[];
  /** With their -D. */
  defines: string[];
  /** All compiler flags for code that uses it: bits, sanitizers, includes, configuration. Link with them too. */
  flags: string[];
}
export function mbedTls(options?: { bits?: 32 | 64; sanitize?: boolean; config?: string }): Promise<MbedTls>;
