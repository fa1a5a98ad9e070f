import { describe, expect, it } from "vitest";
import type { Storage } from "../../sdk/platform.js";
import { FakeDirectory, FakeNvs } from "../../test/support/firmware/fake-stores.js";
import { fileStorage } from "./file-storage.js";
import { keyValueStorage } from "./key-value-storage.js";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

function thrownCode(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

describe.each<[string, () => Storage]>([
  ["NVS", () => keyValueStorage(new FakeNvs())],
  ["files", () => fileStorage(new FakeDirectory())],
])("records in %s", (_name, make) => {
  it("come back as they were put, also empty ones", () => {
    const storage = make();
    storage.put("identity", bytes(1, 2, 3));
    storage.put("empty", bytes());
    expect(storage.get("identity")).toEqual(bytes(1, 2, 3));
    expect(storage.get("empty")).toEqual(bytes());
    expect(storage.get("absent")).toBeUndefined();
  });

  it("replace what was there", () => {
    const storage = make();
    storage.put("time-floor", bytes(1, 2, 3));
    storage.put("time-floor", bytes(9));
    expect(storage.get("time-floor")).toEqual(bytes(9));
  });

  it("store the part of a buffer that a view shows, not the buffer", () => {
    const storage = make();
    storage.put("a", bytes(0, 1, 2, 3).subarray(1, 3));
    expect(storage.get("a")).toEqual(bytes(1, 2));
  });

  it("are gone once deleted, and deleting what is not there is fine", () => {
    const storage = make();
    storage.put("a", bytes(1));
    storage.delete("a");
    storage.delete("a");
    expect(storage.get("a")).toBeUndefined();
  });

  it("are listed by prefix, sorted by code unit", () => {
    const storage = make();
    for (const key of ["mq-b", "mq-a", "mq-10", "identity", ".", "..", "mq-"]) storage.put(key, bytes(1));
    expect(storage.list("mq-")).toEqual(["mq-", "mq-10", "mq-a", "mq-b"]);
    expect(storage.list("")).toEqual([".", "..", "identity", "mq-", "mq-10", "mq-a", "mq-b"]);
  });
});

describe("a failing NVS", () => {
  it("is full when ESP-IDF says so, and broken otherwise", () => {
    const nvs = new FakeNvs();
    const storage = keyValueStorage(nvs);
    const names = ["ESP_ERR_NVS_NOT_ENOUGH_SPACE", "ESP_ERR_NVS_NO_FREE_PAGES", "ESP_ERR_NVS_VALUE_TOO_LONG"];
    const numbers = ["UNKNOWN ERROR 0x1105(4357)", "ERROR 0x110d(4365)"];
    for (const reason of [...names, ...numbers]) {
      nvs.failWith = reason;
      expect(thrownCode(() => storage.put("a", bytes(1)))).toBe("STORAGE_FULL");
    }
    nvs.failWith = "ERROR 0x1107(4359)";
    expect(thrownCode(() => storage.put("a", bytes(1)))).toBe("STORAGE_FAILED");
    expect(thrownCode(() => storage.get("a"))).toBe("STORAGE_FAILED");
    expect(thrownCode(() => storage.list(""))).toBe("STORAGE_FAILED");
    expect(thrownCode(() => storage.delete("a"))).toBe("STORAGE_FAILED");
  });
});

describe("a failing disk", () => {
  it("keeps the record that was there when only a part of the new one was written", () => {
    const directory = new FakeDirectory();
    const storage = fileStorage(directory);
    storage.put("identity", bytes(1, 2, 3));
    directory.writeLimit = 1;
    expect(thrownCode(() => storage.put("identity", bytes(4, 5, 6)))).toBe("STORAGE_FULL");
    expect(storage.get("identity")).toEqual(bytes(1, 2, 3));
    expect(storage.list("")).toEqual(["identity"]);
    expect(directory.open).toBe(0);
  });

  it("is reported with the system's words", () => {
    const directory = new FakeDirectory();
    const storage = fileStorage(directory);
    directory.failWith = "No space left on device";
    expect(thrownCode(() => storage.put("a", bytes(1)))).toBe("STORAGE_FULL");
    directory.failWith = "Input/output error";
    expect(thrownCode(() => storage.put("a", bytes(1)))).toBe("STORAGE_FAILED");
  });
});
