import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Scene } from "../../../test/support/host-tools/scene.js";
import type * as nodeFs from "node:fs";
import { LEDGER_FILE, Ledger, readLedger } from "./ledger.js";
import type { LedgerEvent } from "./ledger-records.js";
import { summarizeShift } from "./shift-summary.js";

const disk = vi.hoisted(() => ({ write: (): void => undefined }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof nodeFs>();
  return {
    ...fs,
    writeSync: (file: number, bytes: Uint8Array, offset = 0) => {
      try {
        disk.write();
      } catch (error) {
        // A disk that fills up has taken a part.
        fs.writeSync(file, bytes.subarray(offset, offset + 20));
        throw error;
      }
      return fs.writeSync(file, bytes, offset);
    },
  };
});

const scene = new Scene();
afterEach(async () => {
  disk.write = () => undefined;
  await scene.clean();
});

const MAC = "0200000000aa";
const reserved = (id: string, mac?: string): LedgerEvent => ({
  event: "reserved",
  id,
  head: "1",
  order: "4711",
  role: "sensor",
  ...(mac !== undefined && { mac }),
});
const key = (id: string, publicKeyHash: string): LedgerEvent => ({
  event: "step",
  id,
  step: "key",
  phase: "observed",
  facts: { publicKeyHash },
});
const passed = (id: string): LedgerEvent => ({ event: "step", id, step: "passed", phase: "observed", facts: { seconds: 2 } });

describe("a station's ledger", () => {
  it("gives no id, MAC address or key to two boards, also after it was opened again", () => {
    const directory = scene.directory();
    let ledger = Ledger.open(directory);
    ledger.append(reserved("m-1", MAC));
    ledger.append(key("m-1", "k1"));
    ledger.append(reserved("m-2", "0200000000bb"));
    for (let opened = 0; opened < 2; opened++) {
      expect(() => ledger.append(reserved("m-1", "0200000000cc"))).toThrow(/m-1 belongs to another board/);
      expect(() => ledger.append(reserved("m-3", MAC))).toThrow(expect.objectContaining({ code: "DUPLICATE_MAC" }));
      expect(() => ledger.append(key("m-2", "k1"))).toThrow(expect.objectContaining({ code: "DUPLICATE_KEY" }));
      expect(() => Ledger.open(directory)).toThrow(expect.objectContaining({ code: "STATION_BUSY" }));
      ledger.close();
      ledger = Ledger.open(directory);
    }
    expect(ledger.boardOfMac(MAC)).toMatchObject({ id: "m-1", step: "key", publicKeyHash: "k1" });
    expect(ledger.head.lines).toBe(3);
    ledger.close();
  });

  it("frees MAC address and key of an id that is somebody else's, and never offers the id again", () => {
    const ledger = Ledger.open(scene.directory());
    ledger.append(reserved("m-1", MAC));
    ledger.append(key("m-1", "k1"));
    ledger.append({ event: "burnt", id: "m-1", code: "ID_EXISTS" });
    ledger.append(reserved("m-2", MAC));
    ledger.append(key("m-2", "k1"));
    expect([ledger.knowsId("m-1"), ledger.board("m-1"), ledger.boardOfKey("k1")?.id]).toEqual([true, undefined, "m-2"]);
    expect(() => ledger.append(reserved("m-1"))).toThrow(expect.objectContaining({ code: "ID_EXISTS" }));
    ledger.close();
  });

  it("drops a line that a power cut left unfinished, and stops at one that was changed", () => {
    const directory = scene.directory();
    const first = Ledger.open(directory);
    first.append(reserved("m-1", MAC));
    first.close();
    appendFileSync(join(directory, LEDGER_FILE), '{"n":2,"at":"20');
    const second = Ledger.open(directory);
    expect(second.append(reserved("m-2")).n).toBe(2);
    second.close();
    expect(readLedger(directory).lines).toHaveLength(2);
    const path = join(directory, LEDGER_FILE);
    writeFileSync(path, readFileSync(path, "utf8").replace("m-1", "m-9"));
    expect(() => Ledger.open(directory)).toThrow(/line 2 of .* does not continue/);
  });

  it("has nothing of a line that the disk had no room for, and continues when it has", () => {
    const directory = scene.directory();
    const ledger = Ledger.open(directory);
    ledger.append(reserved("m-1", MAC));
    disk.write = () => {
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    };
    expect(() => ledger.append(reserved("m-2"))).toThrow(expect.objectContaining({ code: "STORAGE_FULL" }));
    expect([ledger.knowsId("m-2"), readLedger(directory).lines.length]).toEqual([false, 1]);
    disk.write = () => undefined;
    ledger.append(reserved("m-2"));
    expect(readLedger(directory).lines.map(({ n }) => n)).toEqual([1, 2]);
    ledger.close();
  });

  it("lets a board be worked on again, or its id go to another board, and no sooner", () => {
    const directory = scene.directory();
    const ledger = Ledger.open(directory);
    const order = { operator: "alice", order: "4711", product: "Meter", role: "sensor", attributes: {} };
    ledger.append({ event: "session", ...order });
    ledger.append(reserved("m-1", MAC));
    ledger.append(key("m-1", "k1"));
    ledger.append(passed("m-1"));
    ledger.append({ event: "rework", id: "m-1", by: "bob", reason: "erased" });
    expect(ledger.board("m-1")).toMatchObject({ step: "reserved", mayHaveNewKey: true, mac: MAC, isVacant: false });
    ledger.append(key("m-1", "k2"));
    ledger.append(passed("m-1"));
    expect(ledger.board("m-1")).toMatchObject({ step: "passed", mayHaveNewKey: false, publicKeyHash: "k2" });
    ledger.append({ event: "replace", id: "m-1", by: "bob", reason: "broken" });
    expect([ledger.board("m-1")?.isVacant, ledger.boardOfMac(MAC), ledger.boardOfKey("k1")?.id]).toEqual([true, undefined, "m-1"]);
    ledger.append(reserved("m-1", "0200000000bb"));
    expect(ledger.board("m-1")).toMatchObject({ isVacant: false, mac: "0200000000bb" });
    ledger.append({ event: "failed", head: "2", mac: "0200000000cc", class: "permanent", code: "WRONG_FIRMWARE", message: "" });
    expect(summarizeShift(directory)).toMatchObject({
      order: "4711",
      passed: [],
      failed: [{ mac: "0200000000cc", code: "WRONG_FIRMWARE" }],
    });
    // Flashed again, it passes; after that it fails for another reason.
    ledger.append(reserved("m-2", "0200000000cc"));
    ledger.append({ event: "step", id: "m-2", step: "passed", phase: "observed" });
    expect(summarizeShift(directory)).toMatchObject({ passed: [{ id: "m-2" }], failed: [] });
    ledger.append({ event: "failed", head: "2", mac: "0200000000cc", class: "operator", code: "BOARD_PASSED", message: "" });
    expect(summarizeShift(directory)).toMatchObject({ passed: [{ id: "m-2" }], failed: [{ code: "BOARD_PASSED" }] });
    ledger.close();
  });
});
