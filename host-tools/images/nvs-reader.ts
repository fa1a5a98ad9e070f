/**
 * Reads an NVS partition, made here, by another tool, or dumped from a device, and says where it is damaged. What is sound is read all the
 * same: a device does so too.
 */
import { HawserError } from "../../sdk/errors.js";
import { locateWrongByte } from "./locate-damage.js";
import { checkKeys, decryptEntries } from "./nvs-keys.js";
import {
  BITMAP_AT,
  entryAddress,
  entryCrc,
  ENTRIES_A_PAGE,
  ENTRY_BYTES,
  espCrc32,
  FIRST_ENTRY_AT,
  hexOffset,
  PAGE_BYTES,
  PAGE_STATES,
  PAGE_VERSION,
  PAGE_VERSION_1,
} from "./nvs-format.js";
import type { NvsItem, PageState } from "./nvs-format.js";
import { assembleItems } from "./nvs-items.js";
import type { RawEntry } from "./nvs-items.js";

export interface ImageProblem {
  /** Of the byte in the image where it shows. */
  readonly offset: number;
  readonly problem: string;
}

export interface NvsPage {
  readonly offset: number;
  readonly state: PageState;
  /** Absent for an empty page. */
  readonly sequence?: number;
  readonly written: number;
  readonly erased: number;
}

export interface NvsContents {
  readonly pages: readonly NvsPage[];
  readonly namespaces: ReadonlyMap<string, number>;
  readonly items: readonly NvsItem[];
  readonly problems: readonly ImageProblem[];
}

const EMPTY = 3;
const WRITTEN = 2;
const ERASED = 0;
/** Up to here it may be damage. */
const FEW = 3;

/**
 * @param keys of an encrypted partition
 * @throws HawserError `BAD_IMAGE` when it is not a partition, `BAD_IMAGE_KEY`; damage inside is reported among the problems
 */
export function readNvsImage(image: Uint8Array, keys?: Uint8Array): NvsContents {
  if (image.length === 0 || image.length % PAGE_BYTES !== 0) {
    throw new HawserError(
      "BAD_IMAGE",
      `an NVS partition consists of pages of 4096 bytes, and this file has ${image.length} bytes`,
      "Read the partition again, whole.",
    );
  }
  if (keys !== undefined) checkKeys(keys);
  const reader = new NvsReader(Buffer.from(image), keys);
  reader.readPages();
  return reader.contents();
}

class NvsReader {
  readonly #pages: NvsPage[] = [];
  readonly #problems: ImageProblem[] = [];
  readonly #entries: RawEntry[] = [];
  /** Entries whose CRC is wrong. */
  #failed = 0;

  constructor(
    private readonly image: Buffer,
    private readonly keys: Uint8Array | undefined,
  ) {}

