/** @peculiar/x509, loaded by what makes certificates or reads requests: listing and revoking need none of it, and it takes its time. */
import type * as X509 from "@peculiar/x509";

/** The library's types, for who is handed it. */
export type X509Library = typeof X509;

export async function loadX509(): Promise<X509Library> {
  // It builds on tsyringe, which fails to load without this.
  await import("reflect-metadata");
  return import("@peculiar/x509");
}
