/** Fakes of ECMA-419 key-value storage (as on NVS) and of Moddable's POSIX files, throwing what the real ones throw. */
import type { FileDirectory, KeyValueStore, OpenFile } from "../../../firmware/io/ecma419.js";

/** `embedded:storage/key-value` of the ESP32: values are copied, absent keys read as undefined, errors carry ESP-IDF's names. */
export class FakeNvs implements KeyValueStore {
  readonly entries = new Map<string, ArrayBuffer>();
  /** Thrown by the next calls. */
  failWith: string | undefined;

  read(key: string): ArrayBuffer | undefined {
    this.#check(key);
    return this.entries.get(key)?.slice(0);
  }

  write(key: string, value: Uint8Array): void {
    this.#check(key);
    this.entries.set(key, new Uint8Array(value).buffer);
  }

  delete(key: string): void {
    this.#check(key);
    this.entries.delete(key);
  }

  *[Symbol.iterator](): Iterator<string> {
    this.#check("");
    yield* this.entries.keys();
  }

  #check(key: string): void {
    if (this.failWith !== undefined) throw new Error(this.failWith);
    if (key.length > 15) throw new Error("ESP_ERR_NVS_KEY_TOO_LONG");
  }
}

/** `embedded:storage/files`: status of an absent file has mode 0; writes do not tell when they were cut short. */
export class FakeDirectory implements FileDirectory {
  readonly files = new Map<string, Uint8Array>();
  readonly flushed = new Set<string>();
  /** How many bytes the disk takes in one write. */
  writeLimit = Infinity;
  failWith: string | undefined;
  open = 0;

  openFile({ path, mode = "r" }: { path: string; mode?: string }): OpenFile {
    if (this.failWith !== undefined) throw new Error(this.failWith);
    if (mode.startsWith("w")) this.files.set(path, new Uint8Array(0));
    else if (!this.files.has(path)) throw new Error("No such file or directory");
    this.open++;
    const content = (): Uint8Array => this.files.get(path) ?? new Uint8Array(0);
    return {
      read: (count, position) => content().slice(position, position + count).buffer,
      write: (bytes) => void this.files.set(path, bytes.slice(0, this.writeLimit)),
      flush: () => void this.flushed.add(path),
      status: () => ({ size: content().length }),
      close: () => void this.open--,
    };
  }

  openDirectory(): FileDirectory {
    return this;
  }

  createDirectory(): boolean {
    return true;
  }

  delete(path: string): boolean {
    return this.files.delete(path);
  }

  move(from: string, to: string): void {
    const content = this.files.get(from);
    if (content === undefined || !this.flushed.delete(from)) throw new Error(`${from} was not on the disk when it was renamed`);
    this.files.delete(from);
    this.files.set(to, content);
  }

  status(path: string): { mode: number; size: number } {
    const content = this.files.get(path);
    return { mode: content === undefined ? 0 : 0o100600, size: content?.length ?? 0 };
  }

  *scan(): Generator<string> {
    yield* this.files.keys();
  }
}
