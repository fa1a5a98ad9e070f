/**
 * The index of a registry with many names: every entry without its certificates, one line a name, spread over some hundred files by the
 * hash of the name. Their hashes stand in the sealed state. So a command that looks at all names reads these instead of every entry, a
 * change writes one of them, and nobody else can change a line unnoticed.
 *
 * In a database the index is split: the heads of the lines, which most questions are about, and in a second text beside each what else
 * there is of the same names. That is read when it is asked for.
 */
import { join } from "node:path";
import type { HawserError } from "../../sdk/errors.js";
import { twinAmong } from "./case-fold.js";
import { corrupt, DIRECTORIES } from "./directory-layout.js";
import { certificateSummary } from "./registry.js";
import { ENTRY_STATES, parseEntry, parseObject } from "./registry-entry.js";
import type { CertificateSummary, EntryState, NameSummary, RegistryEntry } from "./registry-entry.js";
import { bucketOf } from "./registry-tree.js";
import { sha256 } from "./sealed-state.js";

/** With more names than this a registry has an index. It keeps it when it has fewer again. */
export const INDEX_FROM_NAMES = 1000;

/** More names than this in an average file, and there are twice as many files. */
const NAMES_A_FILE = 256;
const MOST_BITS = 12;
/** In a split index, where each part of it is two texts. */
const NAMES_A_PART = 512;

/** An index of so many names is spread over 2^bits files. Never fewer than before: files are only added. */
export function indexBits(count: number, isSplit: boolean, bits = 0): number {
  const most = isSplit ? NAMES_A_PART : NAMES_A_FILE;
  let wanted = bits;
  while (count > most * 2 ** wanted && wanted < MOST_BITS) wanted += 1;
  return wanted;
}

export function indexFile(number: number): string {
  return join(DIRECTORIES.index, number.toString(16).padStart(4, "0"));
}

/** What a split index has beside the heads at `path`. */
export function detailsFile(path: string): string {
  return `${path}-details`;
}

