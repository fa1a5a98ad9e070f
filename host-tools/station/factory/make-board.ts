/**
 * One board from the first hello to PASS. Each step can be repeated: whoever was interrupted begins again with hello, and the ledger, the
 * board and the CA together say what is done already. Nothing is written to a board before its id, MAC address and key are its alone in the
 * ledger.
 */
import { randomBytes } from "node:crypto";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import { NONCE_BYTES } from "../../../sdk/provisioning/messages.js";
import { checkRequest } from "../../pki/certificate-request.js";
import { binary, checkProof, readState } from "../device-answers.js";
import type { DeviceState } from "../device-answers.js";
import type { IssuedIdentity } from "../issue-once.js";
import { checkHolds, sendIdentity } from "../provision-over-serial.js";
import type { StationLink } from "../station-link.js";
import type { BoardIssuer } from "./board-issuer.js";
import type { ConnectionProof } from "./connection-proof.js";
import type { IdSource } from "./id-source.js";
import type { Ledger } from "./ledger.js";
import { isBefore } from "./ledger-records.js";
import type { BoardRecord, ShiftOrder, Step, StepFacts } from "./ledger-records.js";

/** What all heads of a station share. */
export interface Bench {
  readonly ledger: Ledger;
  readonly issuer: BoardIssuer;
  readonly ids: IdSource;
  readonly proof: ConnectionProof;
  readonly order: ShiftOrder;
  /** Boards that report no MAC address are known by their key alone. */
  readonly allowNoMac: boolean;
  /** How long a board may take to connect, milliseconds. */
  readonly connectWaitMs: number;
  /** Has the label printed and scanned back; absent: boards get no label here. */
  readonly label?: (board: BoardRecord, signal: AbortSignal) => Promise<StepFacts>;
}

/** Where a board is being made. */
export interface Place {
  readonly head: string;
  /** Of the port, for boards that do not report their own. */
  readonly portMac?: string;
  readonly signal: AbortSignal;
  /** Marks the board as this head's; false when another head has it. */
  claim(id: string): boolean;
  onStep(step: Step, board: Partial<BoardRecord>): void;
  /** Waits for the second person where this board is the order's first; rejects when it is turned down. */
  firstArticle(board: BoardRecord): Promise<void>;
}

export interface MadeBoard {
  readonly board: BoardRecord;
  /** It had passed before: nothing was done. */
  readonly wasDone: boolean;
}

/** Asks the board what it is, with a challenge of its own. */
export async function askBoard(link: StationLink, attempts?: number): Promise<{ state: DeviceState; nonce: Uint8Array }> {
  const nonce = randomBytes(NONCE_BYTES);
  const answer = await link.request("hello", { nonce: Buffer.from(nonce).toString("base64") }, attempts);
  return { state: readState(answer, nonce), nonce };
}

/**
 * @throws HawserError `WRONG_FIRMWARE`, `NO_MAC`, `NO_IDS_LEFT`, `BOARD_BUSY`, `BOARD_PASSED`, `DUPLICATE_MAC`, `DUPLICATE_KEY`,
 *   `ALREADY_PROVISIONED`, `READ_BACK_FAILED`,
 *   `BOARD_NOT_SEEN`, and those of the id source, the line, the board, the ledger and the CA
 */
export async function makeBoard(bench: Bench, link: StationLink, place: Place): Promise<MadeBoard> {
  const begunMs = performance.now();
  const { state, nonce } = await askBoard(link);
  const mac = state.mac ?? place.portMac;
  place.onStep("detected", { ...(mac !== undefined && { mac }) });
  const known = knownBoard(bench, state, mac);
  if (known?.passedAt !== undefined && state.isProvisioned) return { board: known, wasDone: true };
  checkFirmware(bench.order, state);
  if (mac === undefined && !bench.allowNoMac) throw noMac();
  let board = known ?? (state.isProvisioned ? undefined : await reserveNew(bench, place, mac));
  if (board === undefined) throw foreign(state);
  claim(place, board.id);
  place.onStep("reserved", board);
  if (!state.isProvisioned) board = await giveIdentity(bench, link, place, { board, nonce, mac });
  board = await prove(bench, link, place, board);
  await place.firstArticle(board);
  const seconds = Math.round((performance.now() - begunMs) / 100) / 10;
  return { board: observed(bench, place, board.id, "passed", { seconds }), wasDone: false };
}

