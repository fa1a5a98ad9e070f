/** The firmware's native parts for the XS host: the same C files as on the chip, over Debian's Mbed TLS. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { HawserError } from "../../sdk/errors.js";
import type { Bits, NativeParts } from "./host-build.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import type * as MbedTlsBuilder from "../../firmware/native/build-mbedtls.mjs";

export interface NativePartsOptions {
  /** With AddressSanitizer and UBSan. */
  sanitize?: boolean;
  /** Where keys live: in the directory of `keysFolder` (default), or in the `store` of `XsRunOptions`. */
  keys?: "directory" | "store";
}

/**
 * TLS engine and key store, ready to link.
 * @throws HawserError `MBEDTLS_MISSING`
 */
export async function nativeParts(bits: Bits, { sanitize = false, keys = "directory" }: NativePartsOptions = {}): Promise<NativeParts> {
  const folder = join(packageRoot(), "firmware", "native");
  try {
    // By its path, not bundled: it finds its own files beside it.
    const builder = (await import(pathToFileURL(join(folder, "build-mbedtls.mjs")).href)) as typeof MbedTlsBuilder;
    const { library, includeFolders, defines } = await builder.mbedTls({ bits, sanitize });
    const sources = readdirSync(folder)
      .filter((name) => name.endsWith(".c") && (keys === "directory" || name !== "its-directory.c"))
      .sort()
      .map((name) => join(folder, name));
    const own = ["-DHAWSER_NATIVE_KEYS=1", ...(keys === "store" ? ["-DHAWSER_STORE_KEYS=1"] : [])];
    return { name: "tls", sources, includeFolders, defines: [...defines, ...own], libraries: [library] };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HawserError(
      "MBEDTLS_MISSING",
      `Mbed TLS could not be built: ${reason}`,
      "Check the connection to the Debian archive (apt-get source), or use the Node engine.",
    );
  }
}
