/** Which sources of Mbed TLS are taken, and what is said of those that are not. That they work is seen by every test that builds them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { mbedTlsSource } from "./mbedtls-source.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hawser-mbedtls-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function sources(version: string): void {
  for (const name of ["include/mbedtls", "library"]) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "include", "mbedtls", "build_info.h"), `#define MBEDTLS_VERSION_STRING         "${version}"\n`);
  writeFileSync(join(folder, "library", "ssl_tls.c"), "");
}

it("takes a 3.6 that is given, with the configuration asked for, and tells one from another by what is in it", async () => {
  sources("3.6.9");
  const first = await mbedTlsSource(folder, "/some/config.h");
  expect(first).toMatchObject({
    version: "3.6.9",
    folders: [join(folder, "library")],
    defines: ['-DMBEDTLS_CONFIG_FILE="/some/config.h"'],
  });
  writeFileSync(join(folder, "library", "ssl_tls.c"), "int patched;");
  expect((await mbedTlsSource(folder, "/some/config.h")).id).not.toBe(first.id);
});

it("says what is wrong with a folder that cannot serve", async () => {
  await expect(mbedTlsSource(folder, "")).rejects.toThrow(`${folder} has no sources of Mbed TLS`);
  sources("2.28.3");
  await expect(mbedTlsSource(folder, "")).rejects.toThrow("has Mbed TLS 2.28.3; 3.6 and 4.x are known");
  sources("4.0.0");
  await expect(mbedTlsSource(folder, "")).rejects.toThrow("lack tf-psa-crypto: check out its submodules, or unpack a release");
});
