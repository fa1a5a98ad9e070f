import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import bl from "./bl.js";
import { Buffer as ShimBuffer } from "./buffer.js";
import { EventEmitter } from "./events.js";
import { nextTick } from "./process-nextick-args.js";
import { roundTripAll } from "./test-round-trip.js";

describe("mqtt-packet with the shims in place of Node's parts", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "hawser-shims-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("writes and reads every packet of 3.1.1 and 5.0 exactly as with Node's", async () => {
    const entry = fileURLToPath(new URL("./test-round-trip.ts", import.meta.url));
    const { file } = await bundleDevice({ entry, outputFile: join(folder, "bundle.js"), wholeMqttPacket: true });
    const code = readFileSync(file, "utf8").replace(/export\s*\{\s*(\w+) as roundTripAll\s*\}/, "globalThis.result=$1()");
    const world: { result?: string[] } = {};
    runInNewContext(code, world);
    const expected = roundTripAll();
    expect(expected.filter((line) => line.endsWith("nothing"))).toEqual([]);
    expect(world.result?.map(String)).toEqual(expected);
  });

  it("is written for the device without the parser", async () => {
    const entry = fileURLToPath(new URL("../mqtt/codec/packet-codec.ts", import.meta.url));
    const { file } = await bundleDevice({ entry, outputFile: join(folder, "packets.js") });
    expect(readFileSync(file, "utf8")).not.toContain("_parsePublish");
  });
});

describe("the shims by themselves", () => {
  it("read numbers and slices across the borders of parts, and refuse to read behind the end", () => {
    const list = bl();
    list.append(Uint8Array.of(1, 2, 3));
    list.append(Uint8Array.of());
    list.append(Uint8Array.of(4, 5));
    list.append(Uint8Array.of(255));
    expect(list.readUInt16BE(2)).toBe(0x0304);
    expect(list.readUInt32BE(2)).toBe(0x030405ff);
    expect([...list.slice(1, 6)]).toEqual([2, 3, 4, 5, 255]);
    list.consume(4);
    expect(list.length).toBe(2);
    expect([...list.slice()]).toEqual([5, 255]);
    expect(() => list.readUInt8(2)).toThrow(RangeError);
    list.consume(99);
    expect(list.length).toBe(0);
    expect([...list.slice(0, 9)]).toEqual([]);
  });

  it("turn text to bytes and back as UTF-8", () => {
    expect(ShimBuffer.byteLength("ü🚢")).toBe(6);
    expect(ShimBuffer.from("ü🚢").toString()).toBe("ü🚢");
    expect(() => ShimBuffer.from([0xff]).toString()).toThrow(expect.objectContaining({ code: "BAD_ENCODING" }));
    expect(ShimBuffer.isBuffer(new Uint8Array(1))).toBe(true);
    expect(ShimBuffer.isBuffer("x")).toBe(false);
  });

  it("throw an error event that nobody listens for", () => {
    const emitter = new EventEmitter();
    expect(() => emitter.emit("error", new Error("lost"))).toThrow("lost");
    const seen: unknown[] = [];
    emitter.on("error", (error) => seen.push(error)).on("error", (error) => seen.push(error));
    expect(emitter.emit("error", 7)).toBe(true);
    expect(seen).toEqual([7, 7]);
    expect(emitter.emit("other")).toBe(false);
  });

  it("run a next tick after the caller, with its arguments", async () => {
    const seen: unknown[] = [];
    nextTick((a: number, b: string) => void seen.push(a, b), 1, "x");
    expect(seen).toEqual([]);
    await Promise.resolve();
    expect(seen).toEqual([1, "x"]);
  });
});
