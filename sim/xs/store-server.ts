/** Answers the XS host's questions about records and keys from a store of this process; the other side is `sim/xs/host/store.c`. */
import type { Duplex } from "node:stream";
import { errorCode, errorMessage } from "../../sdk/errors.js";
import type { Storage } from "../../sdk/platform.js";

/** Keys as PSA writes them (`psa-key-file.ts`), by PSA's key id. Each change is atomic and durable when the call returns. */
export interface PsaKeyFiles {
  get(id: number): Uint8Array | undefined;
  put(id: number, file: Uint8Array): void;
  /** Nothing happens when there is none. */
  delete(id: number): void;
}

export interface HostStore {
  records: Storage;
  keys: PsaKeyFiles;
}

const HEADER_BYTES = 6;
const ANSWER_HEADER_BYTES = 5;
const [OK, ABSENT, FAILED] = [0, 1, 2];

type Operation = (store: HostStore, name: string, value: Uint8Array) => Uint8Array | undefined;

const NOTHING = new Uint8Array();

/** In the order of `store_operation`, which counts from 1. */
const OPERATIONS: readonly Operation[] = [
  ({ records }, name) => records.get(name),
  ({ records }, name, value) => done(() => records.put(name, value)),
  ({ records }, name) => done(() => records.delete(name)),
  ({ records }) =>
    Buffer.from(
      records
        .list("")
        .map((name) => `${name}\n`)
        .join(""),
    ),
  ({ keys }, name) => keys.get(parseInt(name, 16)),
  ({ keys }, name, value) => done(() => keys.put(parseInt(name, 16), value)),
  ({ keys }, name) => done(() => keys.delete(parseInt(name, 16))),
];

/** Serves until the socket ends. */
export function serveStore(socket: Duplex, store: HostStore): void {
  let waiting = Buffer.alloc(0);
  // The program has ended: its exit tells the tale.
  socket.on("error", () => undefined);
  socket.on("data", (bytes: Buffer) => {
    waiting = Buffer.concat([waiting, bytes]);
    for (let question = takeQuestion(waiting); question; question = takeQuestion(waiting)) {
      waiting = waiting.subarray(question.sizeBytes);
      socket.write(answerTo(question, store));
    }
  });
}

interface Question {
  operation: number;
  name: string;
  value: Uint8Array;
  sizeBytes: number;
}

function takeQuestion(bytes: Buffer): Question | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const [operation = 0, nameBytes = 0] = bytes;
  const valueAt = HEADER_BYTES + nameBytes;
  const sizeBytes = valueAt + bytes.readUInt32LE(2);
  if (bytes.length < sizeBytes) return undefined;
  return {
    operation,
    name: bytes.toString("latin1", HEADER_BYTES, valueAt),
    value: new Uint8Array(bytes.subarray(valueAt, sizeBytes)),
    sizeBytes,
  };
}

function answerTo({ operation, name, value }: Question, store: HostStore): Buffer {
  try {
    const found = OPERATIONS[operation - 1]?.(store, name, value);
    return found === undefined ? answer(ABSENT, NOTHING) : answer(OK, found);
  } catch (error) {
    // The host tells a full store from a failing one by the system's name for it.
    return answer(FAILED, Buffer.from(`${errorCode(error) === "STORAGE_FULL" ? "ENOSPC" : "EIO"}: ${errorMessage(error)}`));
  }
}

function answer(status: number | undefined, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(ANSWER_HEADER_BYTES + value.length);
  bytes.writeUInt8(status ?? 0, 0);
  bytes.writeUInt32LE(value.length, 1);
  bytes.set(value, ANSWER_HEADER_BYTES);
  return bytes;
}

function done(change: () => void): Uint8Array {
  change();
  return NOTHING;
}
