import { describe, expect, test } from "vitest";
import { PacketIds } from "./packet-ids.js";

describe("PacketIds", () => {
  test("count up from 1, and from 1 again after 65535, past what is in use", () => {
    const ids = new PacketIds();
    expect([ids.take(), ids.take()]).toEqual([1, 2]);
    ids.release(1);
    ids.restore(65_535);
    expect([ids.take(), ids.take(), ids.inUse]).toEqual([1, 3, 4]);
  });

  test("go on behind what was in use before a reboot, which is not given twice", () => {
    const ids = new PacketIds();
    expect([ids.restore(7), ids.restore(7), ids.take()]).toEqual([true, false, 8]);
  });

  test("are used up at 65535, and one given back is enough to go on", () => {
    const ids = new PacketIds();
    for (let id = 1; id <= 65_535; id++) ids.take();
    expect(() => ids.take()).toThrow(expect.objectContaining({ code: "TOO_MANY_IN_FLIGHT" }));
    ids.release(40_000);
    expect(ids.take()).toBe(40_000);
  });
});
