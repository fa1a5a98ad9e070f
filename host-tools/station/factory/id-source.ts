/** Where boards get their ids from: a pattern with a counter, a list, the rows of a batch, or whoever is asked (`mes-ids.ts`). */
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import type { BatchRow } from "./batch-file.js";

export interface PlannedBoard {
  readonly id: string;
  /** Instead of the order's. */
  readonly role?: string;
  /** In addition to the order's. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface IdSource {
  /**
   * Where another machine gives the ids: has it give one for this board, which {@link next} then returns.
   * @throws HawserError `NO_MAC`, `NO_IDS_LEFT`, `STOPPED`, `ID_SOURCE_AWAY`, `ID_SOURCE_REFUSED`, `ID_SOURCE_UNTRUSTED`, `ID_SOURCE_WRONG`
   */
  ask?(mac: string | undefined, signal: AbortSignal): Promise<void>;
  /**
   * The next id that is not taken, or the one that is meant for this MAC address.
   * @throws HawserError `NO_IDS_LEFT`, `ID_SOURCE_WRONG`
   */
  next(mac: string | undefined, isTaken: (id: string) => boolean): PlannedBoard;
  /** What is planned for an id beside its name. */
  planOf(id: string): PlannedBoard | undefined;
}

const COUNTER = /\{n(?::(\d{1,2}))?\}/;
/** Far beyond any order; a counter that comes here has lost its way. */
const MOST_NUMBERS = 10_000_000;

/**
 * @param pattern an id with `{n}` for the number, or `{n:6}` for one with leading zeros: `meter-{n:6}`
 * @param first the first number
 * @throws HawserError `INVALID_ID`
 */
export function idsByPattern(pattern: string, first = 1): IdSource {
  const match = COUNTER.exec(pattern);
  if (match === null)
    throw new HawserError(
      "INVALID_ID",
      `the id pattern ${JSON.stringify(pattern)} has no counter`,
      "Put {n} or {n:6} where the number goes: meter-{n:6}.",
    );
  const idOf = (number: number): string => pattern.replace(COUNTER, () => String(number).padStart(Number(match[1] ?? 0), "0"));
  checkId(idOf(first));
  let number = first;
  return {
    next(_mac, isTaken) {
      while (isTaken(idOf(number))) number += 1;
      if (number >= MOST_NUMBERS) throw noIdsLeft("the counter has reached its end");
      return { id: checkId(idOf(number)) };
    },
    planOf: () => undefined,
  };
}

/** Ids in the order given. Throws `INVALID_ID` for the first that is not one, or that stands there twice. */
export function idsByList(ids: readonly string[]): IdSource {
  return idsByBatch(ids.map((id) => ({ id })));
}

/** The rows of a batch: a board whose MAC address has a row gets that one, every other board the next row without an address. */
export function idsByBatch(rows: readonly BatchRow[]): IdSource {
  const byId = new Map<string, BatchRow>();
  const byMac = new Map<string, BatchRow>();
  for (const row of rows) {
    if (byId.has(checkId(row.id))) throw new HawserError("INVALID_ID", `the id ${row.id} is there twice`, "Give each board its own id.");
    if (row.mac !== undefined && byMac.has(row.mac))
      throw new HawserError("INVALID_ID", `the MAC address ${row.mac} is there twice`, "Give each board its own row.");
    byId.set(row.id, row);
    if (row.mac !== undefined) byMac.set(row.mac, row);
  }
  const free = rows.filter(({ mac }) => mac === undefined);
  let at = 0;
  return {
    next(mac, isTaken) {
      const own = mac === undefined ? undefined : byMac.get(mac);
      if (own !== undefined && !isTaken(own.id)) return own;
      for (let row = free[at]; row !== undefined; row = free[++at]) if (!isTaken(row.id)) return row;
      throw noIdsLeft(byMac.size > 0 ? "no row is left for this board" : "every id is given out");
    },
    planOf: (id) => byId.get(id),
  };
}

function noIdsLeft(what: string): HawserError {
  return new HawserError(
    "NO_IDS_LEFT",
    `there is no id for this board: ${what}`,
    "Add ids to the batch, or start an order with another id source.",
  );
}
