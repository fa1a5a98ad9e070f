/**
 * A backup of a CA: one file, encrypted under the CA's passphrase. The first line is a JSON object that says whose backup it is and how
 * the passphrase becomes the key; the rest is AES-256-GCM over the compressed content, bound to that line.
 */
import { isDeepStrictEqual } from "node:util";
import { deflateSync, inflateSync } from "node:zlib";
import { HawserError } from "../../sdk/errors.js";
import { deriveKey, readKeyDerivation, seal, unseal } from "../../sim/node/vault/sealed.js";
import type { KeyDerivation } from "../../sim/node/vault/sealed.js";
import type { CaRecord } from "./ca-record.js";
import { SEAL_PURPOSE } from "./directory-layout.js";
import { parseObject } from "./registry-entry.js";
import { subkey } from "./sealed-state.js";
import type { CaState } from "./sealed-state.js";
import { isInSnapshot } from "./snapshot.js";
import type { Snapshot } from "./snapshot.js";

/** What can be read of a backup without the passphrase; proved once it is opened. */
export interface BackupHeader {
  readonly v: 1;
  readonly name: string;
  readonly instance: string;
  /** Number of the last change in it. */
  readonly revision: number;
  readonly madeAtMs: number;
  readonly derivation: KeyDerivation;
  /** As in the CA's record: tells a wrong passphrase from damage. */
  readonly check: string;
}

export interface OpenedBackup {
  readonly header: BackupHeader;
  readonly snapshot: Snapshot;
  /** The key that the passphrase opens. */
  readonly sealing: Buffer;
}

/** A key, and how it came from a passphrase. */
export interface DerivedKey {
  readonly derivation: KeyDerivation;
  readonly sealing: Buffer;
}

const MAX_HEADER_BYTES = 4096;
const LINE_FEED = 0x0a;

export function backupBytes(record: CaRecord, state: CaState, snapshot: Snapshot, sealing: Uint8Array, madeAtMs: number): Buffer {
  const { name, derivation, check } = record;
  const { instance, revision } = state;
  const line = `${JSON.stringify({ hawserBackup: 1, name, instance, revision, madeAtMs, derivation, check })}\n`;
  return Buffer.concat([Buffer.from(line, "utf8"), seal(backupKey(sealing), deflateSync(pack(snapshot), { level: 1 }), purpose(line))]);
}

/** @throws HawserError `BACKUP_DAMAGED` */
export function readBackupHeader(bytes: Buffer, file: string): BackupHeader {
  const line = headerLine(bytes);
  const { hawserBackup, name, instance, revision, madeAtMs, derivation, check } =
    (line === undefined ? undefined : parseObject(line)) ?? {};
  const known = readKeyDerivation(derivation);
  const isSound = typeof name === "string" && typeof instance === "string" && typeof check === "string" && known !== undefined;
  if (hawserBackup !== 1 || !isSound || typeof revision !== "number" || typeof madeAtMs !== "number")
    throw damaged(file, "it does not begin as a backup of this version of hawser does");
  return { v: 1, name, instance, revision, madeAtMs, derivation: known, check };
}

/**
 * Opens a backup, whole or not at all.
 *
 * @param file what errors call it
 * @param known a key that the passphrase has opened before: scrypt does not run again where the backup is sealed by it
 * @throws HawserError `BACKUP_DAMAGED`, `WRONG_PASSPHRASE`
 */
export function openBackup(bytes: Buffer, passphrase: string, file: string, known?: DerivedKey): OpenedBackup {
  const header = readBackupHeader(bytes, file);
  const isKnown = isDeepStrictEqual(known?.derivation, header.derivation);
  const sealing = isKnown && known !== undefined ? known.sealing : deriveKey(passphrase, header.derivation);
  try {
    unseal(sealing, Buffer.from(header.check, "base64"), SEAL_PURPOSE.check);
  } catch {
    throw new HawserError(
      "WRONG_PASSPHRASE",
      `the passphrase does not open the backup ${file}`,
      "Give the one that the CA had when the backup was made.",
    );
  }
  const line = headerLine(bytes) ?? "";
  let packed: Buffer;
  try {
    packed = inflateSync(unseal(backupKey(sealing), bytes.subarray(Buffer.byteLength(line)), purpose(line)));
  } catch {
    throw damaged(file, "it was truncated or changed");
  }
  return { header, snapshot: unpack(packed, file), sealing };
}

function backupKey(sealing: Uint8Array): Buffer {
  return subkey(sealing, "backup");
}

function purpose(line: string): string {
  return `hawser CA backup: ${line}`;
}

function headerLine(bytes: Buffer): string | undefined {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(LINE_FEED);
  return end < 0 ? undefined : bytes.toString("utf8", 0, end + 1);
}

/** Paths and sizes as JSON, its length before it, then all content. */
function pack(snapshot: Snapshot): Buffer {
  const index = Buffer.from(JSON.stringify([...snapshot].map(([path, content]) => [path, content.length])), "utf8");
  const size = Buffer.alloc(4);
  size.writeUInt32BE(index.length);
  return Buffer.concat([size, index, ...snapshot.values()]);
}

function unpack(packed: Buffer, file: string): Snapshot {
  const indexBytes = packed.length < 4 ? 0 : packed.readUInt32BE();
  const index = JSON.parse(packed.toString("utf8", 4, 4 + indexBytes)) as [path: string, sizeBytes: number][];
  const snapshot = new Map<string, Buffer>();
  let at = 4 + indexBytes;
  for (const [path, sizeBytes] of index) {
    if (!isInSnapshot(path) || snapshot.has(path)) throw damaged(file, `it holds ${JSON.stringify(path)}, which a CA does not have`);
    snapshot.set(path, packed.subarray(at, at + sizeBytes));
    at += sizeBytes;
  }
  if (at !== packed.length) throw damaged(file, "its content is not as long as it says");
  return snapshot;
}

function damaged(file: string, problem: string): HawserError {
  return new HawserError("BACKUP_DAMAGED", `${file} cannot be restored: ${problem}`, "Use another backup.");
}