/** The board as the ledger knows it. Throws when ledger and board contradict each other. */
function knownBoard({ ledger }: Bench, state: DeviceState, mac: string | undefined): BoardRecord | undefined {
  const { publicKeyHash, isProvisioned } = state;
  const byKey = publicKeyHash === undefined ? undefined : ledger.boardOfKey(publicKeyHash);
  const board = mac === undefined ? byKey : ledger.boardOfMac(mac);
  if (!isProvisioned) {
    if (board?.passedAt === undefined) return board;
    const next = `Take another board, or run: hawser station rework --id ${board.id}`;
    throw new HawserError("BOARD_PASSED", `this board passed as ${board.id}, but has lost its identity since`, next);
  }
  if (byKey !== undefined && byKey.id !== board?.id) {
    throw new HawserError(
      "DUPLICATE_KEY",
      `this board holds the key of ${byKey.id}, which is another board`,
      "Set this board aside: its flash is a copy of the other board's.",
    );
  }
  if (board === undefined || board.id !== state.id || board.publicKeyHash !== publicKeyHash || board.serial !== state.serial)
    throw foreign(state);
  return board;
}

async function reserveNew(bench: Bench, place: Place, mac: string | undefined): Promise<BoardRecord> {
  const { ledger, ids } = bench;
  if (ids.ask !== undefined && (vacant(ledger) ?? orphan(ledger, mac)) === undefined) {
    await ids.ask(mac, place.signal);
    const other = mac === undefined ? undefined : ledger.boardOfMac(mac);
    if (other !== undefined) throw boardBusy(other.id);
  }
  return reserve(bench, place, mac);
}

function reserve({ ledger, ids, order }: Bench, { head }: Place, mac: string | undefined): BoardRecord {
  const plan = vacant(ledger) ?? orphan(ledger, mac) ?? ids.next(mac, (id) => ledger.knowsId(id));
  ledger.append({
    event: "reserved",
    id: plan.id,
    head,
    order: order.order,
    role: plan.role ?? order.role,
    ...(mac !== undefined && { mac }),
  });
  return boardOf(ledger, plan.id);
}

function vacant(ledger: Ledger): BoardRecord | undefined {
  return [...ledger.boards()].find(({ isVacant }) => isVacant);
}

/** An id that was given to a board without a MAC address whose key was never seen: it may have been this one, and is free in any case. */
function orphan(ledger: Ledger, mac: string | undefined): BoardRecord | undefined {
  if (mac !== undefined) return undefined;
  return [...ledger.boards()].find(
    (board) => board.mac === undefined && board.step === "reserved" && board.publicKeyHash === undefined && !board.mayHaveNewKey,
  );
}

interface Begun {
  readonly board: BoardRecord;
  readonly nonce: Uint8Array;
  readonly mac: string | undefined;
}

async function giveIdentity(bench: Bench, link: StationLink, place: Place, { board, nonce, mac }: Begun): Promise<BoardRecord> {
  const { ledger } = bench;
  for (let reserved = board; ;) {
    const { id } = reserved;
    const answer = await link.request("generate", { id });
    const csr = binary(answer["csr"], "csr");
    const { publicKey, publicKeyHash } = await checkRequest(csr, id);
    checkProof(publicKey, binary(answer["proof"], "proof"), nonce);
    const owner = ledger.boardOfKey(publicKeyHash);
    if (owner !== undefined && owner.id !== id && owner.mac === undefined && mac === undefined && owner.passedAt === undefined) {
      claim(place, owner.id);
      reserved = owner;
      continue;
    }
    const replace = reserved.mayHaveNewKey || (reserved.serial !== undefined && reserved.publicKeyHash !== publicKeyHash);
    observed(bench, place, id, "key", { publicKeyHash });
    observed(bench, place, id, "csr-verified");
    ledger.append({ event: "step", id, step: "issued", phase: "intended" });
    const issued = await issueOrTakeAnotherId(bench, { board: reserved, replace, csr, publicKeyHash });
    if (issued === undefined) {
      reserved = reserve(bench, place, mac);
      claim(place, reserved.id);
      continue;
    }
    return write(bench, link, place, issued);
  }
}

