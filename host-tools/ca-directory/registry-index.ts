/**
 * The index of a registry with many names: every entry without its certificates, one line a name, spread over some hundred files by the
 * hash of the name. Their hashes stand in the sealed state. So a command that looks at all names reads these instead of every entry, a
 * change writes one of them, and nobody else can change a line unnoticed.
 */
import { join } from "node:path";
import { corrupt, DIRECTORIES } from "./directory-layout.js";
import { certificateSummary } from "./registry.js";
import { parseEntry, parseObject } from "./registry-entry.js";
import type { CertificateSummary, EntryState, NameSummary, RegistryEntry } from "./registry-entry.js";
import { bucketOf } from "./registry-tree.js";
import { sha256 } from "./sealed-state.js";

/** With more names than this a registry has an index. It keeps it when it has fewer again. */
export const INDEX_FROM_NAMES = 1000;

/** More names than this in an average file, and there are twice as many files. */
const NAMES_A_FILE = 256;
const MOST_BITS = 12;

/** An index of so many names is spread over 2^bits files. Never fewer than before: files are only added. */
export function indexBits(count: number, bits = 0): number {
  let wanted = bits;
  while (count > NAMES_A_FILE * 2 ** wanted && wanted < MOST_BITS) wanted += 1;
  return wanted;
}

export function indexFile(number: number): string {
  return join(DIRECTORIES.index, number.toString(16).padStart(4, "0"));
}

const DIGEST_DIGITS = 64;
/** "device" and "client" are of one length. */
const KIND_LENGTH = 6;
/** As far as it is looked at for a name that nobody asks more of. */
const HEAD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63} [0-9a-f]{64} (?:device|client) (?:reserved|active|certificate-revoked|revoked) \S* \{/;

/** What the index says of one name: looked up in its line when it is asked for, as there may be a hundred thousand. */
export class IndexedName implements NameSummary {
  readonly name: string;
  #rest: RegistryEntry | undefined;

  /** @throws HawserError `CA_CORRUPT` */
  constructor(
    readonly line: string,
    private readonly path: string,
  ) {
    if (!HEAD.test(line)) throw corrupt(path, "it is not a part of an index");
    this.name = line.slice(0, line.indexOf(" "));
  }

  /** What stands for the entry, in all. */
  get digest(): string {
    return this.line.slice(this.#digestAt, this.#digestAt + DIGEST_DIGITS);
  }

  get kind(): NameSummary["kind"] {
    return this.line.startsWith("device", this.#kindAt) ? "device" : "client";
  }

  get state(): EntryState {
    return this.#word(this.#stateAt) as EntryState;
  }

  get role(): string {
    const role = this.#word(this.#roleAt);
    return role.includes("%") ? this.#decoded(role) : role;
  }

  get createdAtMs(): number {
    return this.#parsed.createdAtMs;
  }

  get certificates(): readonly CertificateSummary[] {
    return this.#parsed.certificates;
  }

  get currentSerial(): string | undefined {
    return this.#parsed.currentSerial;
  }

  get psk(): string | undefined {
    return this.#parsed.psk;
  }

  get attributes(): Readonly<Record<string, string>> | undefined {
    return this.#parsed.attributes;
  }

  get passwordHash(): string | undefined {
    return this.#parsed.passwordHash;
  }

  get #parsed(): RegistryEntry {
    this.#rest ??= this.#parse();
    return this.#rest;
  }

  #parse(): RegistryEntry {
    const { name, kind, state, role } = this;
    const rest = parseObject(this.line.slice(this.line.indexOf(" ", this.#roleAt) + 1));
    const entry = parseEntry({ ...rest, v: 1, name, kind, state, role }, name);
    if (entry === undefined) throw corrupt(this.path, `its line of ${name} is not one of an index`);
    return entry;
  }

  get #digestAt(): number {
    return this.name.length + 1;
  }

  get #kindAt(): number {
    return this.#digestAt + DIGEST_DIGITS + 1;
  }

  get #stateAt(): number {
    return this.#kindAt + KIND_LENGTH + 1;
  }

  get #roleAt(): number {
    return this.line.indexOf(" ", this.#stateAt) + 1;
  }

  #word(at: number): string {
    return this.line.slice(at, this.line.indexOf(" ", at));
  }

  #decoded(role: string): string {
    try {
      return decodeURIComponent(role);
    } catch {
      throw corrupt(this.path, `its line of ${this.name} is not one of an index`);
    }
  }
}

/** The line of an entry, without its line feed: the same for the same entry, whatever the order of its parts. */
export function indexLine(entry: RegistryEntry, digest: string): string {
  const { name, kind, state, role, createdAtMs, certificates, currentSerial, psk, attributes, passwordHash } = entry;
  const rest = { createdAtMs, certificates: certificates.map(certificateSummary), currentSerial, psk, attributes, passwordHash };
  return `${name} ${digest} ${kind} ${state} ${encodeURIComponent(role)} ${JSON.stringify(rest)}`;
}

/** In the line of each certificate that is no longer active. */
const ENDED = '"reason":';

/** One file of an index. */
export class IndexSegment {
  #names: ReadonlyMap<string, IndexedName> | undefined;
  #withEnded: readonly IndexedName[] | undefined;

  constructor(
    readonly path: string,
    readonly text: string,
    readonly hash = sha256(text),
  ) {}

  static of(path: string, lines: Iterable<string>): IndexSegment {
    return new IndexSegment(
      path,
      [...lines]
        .sort()
        .map((line) => `${line}\n`)
        .join(""),
    );
  }

  /** @throws HawserError `CA_CORRUPT` */
  get names(): ReadonlyMap<string, IndexedName> {
    this.#names ??= new Map(
      this.lines().map((line) => {
        const indexed = new IndexedName(line, this.path);
        return [indexed.name, indexed];
      }),
    );
    return this.#names;
  }

  /** Names of which a certificate was revoked or superseded, and perhaps others. */
  get withEnded(): readonly IndexedName[] {
    this.#withEnded ??= this.text.includes(ENDED) ? [...this.names.values()].filter(({ line }) => line.includes(ENDED)) : [];
    return this.#withEnded;
  }

  /** The file after a change; undefined removes a name. */
  with(changes: ReadonlyMap<string, string | undefined>): IndexSegment {
    const kept = this.lines().filter((line) => !changes.has(line.slice(0, line.indexOf(" "))));
    return IndexSegment.of(this.path, [...kept, ...[...changes.values()].filter((line) => line !== undefined)]);
  }

  lines(): string[] {
    return this.text === "" ? [] : this.text.slice(0, -1).split("\n");
  }
}

/** Lines, each with the name before its first space, as the files of an index. */
export function spread(lines: Iterable<string>, bits: number): IndexSegment[] {
  const files: string[][] = Array.from({ length: 2 ** bits }, () => []);
  for (const line of lines) files[bucketOf(line.slice(0, line.indexOf(" ")), bits)]?.push(line);
  return files.map((part, number) => IndexSegment.of(indexFile(number), part));
}
