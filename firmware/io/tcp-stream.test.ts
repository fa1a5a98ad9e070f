import { beforeEach, describe, expect, it } from "vitest";
import { FakeTcp, type Port } from "../../test/support/firmware/fake-tcp.js";
import { ManualTime } from "../../test/support/firmware/manual-timers.js";
import type { TcpConstructor, TcpOptions } from "./ecma419.js";
import { NameResolver } from "./name-resolver.js";
import { tcpStreamOpener } from "./tcp-stream.js";

beforeEach(() => {
  FakeTcp.made.length = 0;
});

const fakeTcp = (port: Port): TcpConstructor =>
  class extends FakeTcp {
    constructor(options: TcpOptions) {
      super(port, options);
    }
  };

function scene(port: Port, host = "127.0.0.1", TCP = fakeTcp(port)) {
  const time = new ManualTime();
  const lookups: { name: string; done: (name: string, address?: string) => void }[] = [];
  const resolver = new NameResolver((name, done) => lookups.push({ name, done }), time.scheduler);
  const told: string[] = [];
  const received: number[] = [];
  const onData: ((bytes: Uint8Array) => void)[] = [];
  const stream = tcpStreamOpener({ TCP, resolver, scheduler: time.scheduler }).open(
    host,
    8883,
    {
      opened: () => told.push("opened"),
      data(bytes) {
        told.push(`data ${bytes.length}`);
        received.push(...bytes);
        onData.shift()?.(bytes);
      },
      writable: () => told.push("writable"),
      ended: ({ code }) => told.push(`ended ${code}`),
    },
    0,
  );
  return { time, lookups, told, received, onData, stream, socket: () => FakeTcp.made.at(-1)! };
}

function connectedScene(port: Port, room?: number) {
  const parts = scene(port);
  parts.time.advance(0);
  const socket = parts.socket();
  socket.connected(room);
  socket.turn();
  expect(parts.told.splice(0)).toEqual(["opened"]);
  return { ...parts, socket };
}

const bytesOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, index) => index & 0xff);

describe.each<Port>(["lwip", "linux"])("a byte stream over ECMA-419 TCP (%s)", (port) => {
  it("looks the name up, connects without Nagle's delay, and opens once", () => {
    const { time, lookups, told, socket } = scene(port, "broker.example");
    expect(lookups.map(({ name }) => name)).toEqual(["broker.example"]);
    lookups[0]!.done("broker.example", "192.0.2.7");
    time.advance(0);
    expect(socket().options).toMatchObject({ address: "192.0.2.7", port: 8883, nodelay: true, format: "buffer" });
    socket().connected();
    socket().turn();
    socket().drained(2_000);
    socket().turn();
    expect(told).toEqual(["opened"]);
  });

  it("calls nothing before open has returned, not even for an address or a socket that cannot be had", () => {
    const throwing = class {
      constructor() {
        throw new Error("no socket");
      }
    } as unknown as TcpConstructor;
    const { time, told } = scene(port, "127.0.0.1", throwing);
    expect(told).toEqual([]);
    time.advance(0);
    expect(told).toEqual(["ended HOST_UNREACHABLE"]);
  });

  it("ends with DNS_FAILED when the name has no address", () => {
    const { lookups, told } = scene(port, "nowhere.example");
    lookups[0]!.done("nowhere.example");
    expect(told).toEqual(["ended DNS_FAILED"]);
    expect(FakeTcp.made).toHaveLength(0);
  });

  it("takes no more than the socket has room for, and tells when there is room again", () => {
    const { stream, socket, told } = connectedScene(port, 1_000);
    expect(stream.write(bytesOf(600))).toBe(600);
    expect(stream.write(bytesOf(600))).toBe(400);
    expect(stream.write(bytesOf(10))).toBe(0);
    expect(told).toEqual([]);
    socket.drained(1_000);
    socket.turn();
    expect(told).toEqual(["writable"]);
    expect(stream.write(bytesOf(200))).toBe(200);
    expect(socket.sent).toEqual([...bytesOf(600), ...bytesOf(400), ...bytesOf(200)]);
  });

  it("does not tell of room nobody waits for", () => {
    const { stream, socket, told } = connectedScene(port, 1_000);
    stream.write(bytesOf(100));
    socket.drained(1_000);
    socket.turn();
    expect(told).toEqual([]);
  });

  it("keeps the bytes when the socket turns out to have less room than it told", () => {
    const { stream, socket, told } = connectedScene(port, 1_000);
    socket.drained(10);
    expect(stream.write(bytesOf(500))).toBe(0);
    expect(socket.sent).toEqual([]);
    socket.drained(1_000);
    socket.turn();
    expect(told).toEqual(["writable"]);
    expect(stream.write(bytesOf(500))).toBe(500);
  });

  it("reads every announced byte at once, in pieces", () => {
    const { socket, told, received } = connectedScene(port);
    socket.receives(...bytesOf(5_000));
    socket.turn();
    expect(told).toEqual(["data 2048", "data 2048", "data 904"]);
    expect(received).toEqual([...bytesOf(5_000)]);
  });

  it("delivers what the peer said before it went away, then ends once", () => {
    const { socket, told } = connectedScene(port);
    socket.receives(1, 2, 3);
    socket.ends();
    while (socket.turn());
    expect(told).toEqual(["data 3", "ended CONNECTION_CLOSED"]);
    expect(socket.closed).toBe(true);
  });

  it("tells a refused connection from a lost one", () => {
    const { time, told, socket } = scene(port);
    time.advance(0);
    socket().ends();
    while (socket().turn());
    expect(told).toEqual(["ended CONNECTION_REFUSED"]);
  });

  it("calls nothing any more after close, whatever the socket still does", () => {
    const { socket, stream, told, onData } = connectedScene(port, 100);
    stream.write(bytesOf(200));
    onData.push(() => stream.close());
    socket.receives(...bytesOf(5_000));
    socket.drained(100);
    socket.ends();
    while (socket.turn());
    expect(told.filter((line) => line.startsWith("data"))).toEqual(["data 2048"]);
    expect(told.some((line) => line.startsWith("ended"))).toBe(false);
  });

  it("drops a connection that is closed while its name is looked up", () => {
    const { lookups, stream, told } = scene(port, "broker.example");
    stream.close();
    stream.close();
    lookups[0]!.done("broker.example", "192.0.2.7");
    expect(FakeTcp.made).toHaveLength(0);
    expect(told).toEqual([]);
  });
});

describe("a byte stream on lwIP", () => {
  it("swallows what is written to a connection that was lost, and still delivers the peer's last words", () => {
    const { socket, stream, told, onData } = connectedScene("lwip");
    let taken = -1;
    onData.push(() => (taken = stream.write(bytesOf(50))));
    socket.receives(21, 3, 3);
    socket.ends();
    while (socket.turn());
    expect(taken).toBe(50);
    expect(socket.sent).toEqual([]);
    expect(told).toEqual(["data 3", "ended CONNECTION_CLOSED"]);
  });
});
