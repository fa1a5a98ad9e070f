/** The end of a shift as a file: what was made, what failed, and the ledger it stands on, signed by the station's own key. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { readLedger } from "./ledger.js";
import { boardAfter } from "./ledger-records.js";
import type { BoardRecord, LedgerLine } from "./ledger-records.js";

const KEY_FILE = "station.key.pem";

export interface ShiftSummary {
  readonly version: 1;
  readonly operator: string;
  readonly order: string;
  readonly product: string;
  readonly role: string;
  readonly firmware?: string;
  readonly from: string;
  readonly to: string;
  readonly firstArticle?: { readonly id: string; readonly by: string };
  readonly passed: readonly {
    readonly id: string;
    readonly mac?: string;
    readonly serial: string;
    readonly publicKeyHash: string;
    readonly proof: string;
    readonly failures: number;
  }[];
  readonly failed: readonly { readonly id?: string; readonly mac?: string; readonly class: string; readonly code: string }[];
  readonly reprints: number;
  /** Lines of the ledger up to here, and the hash that stands for them all. */
  readonly ledger: { readonly lines: number; readonly hash: string };
}

export interface SignedSummary extends ShiftSummary {
  /** Ed25519, SubjectPublicKeyInfo in PEM. */
  readonly publicKey: string;
  /** Over the JSON of everything but itself, base64. */
  readonly signature: string;
}

/**
 * Of the latest shift in a station's directory: since the last `session-end`, or the one before it when that is the end.
 * @throws HawserError `NOT_FOUND`, `LEDGER_CORRUPT`, and those of the disk
 */
export function summarizeShift(directory: string): SignedSummary {
  const { lines, hashes } = readLedger(directory);
  const shift = latestShift(lines);
  const begun = shift.find((line) => line.event === "session");
  if (begun?.event !== "session") throw new HawserError("NOT_FOUND", `no shift in ${directory}`, "Start one: hawser station.");
  const boards = boardsOf(lines);
  const passedIds = new Set(shift.flatMap((line) => (line.event === "step" && line.step === "passed" ? [line.id] : [])));
  const proofs = new Map(
    lines.flatMap((line) => (line.event === "step" && line.step === "connected" ? [[line.id, String(line.facts?.["by"])] as const] : [])),
  );
  const passed = [...passedIds].flatMap((id) => {
    const board = boards.get(id);
    if (board?.passedAt === undefined) return [];
    const { mac, serial = "", publicKeyHash = "", failures } = board;
    return [{ id, ...(mac !== undefined && { mac }), serial, publicKeyHash, proof: proofs.get(id) ?? "", failures }];
  });
  const article = lines.find((line) => line.event === "approved" && line.order === begun.order);
  const last = lines.at(-1);
  const summary: ShiftSummary = {
    version: 1,
    operator: begun.operator,
    order: begun.order,
    product: begun.product,
    role: begun.role,
    ...(begun.firmware !== undefined && { firmware: begun.firmware }),
    from: begun.at,
    to: last?.at ?? begun.at,
    ...(article?.event === "approved" && { firstArticle: { id: article.id, by: article.by } }),
    passed,
    failed: failuresOf(shift, passed),
    reprints: shift.filter((line) => line.event === "printed" && line.copy > 1).length,
    ledger: { lines: lines.length, hash: hashes.at(-1) ?? "" },
  };
  return signed(directory, summary);
}

/**
 * Proves a summary: its signature, and every board and count in it by the ledger it names.
 *
 * @param keyPem the station's public key, from where the verifier trusts it; without it, the one in the directory
 * @throws HawserError `BAD_SIGNATURE`, `LEDGER_CORRUPT`
 */
