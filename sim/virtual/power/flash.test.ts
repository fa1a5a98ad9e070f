import { describe, expect, it } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { Flash } from "./flash.js";
import { VirtualKeys } from "./key-store.js";
import { PowerCut, PowerSupply } from "./power-supply.js";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("virtual flash", () => {
  it("keeps what was put, sorted, over any number of power-ons", () => {
    const flash = new Flash(1_000);
    flash.open(new PowerSupply()).put("b", bytes(1));
    flash.open(new PowerSupply()).put("a", bytes(2));
    const storage = flash.open(new PowerSupply());
    expect(storage.list("")).toEqual(["a", "b"]);
    expect(storage.get("b")).toEqual(bytes(1));
    storage.delete("b");
    expect(storage.get("b")).toBeUndefined();
    expect(flash.wear).toEqual(
      new Map([
        ["a", 1],
        ["b", 2],
      ]),
    );
  });

  it("hands out copies: what a caller does to them changes nothing", () => {
    const flash = new Flash(1_000);
    const storage = flash.open(new PowerSupply());
    const value = bytes(1, 2);
    storage.put("k", value);
    value[0] = 9;
    storage.get("k")![1] = 9;
    expect(storage.get("k")).toEqual(bytes(1, 2));
  });

  it("loses a write to a cut before it, keeps it at a cut after it, and never answers again", () => {
    for (const [cut, kept] of [
      [0, false],
      [1, true],
    ] as const) {
      const flash = new Flash(1_000);
      const power = new PowerSupply();
      const storage = flash.open(power);
      power.cutAt(cut);
      expect(() => storage.put("k", bytes(1))).toThrow(PowerCut);
      expect(power.on).toBe(false);
      for (const use of [() => storage.get("k"), () => storage.put("k", bytes(2)), () => storage.delete("k"), () => storage.list("")])
        expect(use).toThrow(PowerCut);
      expect(flash.peek("k") !== undefined).toBe(kept);
    }
  });

  it("refuses what does not fit, and writes it is told to fail, and keeps what it had", () => {
    const flash = new Flash(100);
    const storage = flash.open(new PowerSupply());
    storage.put("k", bytes(1));
    expect(() => storage.put("l", new Uint8Array(60))).toThrow(expect.objectContaining({ code: "STORAGE_FULL" }));
    storage.put("k", new Uint8Array(60));
    flash.failing = () => true;
    expect(() => storage.put("k", bytes(2))).toThrow(HawserError);
    expect(() => storage.delete("k")).toThrow(expect.objectContaining({ code: "STORAGE_FAILED" }));
    expect(storage.get("k")).toHaveLength(60);
    expect(flash.refusals).toBe(3);
  });
});

describe("the virtual key store", () => {
  it("makes a different key each time, for each device, and the same ones in each run", () => {
    const make = (owner: string): string[] => {
      const keys = new VirtualKeys(owner).open(new PowerSupply());
      return ["key-a", "key-b", "key-a"].map((slot) => {
        keys.generate(slot);
        return keys.publicKey(slot).join();
      });
    };
    const all = [...make("one"), ...make("two")];
    expect(new Set(all).size).toBe(6);
    expect(make("one")).toEqual(all.slice(0, 3));
  });

  it("can lose the power before and after each change", () => {
    for (const [cut, kept] of [
      [0, false],
      [1, true],
    ] as const) {
      const keys = new VirtualKeys("dev");
      const power = new PowerSupply();
      power.cutAt(cut);
      expect(() => keys.open(power).generate("key-a")).toThrow(PowerCut);
      expect(keys.open(new PowerSupply()).has("key-a")).toBe(kept);
    }
  });

  it("says what is missing", () => {
    const keys = new VirtualKeys("dev").open(new PowerSupply());
    expect(() => keys.csr("key-a", "dev")).toThrow(expect.objectContaining({ code: "KEY_MISSING" }));
    expect(() => keys.importPsk("psk", new Uint8Array(8))).toThrow(expect.objectContaining({ code: "INVALID_PSK" }));
  });
});