const DIGEST_DIGITS = 64;
/** "device" and "client" are of one length. */
const KIND_LENGTH = 6;
/** As far as it is looked at for a name that nobody asks more of. */
const HEAD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63} [0-9a-f]{64} (?:device|client) (?:reserved|active|certificate-revoked|revoked) \S* [-{]/;

/** As they stand in a line. The most frequent comes first. */
const STATE_WORDS = (["active", ...ENTRY_STATES] as const).map((state) => [`${state} `, state] as const);

/** What the index says of one name: looked up in its line when it is asked for, as there may be a hundred thousand. */
export class IndexedName implements NameSummary {
  readonly name: string;
  #entry: RegistryEntry | undefined;
  #isSound = false;

  /**
   * @param details where the line is only a head: what else there is of a name
   */
  constructor(
    private readonly line: string,
    private readonly path: string,
    private readonly details?: IndexDetails,
  ) {
    this.name = line.slice(0, line.indexOf(" "));
  }

  /** As far as it is not checked by what looks at it. Throws `CA_CORRUPT`. */
  check(): this {
    if (!this.#isSound && !HEAD.test(this.line)) throw this.#notOne();
    this.#isSound = true;
    return this;
  }

  /** What stands for the entry, in all. */
  get digest(): string {
    return this.line.slice(this.#digestAt, this.#digestAt + DIGEST_DIGITS);
  }

  get kind(): NameSummary["kind"] {
    return this.line.startsWith("device", this.#kindAt) ? "device" : "client";
  }

  /** @throws HawserError `CA_CORRUPT` */
  get state(): EntryState {
    const at = this.#stateAt;
    for (const [word, state] of STATE_WORDS) if (this.line.startsWith(word, at)) return state;
    throw this.#notOne();
  }

  /** @throws HawserError `CA_CORRUPT` */
  get role(): string {
    this.check();
    const role = this.#word(this.#roleAt);
    return role.includes("%") ? this.#decoded(role) : role;
  }

  /** Whether it says this entry's, in all. */
  isOf(entry: RegistryEntry): boolean {
    return `${this.#head} ${this.#rest ?? ""}` === indexLine(entry, this.digest);
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
    this.#entry ??= this.#parse();
    return this.#entry;
  }

  get #head(): string {
    return this.line.slice(0, this.line.indexOf(" ", this.#roleAt));
  }

  get #rest(): string | undefined {
    return this.details === undefined ? this.line.slice(this.#head.length + 1) : this.details.restOf(this.name);
  }

  #notOne(): HawserError {
    return corrupt(this.path, "it is not a part of an index");
  }

  #parse(): RegistryEntry {
    this.check();
    const { name, kind, state, role } = this;
    const alone = this.details?.entryOf(name, this.digest);
    if (alone !== undefined) return { ...alone, certificates: alone.certificates.map(certificateSummary) };
    const rest = parseObject(this.#rest ?? "");
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
const HEAD_OF_ENDED = " -ended";
const HEAD_OF_OTHERS = " -";

/** A line in two: name to role, and the rest. Roles hold no braces: they are encoded. */
function splitLine(line: string): readonly [head: string, rest: string] {
  const end = line.indexOf(" {");
  return [line.slice(0, end), line.slice(end + 1)];
}

/** Looks through the text of an index as it is: a set of all names would take many times as long to make, and more room. */
export function lineInAnyCase(name: string): RegExp {
  return new RegExp(`^${name.replaceAll(/[^A-Za-z0-9]/g, "\\$&")} `, "im");
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf(" "));
}

/** For so many names of one part, their entries take less than its details, which tell of some hundred. */
const NAMES_ALONE = 16;

/** Where an index's details, and single entries of it, are read and proved. Throws `CA_CORRUPT`. */
export interface DetailsSource {
  text(path: string, hash: string): string;
  entry(name: string, digest: string): RegistryEntry;
}

/** The second text of a part of a split index: read and proved when it is asked for. */
export class IndexDetails {
  #text: string | undefined;
  #restByName: ReadonlyMap<string, string> | undefined;
  #readAlone = 0;

  constructor(
    readonly path: string,
    readonly hash: string,
    private readonly source: DetailsSource,
  ) {}

  static of(path: string, text: string, source: DetailsSource): IndexDetails {
    const details = new IndexDetails(path, sha256(text), source);
    details.#text = text;
    return details;
  }

  /**
   * The entry in place of the details, as long as few names of this part were asked for. It is proved by what the head says of it.
   *
   * @throws HawserError `CA_CORRUPT`
   */
  entryOf(name: string, digest: string): RegistryEntry | undefined {
    if (this.#text !== undefined || this.#readAlone >= NAMES_ALONE) return undefined;
    this.#readAlone += 1;
    return this.source.entry(name, digest);
  }

  /** @throws HawserError `CA_CORRUPT` */
  get text(): string {
    this.#text ??= this.source.text(this.path, this.hash);
    return this.#text;
  }

  restOf(name: string): string | undefined {
    this.#restByName ??= new Map(linesOf(this.text).map((line) => [nameOf(line), line.slice(line.indexOf(" ") + 1)]));
    return this.#restByName.get(name);
  }
}

/** A part of an index. */
export class IndexSegment {
  #names: ReadonlyMap<string, IndexedName> | undefined;
  #withEnded: readonly IndexedName[] | undefined;

  /** As long as nobody needs it as text: there may be ten megabytes of it. */
  readonly #bytes: Buffer | undefined;
  #text: string | undefined;

  /** @param details where the index is split */
  constructor(
    readonly path: string,
    content: string | Buffer,
    readonly hash = sha256(content),
    readonly details?: IndexDetails,
  ) {
    if (typeof content === "string") this.#text = content;
    else this.#bytes = content;
  }

  get text(): string {
    this.#text ??= this.#decoded();
    return this.#text;
  }

  /** Heads are ASCII, in which nothing needs to be looked for. */
  #decoded(): string {
    return this.#bytes?.toString(this.details === undefined ? "utf8" : "latin1") ?? "";
  }

  #includes(sign: string): boolean {
    return this.#text?.includes(sign) ?? this.#bytes?.includes(sign) ?? false;
  }

  /**
   * @param lines whole ones, whether the index is split or not
   * @param source where the index is split
   */
  static of(path: string, lines: Iterable<string>, source: DetailsSource | undefined): IndexSegment {
    const sorted = [...lines].sort();
    if (source === undefined) return new IndexSegment(path, textOf(sorted));
    const split = sorted.map(splitLine);
    const heads = split.map(([head, rest]) => `${head}${rest.includes(ENDED) ? HEAD_OF_ENDED : HEAD_OF_OTHERS}`);
    const details = IndexDetails.of(detailsFile(path), textOf(split.map(([head, rest]) => `${nameOf(head)} ${rest}`)), source);
    return new IndexSegment(path, textOf(heads), undefined, details);
  }

  /** Everything that the disk has of it, by path. Throws `CA_CORRUPT`. */
  get files(): readonly (readonly [path: string, text: string])[] {
    const { details } = this;
    return [[this.path, this.text], ...(details === undefined ? [] : [[details.path, details.text] as const])];
  }

  /** @throws HawserError `CA_CORRUPT` */
  get names(): ReadonlyMap<string, IndexedName> {
    this.#names ??= new Map(
      linesOf(this.text).map((line) => {
        const indexed = new IndexedName(line, this.path, this.details).check();
        return [indexed.name, indexed];
      }),
    );
    return this.#names;
  }

  /** The names, kept by nobody where they are not known yet. */
  *passing(): Generator<IndexedName> {
    if (this.#names !== undefined) return yield* this.#names.values();
    const text = this.#text ?? this.#decoded();
    for (let at = 0, end = text.indexOf("\n"); end !== -1; at = end + 1, end = text.indexOf("\n", at))
      yield new IndexedName(text.slice(at, end), this.path, this.details);
  }

  /** Names of which a certificate was revoked or superseded, and perhaps others. */
  get withEnded(): readonly IndexedName[] {
    this.#withEnded ??= this.#findEnded(this.details === undefined ? ENDED : HEAD_OF_ENDED);
    return this.#withEnded;
  }

  /** Looks at no other lines: few may have ended, of a hundred thousand. */
  #findEnded(sign: string): IndexedName[] {
    if (!this.#includes(sign)) return [];
    const text = this.#text ?? this.#decoded();
    const found: IndexedName[] = [];
    for (let at = text.indexOf(sign); at !== -1;) {
      // A last line that is cut off has no end of its own.
      const lineEnd = text.indexOf("\n", at);
      const end = lineEnd === -1 ? text.length : lineEnd;
      found.push(new IndexedName(text.slice(text.lastIndexOf("\n", at) + 1, end), this.path, this.details).check());
      at = text.indexOf(sign, end);
    }
    return found;
  }

  /** @param line finds the name at the start of a line, in any case of its letters: see {@link lineInAnyCase} */
  twinOf(name: string, line: RegExp): string | undefined {
    return line.test(this.#text ?? this.#decoded()) ? twinAmong(this.names.keys(), name) : undefined;
  }

  /** The part after a change; undefined removes a name. */
  with(changes: ReadonlyMap<string, string | undefined>, source: DetailsSource | undefined): IndexSegment {
    const kept = this.lines().filter((line) => !changes.has(nameOf(line)));
    const changed = [...changes.values()].filter((line) => line !== undefined);
    return IndexSegment.of(this.path, [...kept, ...changed], source);
  }

  /** Whole lines. */
  lines(): string[] {
    const { details } = this;
    if (details === undefined) return linesOf(this.text);
    return linesOf(this.text).map((line) => `${line.slice(0, line.lastIndexOf(" "))} ${details.restOf(nameOf(line)) ?? ""}`);
  }
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

function linesOf(text: string): string[] {
  return text === "" ? [] : text.slice(0, -1).split("\n");
}

/** Whole lines as the parts of an index. */
export function spread(lines: Iterable<string>, bits: number, source: DetailsSource | undefined): IndexSegment[] {
  const files: string[][] = Array.from({ length: 2 ** bits }, () => []);
  for (const line of lines) files[bucketOf(nameOf(line), bits)]?.push(line);
  return files.map((part, number) => IndexSegment.of(indexFile(number), part, source));
}
