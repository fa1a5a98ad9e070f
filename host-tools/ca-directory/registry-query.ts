/** Which names of a registry are wanted, and in what order. */
import type { ListedName } from "./registry.js";
import type { EntryState, RegistryEntry } from "./registry-entry.js";

/** Every part that is given has to fit. */
export interface RegistryQuery {
  /** With `*` for any characters and `?` for one. */
  readonly id?: string;
  readonly kind?: RegistryEntry["kind"];
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
  readonly isWanted?: (name: ListedName) => boolean;
  readonly sort?: SortOrder;
}

/** `expiry`: the first to end comes first, and names without a valid certificate last. */
export const SORT_ORDERS = ["id", "expiry"] as const;
export type SortOrder = (typeof SORT_ORDERS)[number];

/** @param names sorted by id */
export function select(names: readonly ListedName[], query: RegistryQuery): ListedName[] {
  const found = names.filter(test(query));
  return query.sort === "expiry"
    ? found.sort((a, b) => (a.notAfterMs ?? Infinity) - (b.notAfterMs ?? Infinity) || (a.name < b.name ? -1 : 1))
    : found;
}

function test({ id, kind, states, roles, attributes, lacking = [], endsBeforeMs, isWanted }: RegistryQuery): (name: ListedName) => boolean {
  const pattern = id === undefined ? undefined : globPattern(id);
  return (name) => {
    if (pattern?.test(name.name) === false) return false;
    if (kind !== undefined && name.kind !== kind) return false;
    if (states?.includes(name.state) === false || roles?.includes(name.role) === false) return false;
    for (const [attribute, values] of attributes ?? []) if (!values.has(attributeOf(name, attribute) ?? "")) return false;
    if (lacking.some((attribute) => attributeOf(name, attribute) !== undefined)) return false;
    if (endsBeforeMs !== undefined && !((name.notAfterMs ?? Infinity) < endsBeforeMs)) return false;
    return isWanted?.(name) !== false;
  };
}

function attributeOf({ attributes }: ListedName, name: string): string | undefined {
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** Ids have no characters that mean anything in a pattern but `.` and `-`. */
function globPattern(glob: string): RegExp {
  const escaped = glob.replace(/[\\^$.+()[\]{}|/-]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*+/g, ".*").replaceAll("?", ".")}$`);
}
