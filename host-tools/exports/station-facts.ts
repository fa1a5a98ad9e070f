/** What a station's ledger knows of each board, in the columns of the ERP's table. */
import { boardAfter } from "../station/factory/ledger-records.js";
import type { BoardRecord, LedgerLine } from "../station/factory/ledger-records.js";
import type { ErpColumn } from "./erp.js";

export type ErpFacts = Partial<Record<ErpColumn, string>>;

/** By device id. A board that was made again has the facts of the last time. */
export function stationFacts(lines: readonly LedgerLine[]): Map<string, ErpFacts> {
  const boards = new Map<string, BoardRecord>();
  const made = new Map<string, { operator: string; head: string; firmware?: string | undefined }>();
  let session: { operator: string; firmware?: string | undefined } = { operator: "" };
  for (const line of lines) {
    if (line.event === "session") session = { operator: line.operator, firmware: line.firmware };
    if (!("id" in line) || line.id === undefined) continue;
    const board = boardAfter(boards.get(line.id), line);
    if (board !== undefined) boards.set(line.id, board);
    if (line.event === "reserved") made.set(line.id, { ...session, head: line.head });
  }
  const facts = new Map<string, ErpFacts>();
  for (const [id, { mac = "", order, passedAt, seconds, step }] of boards) {
    const { operator = "", head = "", firmware = "" } = made.get(id) ?? {};
    const isHash = /^[0-9a-f]{64}$/i.test(firmware);
    facts.set(id, {
      mac,
      order,
      operator,
      station: head,
      result: passedAt === undefined ? step : "passed",
      ...(seconds !== undefined && { seconds: String(seconds) }),
      ...(isHash && { firmware_sha256: firmware.toLowerCase() }),
    });
  }
  return facts;
}
