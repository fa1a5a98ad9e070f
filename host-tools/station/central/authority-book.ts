/**
 * What a central authority has given to which station: its own ledger, written before anything is issued. It holds each station to its
 * batch, and lets no id, MAC address or key belong to two boards, whichever stations made them.
 */
import { HawserError } from "../../../sdk/errors.js";
import { Ledger } from "../factory/ledger.js";
import type { BoardRecord } from "../factory/ledger-records.js";
import type { IssuedIdentity } from "../issue-once.js";
import type { BoardRequest } from "../factory/board-issuer.js";

export class AuthorityBook {
  private constructor(
    private readonly ledger: Ledger,
    /** How many boards each station may be given in all, by its name. */
    private readonly quotas: ReadonlyMap<string, number>,
  ) {}

  /** @throws HawserError as `Ledger.open` */
  static open(directory: string, quotas: ReadonlyMap<string, number>): AuthorityBook {
    return new AuthorityBook(Ledger.open(directory), quotas);
  }

  /** Boards that a station may still be given; undefined for a station that has no batch here. */
  left(station: string): number | undefined {
    const quota = this.quotas.get(station);
    return quota === undefined ? undefined : Math.max(0, quota - this.#boards(station).length);
  }

  owns(station: string, id: string): boolean {
    return this.ledger.board(id)?.order === station;
  }

  /**
   * Notes down that a station is about to be given a board. Asked again for the same board, it notes nothing.
   *
   * @param isInRegistry whether the id is in the CA's registry: then it is this station's, or not to be had
   * @throws HawserError `ID_EXISTS`, `DUPLICATE_MAC`, `DUPLICATE_KEY`, `QUOTA_SPENT`, and those of the disk
   */
  take(station: string, { id, role, mac, replace }: BoardRequest, publicKeyHash: string, isInRegistry: boolean): void {
    const before = this.ledger.board(id);
    if (before === undefined ? isInRegistry : before.order !== station) throw notYours(id);
    this.#checkMac(id, mac);
    const isOtherBoard = before !== undefined && mac !== undefined && before.mac !== undefined && before.mac !== mac;
    if (isOtherBoard && !replace) throw notYours(id);
    if (before === undefined && this.left(station) === 0) throw spent(station, this.quotas.get(station) ?? 0);
    const owner = this.ledger.boardOfKey(publicKeyHash);
    if (owner !== undefined && owner.id !== id) throw duplicate("DUPLICATE_KEY", "the key of this board", owner);
    if (isOtherBoard) this.ledger.append({ event: "replace", id, by: station, reason: "the station asked" });
    if (before === undefined || isOtherBoard)
      this.ledger.append({ event: "reserved", id, head: station, order: station, role, ...(mac !== undefined && { mac }) });
  }

  issued({ id, publicKeyHash, serial, notAfterMs }: IssuedIdentity): void {
    const before = this.ledger.board(id);
    if (before?.publicKeyHash !== publicKeyHash)
      this.ledger.append({ event: "step", id, step: "key", phase: "observed", facts: { publicKeyHash } });
    if (before?.serial !== serial)
      this.ledger.append({ event: "step", id, step: "issued", phase: "observed", facts: { serial, notAfterMs } });
  }

  /** The registry refused the id, and nothing was issued: it does not count. */
  giveBack(id: string, code: string): void {
    if (this.ledger.board(id)?.serial === undefined) this.ledger.append({ event: "burnt", id, code });
  }

  close(): void {
    this.ledger.close();
  }

  #boards(station: string): BoardRecord[] {
    return [...this.ledger.boards()].filter(({ order }) => order === station);
  }

  #checkMac(id: string, mac: string | undefined): void {
    const owner = mac === undefined ? undefined : this.ledger.boardOfMac(mac);
    if (owner !== undefined && owner.id !== id) throw duplicate("DUPLICATE_MAC", `the MAC address ${mac ?? ""}`, owner);
  }
}

function notYours(id: string): HawserError {
  return new HawserError("ID_EXISTS", `the id ${id} belongs to another board`, "Take another id.");
}

function spent(station: string, quota: number): HawserError {
  return new HawserError(
    "QUOTA_SPENT",
    `the batch of ${station} is used up: ${quota} boards`,
    "Start the authority with a larger --batch for this station.",
  );
}

function duplicate(code: "DUPLICATE_MAC" | "DUPLICATE_KEY", what: string, { id, order }: BoardRecord): HawserError {
  return new HawserError(
    code,
    `${what} belongs to ${id}, which was begun at the station ${order}`,
    `Plug it in at ${order} again; if it passed there, set it aside.`,
  );
}