  readPages(): void {
    for (let page = 0; page * PAGE_BYTES < this.image.length; page++) this.#readPage(page);
    this.#checkReadable();
    const active = this.#pages.filter(({ state }) => state === "active");
    for (const { offset } of active.slice(1)) this.#report(offset, "a second page is active; one is the most");
    if (this.#pages.every(({ state }) => state === "empty")) return;
    if (active.length === 0 && !this.#pages.some(({ state }) => state === "freeing")) this.#report(0, "no page is active");
    this.#checkSequences();
  }

  /** Not one of many entries is right: no damage does that. */
  #checkReadable(): void {
    if (this.#entries.length > 0 || this.#failed < FEW) return;
    const [why, next] =
      this.keys === undefined
        ? ["the partition is encrypted", "Give its nvs_keys partition, or the key of the HMAC scheme."]
        : ["other keys belong to it, or it is not encrypted", "Give the keys that were made with it."];
    throw new HawserError("BAD_IMAGE_KEY", `none of ${this.#failed} entries matches its CRC: ${why}`, next);
  }

  contents(): NvsContents {
    // A device reads the pages in the order in which they were begun.
    const sequenceOf = new Map(this.#pages.map(({ offset, sequence = 0 }) => [offset, sequence]));
    const ordered = [...this.#entries].sort(
      (a, b) => (sequenceOf.get(a.page * PAGE_BYTES) ?? 0) - (sequenceOf.get(b.page * PAGE_BYTES) ?? 0),
    );
    const { namespaces, items } = assembleItems(ordered, (offset, problem) => this.#report(offset, problem));
    return { pages: this.#pages, namespaces, items, problems: [...this.#problems].sort((a, b) => a.offset - b.offset) };
  }

  #checkSequences(): void {
    const seen = new Map<number, number>();
    for (const { offset, sequence } of this.#pages) {
      if (sequence === undefined) continue;
      const other = seen.get(sequence);
      if (other !== undefined) this.#report(offset + 4, `the page has the sequence number ${sequence} of the page at ${hexOffset(other)}`);
      seen.set(sequence, offset);
    }
  }

  #readPage(page: number): void {
    const offset = page * PAGE_BYTES;
    const bytes = this.image.subarray(offset, offset + PAGE_BYTES);
    const number = bytes.readUInt32LE(0);
    const state = (Object.keys(PAGE_STATES) as PageState[]).find((name) => PAGE_STATES[name] === number);
    if (state === "empty") {
      const dirty = bytes.findIndex((byte) => byte !== 0xff);
      if (dirty >= 0) this.#report(offset + dirty, "the page is marked empty, but this byte is not erased");
      this.#pages.push({ offset, state, written: 0, erased: 0 });
      return;
    }
    if (state === undefined)
      this.#report(offset, `the page's state is ${number.toString(16).padStart(8, "0")}, and there is no such state`);
    if (state === "corrupt") this.#report(offset, "the page is marked corrupt");
    const sound = this.#checkHeader(bytes, offset);
    const counts = sound ? this.#readEntries(bytes, page) : { written: 0, erased: 0 };
    this.#pages.push({ offset, state: state ?? "corrupt", sequence: bytes.readUInt32LE(4), ...counts });
  }

  /** Without a sound header nothing in the page counts. */
  #checkHeader(bytes: Buffer, offset: number): boolean {
    const stored = bytes.readUInt32LE(28);
    const computed = espCrc32(bytes.subarray(4, 28));
    if (stored !== computed) {
      const wrong = locateWrongByte(stored ^ computed, 24);
      this.#report(
        offset + (wrong === undefined ? 28 : 4 + wrong.index),
        `the page's header does not match its CRC${wrong === undefined ? "" : ": this byte is wrong"}`,
      );
      return false;
    }
    const version = bytes[8];
    if (version === PAGE_VERSION || version === PAGE_VERSION_1) return true;
    this.#report(offset + 8, `the page is of an unknown version (${hex(version)})`);
    return false;
  }

  #readEntries(bytes: Buffer, page: number): { written: number; erased: number } {
    const counts = { written: 0, erased: 0 };
    const stateOf = (entry: number): number => ((bytes[BITMAP_AT + Math.floor(entry / 4)] ?? 0) >> (2 * (entry % 4))) & 3;
    const unused = bytes[BITMAP_AT + 31] ?? 0;
    if (unused >> 4 !== 15) this.#report(page * PAGE_BYTES + BITMAP_AT + 31, "bits of the bitmap that stand for no entry are not erased");
    for (let entry = 0; entry < ENTRIES_A_PAGE;) {
      const address = entryAddress(page, entry);
      const state = stateOf(entry);
      let span = 1;
      if (state === WRITTEN) span = this.#readEntry(page, entry, (other) => stateOf(other) === WRITTEN);
      else if (state === EMPTY)
        this.#checkErased(
          address,
          bytes.subarray(FIRST_ENTRY_AT + entry * ENTRY_BYTES, FIRST_ENTRY_AT + (entry + 1) * ENTRY_BYTES),
          page,
          entry,
        );
      else if (state !== ERASED)
        this.#report(
          page * PAGE_BYTES + BITMAP_AT + Math.floor(entry / 4),
          `the bitmap has an impossible state for entry ${entry} at ${hexOffset(address)}`,
        );
      if (state === WRITTEN) counts.written += span;
      if (state === ERASED) counts.erased++;
      entry += span;
    }
    return counts;
  }

  #checkErased(address: number, entry: Buffer, page: number, index: number): void {
    const dirty = entry.findIndex((byte) => byte !== 0xff);
    if (dirty < 0) return;
    const bitmap = page * PAGE_BYTES + BITMAP_AT + Math.floor(index / 4);
    this.#report(address + dirty, `the bitmap (byte ${hexOffset(bitmap)}) calls this entry empty, but this byte is not erased`);
  }

  /** @returns how many entries it takes */
  #readEntry(page: number, index: number, isWritten: (entry: number) => boolean): number {
    const address = entryAddress(page, index);
    const entry = this.#plain(address, ENTRY_BYTES);
    const stored = entry.readUInt32LE(4);
    const computed = entryCrc(entry);
    if (stored !== computed) {
      this.#failed++;
      this.#report(...this.#placeOf(address, locateWrongByte(stored ^ computed, 28)));
      return 1;
    }
    const span = Math.max(1, entry[2] ?? 1);
    let missing: number | undefined;
    for (let next = index; next < index + span; next++) if (next >= ENTRIES_A_PAGE || !isWritten(next)) missing ??= next;
    if (missing !== undefined) {
      this.#report(
        address + 2,
        `the entry claims ${span} places, but place ${missing} of its page ${missing < ENTRIES_A_PAGE ? "is not written" : "does not exist"}`,
      );
      return 1;
    }
    this.#entries.push({
      page,
      address,
      entry,
      data: this.#plain(address + ENTRY_BYTES, (span - 1) * ENTRY_BYTES),
      encrypted: this.keys !== undefined,
    });
    return span;
  }

  #placeOf(address: number, wrong: { index: number } | undefined): [number, string] {
    if (this.keys !== undefined) return [address, "the entry does not match its CRC: it is damaged somewhere in its 32 bytes"];
    if (wrong === undefined) return [address, "the entry does not match its CRC: several of its bytes, or the CRC, are wrong"];
    return [address + (wrong.index < 4 ? wrong.index : wrong.index + 4), "the entry does not match its CRC: this byte is wrong"];
  }

  #plain(address: number, sizeBytes: number): Buffer {
    const bytes = this.image.subarray(address, address + sizeBytes);
    return this.keys === undefined ? Buffer.from(bytes) : decryptEntries(bytes, address, this.keys);
  }

  #report(offset: number, problem: string): void {
    this.#problems.push({ offset, problem });
  }
}

function hex(byte: number | undefined): string {
  return (byte ?? 0).toString(16).padStart(2, "0");
}