export function verifySummary(directory: string, text: string, keyPem?: string): SignedSummary {
  const { signature, ...rest } = parse(text);
  const key = keyPem ?? publicKeyOf(stationKey(directory));
  const isGood =
    rest.publicKey === key && verify(null, Buffer.from(JSON.stringify(rest)), createPublicKey(key), Buffer.from(signature, "base64"));
  if (!isGood)
    throw new HawserError(
      "BAD_SIGNATURE",
      "the summary was not signed by this station, or was changed since",
      "Ask for the file that the station wrote.",
    );
  const { lines, hashes } = readLedger(directory);
  if (hashes[rest.ledger.lines - 1] !== rest.ledger.hash)
    throw new HawserError(
      "LEDGER_CORRUPT",
      "the ledger is not the one that the summary was made from",
      "Restore the ledger from a backup.",
    );
  const boards = boardsOf(lines.slice(0, rest.ledger.lines));
  const wrong = rest.passed.find(
    ({ id, serial, publicKeyHash }) => boards.get(id)?.serial !== serial || boards.get(id)?.publicKeyHash !== publicKeyHash,
  );
  if (wrong !== undefined)
    throw new HawserError("LEDGER_CORRUPT", `the summary and the ledger differ about ${wrong.id}`, "Restore the ledger from a backup.");
  return { signature, ...rest };
}

/** The station's public key, which an auditor keeps elsewhere. PEM. */
export function stationPublicKey(directory: string): string {
  return publicKeyOf(stationKey(directory));
}

function latestShift(lines: readonly LedgerLine[]): readonly LedgerLine[] {
  const ends = lines.flatMap((line, index) => (line.event === "session-end" ? [index] : []));
  const isEnded = ends.at(-1) === lines.length - 1;
  return lines.slice((isEnded ? ends.at(-2) : ends.at(-1)) === undefined ? 0 : ((isEnded ? ends.at(-2) : ends.at(-1)) ?? 0) + 1);
}

function boardsOf(lines: readonly LedgerLine[]): Map<string, BoardRecord> {
  const boards = new Map<string, BoardRecord>();
  for (const line of lines) {
    if (!("id" in line) || line.id === undefined) continue;
    const after = boardAfter(boards.get(line.id), line);
    if (line.event === "burnt") boards.delete(line.id);
    else if (after !== undefined) boards.set(line.id, after);
  }
  return boards;
}

/** The last failure of each board that has not passed. */
function failuresOf(shift: readonly LedgerLine[], passed: ShiftSummary["passed"]): ShiftSummary["failed"] {
  const passes = new Map(shift.flatMap((line, at) => (line.event === "step" && line.step === "passed" ? [[line.id, at] as const] : [])));
  const idOf = new Map(passed.map(({ mac, id }) => [mac, id]));
  const byBoard = new Map<string, ShiftSummary["failed"][number]>();
  for (const [at, line] of shift.entries()) {
    if (line.event !== "failed") continue;
    const { id, mac, code } = line;
    if (id !== undefined && passes.has(id)) continue;
    // It failed before it had its id. A failure after the pass is another matter: its flash was erased, or it is a copy.
    if (id === undefined && mac !== undefined && at < (passes.get(idOf.get(mac) ?? "") ?? 0)) continue;
    byBoard.set(id ?? mac ?? line.head, { ...(id !== undefined && { id }), ...(mac !== undefined && { mac }), class: line.class, code });
  }
  return [...byBoard.values()];
}

function signed(directory: string, summary: ShiftSummary): SignedSummary {
  const key = stationKey(directory);
  const body = { ...summary, publicKey: publicKeyOf(key) };
  return { ...body, signature: sign(null, Buffer.from(JSON.stringify(body)), createPrivateKey(key)).toString("base64") };
}

/** Made when it is first needed; mode 0600. PEM. */
function stationKey(directory: string): string {
  const path = join(directory, KEY_FILE);
  if (!existsSync(path)) writeFileAtomic(path, generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }));
  return readFileSync(path, "utf8");
}

function publicKeyOf(keyPem: string): string {
  return createPublicKey(keyPem).export({ type: "spki", format: "pem" }).toString();
}

function parse(text: string): SignedSummary {
  try {
    const value = JSON.parse(text) as SignedSummary;
    if (
      typeof value.signature === "string" &&
      typeof value.publicKey === "string" &&
      Array.isArray(value.passed) &&
      typeof value.ledger.lines === "number"
    )
      return value;
  } catch {
    // Falls through to the one answer for what is no summary.
  }
  throw new HawserError(
    "BAD_SIGNATURE",
    "this file is not a signed summary of a shift",
    "Name the summary-*.json file that the station wrote.",
  );
}
