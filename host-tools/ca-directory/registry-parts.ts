/** Where a registry is kept: its entries and its index, each part by its path below the CA directory. Others prove what they hold. */
import type { CaDirectory } from "./ca-directory.js";
import { FileParts } from "./file-parts.js";
import type { RegistryKind } from "./registry-kinds.js";
import { SqliteParts } from "./sqlite-parts.js";

export interface RegistryParts {
  readonly kind: RegistryKind;
  /** Whether the index is in two: see registry-index.ts. */
  readonly hasSplitIndex: boolean;
  /** How messages name a part. */
  pathOf(part: string): string;
  /** @throws HawserError `CA_CORRUPT` when it is missing or cannot be a part; `STORAGE_FAILED` */
  read(part: string): Buffer;
  /** Names of all entries, sorted. Throws `CA_CORRUPT` when something else is among them. */
  names(): string[];
  /**
   * Writes and removes parts, durably. Doing it twice does no harm, and stopping half-way is made good by doing it again.
   *
   * @throws HawserError `STORAGE_FULL`, `STORAGE_FAILED`, `CA_CORRUPT`
   */
  apply(writes: ReadonlyMap<string, Uint8Array>, removes: readonly string[]): void;
  /** The most that writing parts of these sizes takes of the disk, at a time. */
  roomBytes(sizesBytes: readonly number[]): number;
  /** Ends the use of the disk for now. */
  close(): void;
}

export function registryParts(directory: CaDirectory, kind: RegistryKind): RegistryParts {
  return kind === "files" ? new FileParts(directory) : new SqliteParts(directory);
}
