import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import { describe, expect, it } from "vitest";
import { readConnect, refusingConnack } from "./incoming-connect.js";
import { FrameScanner } from "./packet-frames.js";

const publish = fc
  .record({ topic: fc.constantFrom("a", "a/b/c"), sizeBytes: fc.integer({ min: 0, max: 300 }) })
  .map(({ topic, sizeBytes }): Packet => ({
    cmd: "publish",
    topic,
    payload: Buffer.alloc(sizeBytes, 0x30),
    qos: 1,
    dup: false,
    retain: false,
    messageId: 7,
  }));
const other = fc.constantFrom<Packet>(
  { cmd: "pingreq" },
  { cmd: "puback", messageId: 3 },
  { cmd: "subscribe", messageId: 4, subscriptions: [{ topic: "a", qos: 0 }] },
);

/** Cuts bytes at the places given. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const bounds = [0, ...places.map((place) => place % (bytes.length + 1)).sort((one, two) => one - two), bytes.length];
  return bounds.slice(1).map((end, index) => bytes.subarray(bounds[index], end));
}

describe("the frame scanner", () => {
  it("counts messages however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(publish, other), { maxLength: 10 }), fc.array(fc.nat(), { maxLength: 20 }), (packets, places) => {
        const scanner = new FrameScanner(1_000);
        for (const chunk of cut(Buffer.concat(packets.map((packet) => generate(packet))), places)) expect(scanner.scan(chunk)).toBe("ok");
        expect(scanner.publishCount).toBe(packets.filter(({ cmd }) => cmd === "publish").length);
        expect(scanner.sawDisconnect).toBe(false);
      }),
    );
  });

  it("refuses a packet from one byte above the maximum on", () => {
    const packet = generate({ cmd: "publish", topic: "a", payload: Buffer.alloc(200), qos: 0, dup: false, retain: false });
    expect(new FrameScanner(packet.length).scan(packet)).toBe("ok");
    expect(new FrameScanner(packet.length - 1).scan(packet.subarray(0, 3))).toBe("too-large");
  });

  it("refuses a length of five bytes", () => {
    expect(new FrameScanner(1_000).scan(Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80))).toBe("malformed");
  });

  it("notices a DISCONNECT", () => {
    const scanner = new FrameScanner(1_000);
    scanner.scan(Uint8Array.of(0xc0, 0, 0xe0, 0));
    expect(scanner.sawDisconnect).toBe(true);
  });
});

describe("the reader of CONNECT", () => {
  const connect = generate({
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clientId: "dév1",
    clean: false,
    keepalive: 60,
    username: "u",
    password: Buffer.from("p"),
  });

  it("reads what the front must know, and knows where the packet ends", () => {
    const head = { protocolName: "MQTT", protocolLevel: 4, cleanSession: false, clientId: "dév1" };
    expect(readConnect(Buffer.concat([connect, Buffer.of(0xc0, 0)]), 1_000)).toEqual({ kind: "connect", head, sizeBytes: connect.length });
    for (let length = 0; length < connect.length; length += 1)
      expect(readConnect(connect.subarray(0, length), 1_000)).toEqual({ kind: "incomplete" });
  });

  it("reads the version of a 5.0 CONNECT", () => {
    const bytes = generate({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 5,
      clientId: "x",
      clean: true,
      keepalive: 1,
      properties: { receiveMaximum: 3 },
    });
    expect(readConnect(bytes, 1_000)).toMatchObject({ kind: "connect", head: { protocolLevel: 5, cleanSession: true } });
  });

  it("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const { kind } = readConnect(Uint8Array.of(0x10, bytes.length, ...bytes), 1_000);
        expect(["malformed", "connect"]).toContain(kind);
      }),
    );
    expect(
      readConnect(Uint8Array.of(0x10, 18, 0, 4, ...Buffer.from("MQTT"), 4, 2, 0, 60, 0, 6, 100, 0xff, 0xfe, 118, 49, 0), 1_000),
    ).toEqual({ kind: "malformed" });
  });

  it("refuses in the words of the client's version", () => {
    expect([...refusingConnack(5, 4)]).toEqual([0x20, 2, 0, 5]);
    expect([...refusingConnack(5, 5)]).toEqual([0x20, 3, 0, 0x87, 0]);
    expect([...refusingConnack(1, 5)]).toEqual([0x20, 2, 0, 1]);
  });
});
