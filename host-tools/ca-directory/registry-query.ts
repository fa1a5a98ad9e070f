/** Which names of a registry are wanted, and in what order. */
import type { EntryState, NameSummary } from "./registry-entry.js";
import { currentCertificate } from "./state-transitions.js";

/** Every part that is given has to fit. */
export interface RegistryQuery {
  /** With `*` for any characters and `?` for one. */
  readonly id?: string;
  readonly kind?: NameSummary["kind"];
  /** One of these. */
  readonly states?: readonly EntryState[];
  /** One of these. */
  readonly roles?: readonly string[];
  /** By attribute, one of these values. */
  readonly attributes?: ReadonlyMap<string, ReadonlySet<string>>;
  /** Attributes that it must not have. */
  readonly lacking?: readonly string[];
  /** Milliseconds since the epoch: its valid certificate ends before, or has ended. Names without a valid certificate never fit. */
  readonly endsBeforeMs?: number;
  /** What else it must be. */
  readonly isWanted?: (name: NameSummary) => boolean;
  readonly sort?: SortOrder;
}

/** `expiry`: the first to end comes first, and names without a valid certificate last. */
export const SORT_ORDERS = ["id", "expiry"] as const;
export type SortOrder = (typeof SORT_ORDERS)[number];

/** What a query finds. */
export interface FoundNames {
  readonly count: number;
  /** How many are in each state there is. */
  readonly states: Readonly<Partial<Record<EntryState, number>>>;
  /** In the order of the query. */
  readonly first: readonly NameSummary[];
}

/** @param limit of the names that are given; all are counted */
export function find(names: Iterable<NameSummary>, query: RegistryQuery, limit = Infinity): FoundNames {
  const isWanted = test(query);
  const states: Partial<Record<EntryState, number>> = {};
  const first = new FirstNames(query.sort === "expiry" ? byEnd : byName, limit);
  let count = 0;
  for (const name of names) {
    if (!isWanted(name)) continue;
    count += 1;
    const { state } = name;
    states[state] = (states[state] ?? 0) + 1;
    first.add(name);
  }
  return { count, states, first: first.sorted };
}

export function select(names: Iterable<NameSummary>, query: RegistryQuery): readonly NameSummary[] {
  return find(names, query).first;
}

/** More names than these are cut at once. */
const SPARE_NAMES = 1000;

/** The first of many, without sorting all of them. */
class FirstNames {
  #kept: NameSummary[] = [];
  /** No name behind this one is among the first. */
  #last: NameSummary | undefined;

  constructor(
    private readonly compare: (a: NameSummary, b: NameSummary) => number,
    private readonly limit: number,
  ) {}

  add(name: NameSummary): void {
    if (this.#last !== undefined && this.compare(name, this.#last) > 0) return;
    this.#kept.push(name);
    if (this.#kept.length >= this.limit + SPARE_NAMES) this.#cut();
  }

  get sorted(): readonly NameSummary[] {
    this.#cut();
    return this.#kept;
  }

  #cut(): void {
    this.#kept.sort(this.compare);
    if (this.#kept.length <= this.limit) return;
    this.#kept.length = this.limit;
    this.#last = this.#kept.at(-1);
  }
}

function byName(a: NameSummary, b: NameSummary): number {
  return a.name > b.name ? 1 : a.name === b.name ? 0 : -1;
}

function byEnd(a: NameSummary, b: NameSummary): number {
  return endOf(a) - endOf(b) || byName(a, b);
}

/** When the certificate in use ends; never where none is valid. */
function endOf(name: NameSummary): number {
  return currentCertificate(name)?.notAfterMs ?? Number.MAX_SAFE_INTEGER;
}

type Test = (name: NameSummary) => boolean;

/** Of a hundred thousand names, each is asked only what the query asks, the cheapest first. */
function test(query: RegistryQuery): Test {
  const { id, kind, states, roles, attributes, lacking = [], endsBeforeMs, isWanted } = query;
  const tests: Test[] = [];
  if (states !== undefined) tests.push(({ state }) => states.includes(state));
  if (id !== undefined) tests.push(matches(globPattern(id)));
  if (kind !== undefined) tests.push((name) => name.kind === kind);
  if (roles !== undefined) tests.push(({ role }) => roles.includes(role));
  for (const [attribute, values] of attributes ?? []) tests.push((name) => values.has(attributeOf(name, attribute) ?? ""));
  for (const attribute of lacking) tests.push((name) => attributeOf(name, attribute) === undefined);
  if (endsBeforeMs !== undefined) tests.push((name) => endOf(name) < endsBeforeMs);
  if (isWanted !== undefined) tests.push(isWanted);
  const [only] = tests;
  return tests.length === 1 && only !== undefined ? only : (name) => tests.every((one) => one(name));
}

function matches(pattern: RegExp): Test {
  return ({ name }) => pattern.test(name);
}

function attributeOf({ attributes }: NameSummary, name: string): string | undefined {
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** Ids have no characters that mean anything in a pattern but `.` and `-`. */
function globPattern(glob: string): RegExp {
  const escaped = glob.replace(/[\\^$.+()[\]{}|/-]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*+/g, ".*").replaceAll("?", ".")}$`);
}