/** Undefined when the registry has given the id to another station's board, or to a device that was there before: the id is burnt then. */
async function issueOrTakeAnotherId(
  bench: Bench,
  work: { board: BoardRecord; replace: boolean; csr: Uint8Array; publicKeyHash: string },
): Promise<IssuedIdentity | undefined> {
  const { ledger, issuer, ids, order } = bench;
  const { board, replace, csr, publicKeyHash } = work;
  try {
    const { id, role, mac } = board;
    const attributes = { ...order.attributes, ...ids.planOf(id)?.attributes };
    return await issuer.issue({ id, role, attributes, replace, ...(mac !== undefined && { mac }) }, csr, publicKeyHash);
  } catch (error) {
    const isTaken = ["ID_EXISTS", "RESERVED_NAME"].includes(errorCode(error)) && board.serial === undefined && !replace;
    if (!isTaken) throw error;
    ledger.append({ event: "burnt", id: board.id, code: errorCode(error) });
    return undefined;
  }
}

async function write(bench: Bench, link: StationLink, place: Place, issued: IssuedIdentity): Promise<BoardRecord> {
  const { id, serial, notAfterMs } = issued;
  try {
    observed(bench, place, id, "issued", { serial, notAfterMs });
    bench.ledger.append({ event: "step", id, step: "written", phase: "intended" });
    await sendIdentity(link, issued);
  } finally {
    issued.psk?.fill(0);
  }
  return observed(bench, place, id, "written");
}

/** Everything that must be seen before a board may pass. */
async function prove(bench: Bench, link: StationLink, place: Place, { id }: BoardRecord): Promise<BoardRecord> {
  const { ledger, issuer, proof } = bench;
  const { serial = "", publicKeyHash = "" } = boardOf(ledger, id);
  // A new challenge: the answer of before could be a recording.
  checkHolds((await askBoard(link)).state, { id, serial, publicKeyHash });
  // Its answer was lost with the cable or the station; the board shows that it was done.
  if (isBefore(boardOf(ledger, id).step, "written")) observed(bench, place, id, "written", { seen: "read-back" });
  let board = observed(bench, place, id, "read-back", { challenge: "signed" });
  await link.request("done");
  if (isBefore(board.step, "connected")) {
    const { topic } = await proof.seen(id, serial, bench.connectWaitMs, place.signal);
    board = observed(bench, place, id, "connected", { by: proof.kind, ...(topic !== "" && { topic }) });
  }
  await checkRegistered(issuer, board);
  board = observed(bench, place, id, "registered");
  if (bench.label === undefined || !isBefore(board.step, "labelled")) return board;
  return observed(bench, place, id, "labelled", await bench.label(board, place.signal));
}

async function checkRegistered(issuer: BoardIssuer, { id, serial = "" }: BoardRecord): Promise<void> {
  if (await issuer.isRegistered(id, serial)) return;
  throw new HawserError(
    "NOT_PROVED",
    `the registry does not have ${id} as active with the certificate that this board holds`,
    "Set this board aside and call the line's engineer.",
  );
}

function observed({ ledger }: Bench, place: Place, id: string, step: Step, facts?: StepFacts): BoardRecord {
  ledger.append({ event: "step", id, step, phase: "observed", ...(facts && { facts }) });
  const board = boardOf(ledger, id);
  place.onStep(step, board);
  return board;
}

function boardOf(ledger: Ledger, id: string): BoardRecord {
  const board = ledger.board(id);
  if (board === undefined) throw new HawserError("INTERNAL", `the ledger has lost ${id}`, "Report this.");
  return board;
}

function claim(place: Place, id: string): void {
  if (!place.claim(id)) throw boardBusy(id);
}

function boardBusy(id: string): HawserError {
  return new HawserError(
    "BOARD_BUSY",
    `another head is working on ${id}`,
    "Wait a moment. If it stays, two boards have the same MAC address: set one aside.",
  );
}

function checkFirmware({ firmware }: ShiftOrder, state: DeviceState): void {
  if (firmware === undefined || state.firmware === firmware) return;
  const has = state.firmware === undefined ? "does not report its firmware" : `has the firmware ${state.firmware}`;
  throw new HawserError("WRONG_FIRMWARE", `the board ${has}; the order needs ${firmware}`, "Set this board aside to be flashed again.");
}

function noMac(): HawserError {
  return new HawserError(
    "NO_MAC",
    "the board does not report its MAC address",
    "Set `about` in the firmware's board options, or start the station with --allow-no-mac.",
  );
}

function foreign({ id }: DeviceState): HawserError {
  const whose = id === undefined ? "an identity" : `the identity ${id}`;
  return new HawserError("ALREADY_PROVISIONED", `this board has ${whose} that this station did not give it`, "Set this board aside.");
}
