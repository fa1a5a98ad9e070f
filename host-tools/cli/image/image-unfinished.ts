/** Takes up an image again whose command was killed before its device was let in: a repeated scan finishes what was begun. */
import { existsSync } from "node:fs";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { leftovers, putInPlace, removeLeftovers } from "./image-files.js";

export interface UnfinishedImage {
  /** Every file that the command makes. */
  readonly paths: readonly string[];
  readonly id: string;
  readonly role: string;
  readonly replace: boolean;
  /**
   * The serial of the device's certificate in the files; undefined when they are another device's, or do not belong together. May throw.
   * @param whereIs where the content of each file is now
   */
  serialIn(whereIs: (path: string) => string): string | undefined;
}

/**
 * Lets the device of an image in whose files are there already, or half of them. What a killed command had not finished writing is removed.
 *
 * @returns the certificate, or undefined when there is nothing to finish
 * @throws HawserError `ID_EXISTS` when another process is at it, and those of every change
 */
export async function finishImage(
  ca: CertificateAuthority,
  image: UnfinishedImage,
): Promise<{ readonly serial: string; readonly notAfterMs: number } | undefined> {
  const { paths, id, role, replace } = image;
  if (!paths.some((path) => existsSync(path))) {
    for (const path of paths) removeLeftovers(path);
    return undefined;
  }
  const places = new Map(paths.map((path) => [path, existsSync(path) ? path : (leftovers(path)[0] ?? path)]));
  const serial = serialOf(image, places);
  const finished = serial === undefined ? undefined : await ca.resume({ id, role, serial, replace });
  if (serial === undefined || finished === undefined) return undefined;
  for (const [path, place] of places) if (place !== path) putInPlace(place, path);
  // A second name of a file that is in its place, or an older attempt: both hold secrets.
  for (const path of paths) removeLeftovers(path);
  return { serial, notAfterMs: finished.notAfterMs };
}

function serialOf({ serialIn }: UnfinishedImage, places: ReadonlyMap<string, string>): string | undefined {
  try {
    return serialIn((path) => places.get(path) ?? path);
  } catch {
    // Not whole, or something else: it is in the way, and the command says so.
    return undefined;
  }
}
