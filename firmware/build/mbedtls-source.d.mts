/** See mbedtls-source.mjs. */
export interface MbedTlsSource {
  version: string;
  id: string;
  folders: string[];
  includeFolders: string[];
  configs: string[];
  defines: string[];
}
export function mbedTlsSource(given: string | undefined, config: string): Promise<MbedTlsSource>;
