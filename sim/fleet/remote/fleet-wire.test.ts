import { describe, expect, it } from "vitest";
import { WireReceiver, WireSender } from "./fleet-wire.js";

/** What was sent, piece by piece. */
function sent(...values: unknown[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const sender = new WireSender((piece) => pieces.push(piece));
  for (const value of values) sender.send(value);
  return pieces;
}

function received(pieces: readonly Uint8Array[]): unknown[] {
  const values: unknown[] = [];
  const receiver = new WireReceiver((value) => values.push(value));
  for (const piece of pieces) receiver.take(piece);
  return values;
}

describe("orders and answers on NATS", () => {
  it("come out as they went in, bytes and Buffers as bytes, and in pieces below NATS's limit", () => {
    const large = { text: "x".repeat(3_000_000), bytes: Uint8Array.of(0, 255), buffer: Buffer.from([1, 2]) };
    const pieces = sent({ first: true }, large);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(1_000_000);
    expect(received(pieces)).toEqual([{ first: true }, { ...large, buffer: Uint8Array.of(1, 2) }]);
  });

  it.each([
    ["a whole message", (pieces: Uint8Array[]) => pieces.slice(1)],
    ["a piece of one", (pieces: Uint8Array[]) => [pieces[0]!, ...pieces.slice(2)]],
    ["its end, and the next one follows", (pieces: Uint8Array[]) => [...pieces.slice(0, -2), pieces.at(-1)!]],
  ])("end when %s is lost", (_what, lose) => {
    const pieces = sent({ n: 0 }, { text: "y".repeat(600_000) }, { n: 2 });
    expect(() => received(lose(pieces))).toThrow("lost on the way");
  });

  it("end when what comes is none, or would not fit into memory", () => {
    expect(() => received([new Uint8Array(3)])).toThrow("something else");
    const huge = Buffer.alloc(12);
    huge.writeUInt32LE(1_000_000, 8);
    expect(() => received([huge])).toThrow("too much");
  });
});
