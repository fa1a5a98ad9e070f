import { once } from "node:events";
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "./broker-events.js";
import { GuardedConnection } from "./guarded-connection.js";
import { NetworkBytes } from "./network-bytes.js";

/** Both ends of a connection without network: what the broker's side reads is pushed, what it writes is kept. */
class FakeSocket extends Duplex {
  readonly written: Buffer[] = [];

  override _read(): void {
    // Pushed by the test.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(chunk);
    done();
  }
}

const CONNECT = Uint8Array.of(0x10, 0);
const PUBLISH = Uint8Array.of(0x30, 3, 0, 1, 0x61);

const guarded = (
  following: Uint8Array = Uint8Array.of(),
  limits = DEFAULT_LIMITS,
  networkBytes = new NetworkBytes(),
): { socket: FakeSocket; connection: GuardedConnection } => {
  const socket = new FakeSocket({ allowHalfOpen: false });
  socket.pause();
  return { socket, connection: new GuardedConnection(socket as unknown as TLSSocket, CONNECT, following, limits, networkBytes) };
};

const readAll = async (connection: GuardedConnection): Promise<string> => {
  const chunks: Buffer[] = [];
  connection.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(connection, "close");
  return Buffer.concat(chunks).toString("hex");
};

describe("a guarded connection", () => {
  it("hides from aedes that it was cut until the client is in aedes' tables", async () => {
    const { socket, connection } = guarded();
    connection.cut("SESSION_TAKEN_OVER");
    await once(socket, "close");
    expect(connection.destroyed).toBe(false);
    expect(connection.write("into the void")).toBe(true);
    const closed = once(connection, "close");
    connection.registered();
    await closed;
    expect(connection.endReason).toBe("SESSION_TAKEN_OVER");
  });

  it("shows the CONNECT alone until CONNACK is out, then all that came behind it", async () => {
    const { socket, connection } = guarded(PUBLISH);
    socket.push(PUBLISH);
    await once(connection, "readable");
    expect(connection.read()).toEqual(Buffer.from(CONNECT));
    expect(connection.readableLength).toBe(0);
    connection.registered();
    connection.release();
    const rest = readAll(connection);
    socket.push(null);
    expect(await rest).toBe(Buffer.concat([PUBLISH, PUBLISH]).toString("hex"));
  });

  it("loses nothing that was sent before an orderly end, even when it is read late", async () => {
    const { socket, connection } = guarded();
    connection.registered();
    connection.release();
    for (let count = 0; count < 100; count += 1) socket.push(PUBLISH);
    socket.push(Uint8Array.of(0xe0, 0));
    socket.push(null);
    await once(socket, "close");
    const everything = await readAll(connection);
    expect(everything).toHaveLength(2 * (CONNECT.length + 100 * PUBLISH.length + 2));
    expect(connection.endReason).toBe("CLIENT_DISCONNECTED");
  });

  it.each(["maxBytesPerSecond", "maxBytesPerSecondPerNetwork"])("reads on no faster than the bytes a second of %s", async (limit) => {
    const byteRate = 100_000;
    const { socket, connection } = guarded(Uint8Array.of(), { ...DEFAULT_LIMITS, [limit]: byteRate });
    connection.registered();
    connection.release();
    const startMs = performance.now();
    const everything = readAll(connection);
    // A second's worth at once; what is beyond that has to be waited for.
    const publish = Buffer.concat([Uint8Array.of(0x30, 0x80, 0x40), Buffer.alloc(8_192, 0x61)]);
    for (let sent = 0; sent < 1.3 * byteRate; sent += publish.length) socket.push(publish);
    socket.push(null);
    expect((await everything).length).toBeGreaterThan(2.6 * byteRate);
    expect(performance.now() - startMs).toBeGreaterThan(200);
  });

  it("ends at once when the socket breaks", async () => {
    const { socket, connection } = guarded();
    connection.registered();
    connection.release();
    const closed = once(connection, "close");
    socket.destroy(new Error("reset by peer"));
    await closed;
    expect(connection.endReason).toBeUndefined();
  });

  it("sends corked writes as one", async () => {
    const { socket, connection } = guarded();
    connection.cork();
    for (const piece of ["a", "b", "c"]) connection.write(piece);
    connection.uncork();
    await new Promise(setImmediate);
    expect(socket.written.map(String)).toEqual(["abc"]);
  });

  it("cuts what breaks the framing or the bound", async () => {
    for (const [bytes, reason] of [
      [Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff), "PROTOCOL_ERROR"],
      [Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f), "PACKET_TOO_LARGE"],
    ] as const) {
      const { socket, connection } = guarded();
      connection.registered();
      connection.release();
      const closed = once(connection, "close");
      socket.push(bytes);
      await closed;
      expect(connection.endReason).toBe(reason);
    }
  });
});
