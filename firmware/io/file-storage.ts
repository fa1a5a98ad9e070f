/**
 * The storage port over files (`embedded:storage/files`), for the firmware on Linux. A record is written beside and renamed, so a put is
 * whole or did not happen; it is durable as far as the directory's own write is, which this interface cannot force. The chip uses NVS.
 */
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { Storage } from "../../sdk/platform.js";
import type { FileDirectory, OpenFile } from "./ecma419.js";

/** Before every name, so that keys like `.` are ordinary names too. */
const RECORD = "r-";
const BESIDE = "new-";

export function fileStorage(directory: FileDirectory): Storage {
  return {
    get: (key) => stored(key, () => (exists(directory, RECORD + key) ? read(directory, RECORD + key) : undefined)),
    put: (key, value) => stored(key, () => replace(directory, key, value)),
    delete: (key) => stored(key, () => void directory.delete(RECORD + key)),
    list: (prefix) =>
      stored(`${prefix}*`, () =>
        names(directory)
          .filter((key) => key.startsWith(prefix))
          .sort(),
      ),
  };
}

function names(directory: FileDirectory): string[] {
  return [...directory.scan()].filter((name) => name.startsWith(RECORD)).map((name) => name.slice(RECORD.length));
}

function exists(directory: FileDirectory, path: string): boolean {
  return directory.status(path).mode !== 0;
}

function read(directory: FileDirectory, path: string): Uint8Array {
  return using(directory.openFile({ path }), (file) => {
    const { size } = file.status();
    return size === 0 ? new Uint8Array(0) : new Uint8Array(file.read(size, 0));
  });
}

function replace(directory: FileDirectory, key: string, value: Uint8Array): void {
  using(directory.openFile({ path: BESIDE + key, mode: "w+" }), (file) => {
    if (value.length > 0) file.write(value, 0);
    file.flush();
    // The interface does not tell when only a part was written.
    if (file.status().size !== value.length) throw new Error("the disk took only a part of it");
  });
  directory.move(BESIDE + key, RECORD + key);
}

function using<Result>(file: OpenFile, work: (file: OpenFile) => Result): Result {
  try {
    return work(file);
  } finally {
    file.close();
  }
}

function stored<Result>(key: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const reason = errorMessage(error);
    const full = /No space left|Disk quota|only a part/.test(reason);
    const message = `the record "${key}" could not be kept or read: ${reason}`;
    throw new HawserError(full ? "STORAGE_FULL" : "STORAGE_FAILED", message, "Check the storage directory and its disk.");
  }
}
