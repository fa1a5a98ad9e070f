/** MQTT over WebSocket: through a server of another make to a real mosquitto, and against servers made to misbehave. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connectPacket, RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { startWebSocketFront, type WebSocketFront } from "../../test/support/node/web-socket-front.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { memoryKeyStore } from "./memory-stores.js";
import { NodeDialer } from "./node-dialer.js";
import { MqttClient } from "./url-client.js";
import { frame, FrameReader, Opcode } from "./web-socket-frames.js";

const room = mkdtempSync(join(tmpdir(), "hawser-ws-"));
const keys = memoryKeyStore();
const dialer = new NodeDialer(keys, { webSocketPath: "/mqtt" });
const PLAIN: Credential = { kind: "none" };
let ca: TestCa;
let broker: TestMosquitto | undefined;
let plain: WebSocketFront;
let secure: WebSocketFront;
let mtls: Credential;
const servers: Server[] = [];

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  keys.generate("key-a");
  mtls = { kind: "mtls", slot: "key-a", chain: await ca.clientChain(keys.publicKey("key-a"), "dev1"), trustAnchors: ca.trustAnchors };
  const brokerPort = await freePort();
  broker = await startMosquitto(room, "broker", {}, [`listener ${brokerPort} 127.0.0.1`, "allow_anonymous true"]);
  plain = await startWebSocketFront(brokerPort);
  const { chainPem, keyPem } = await ca.server(["localhost", "127.0.0.1"]);
  secure = await startWebSocketFront(brokerPort, {
    cert: chainPem,
    key: keyPem,
    ca: ca.caPem,
    requestCert: true,
    rejectUnauthorized: false,
  });
});

afterAll(async () => {
  await plain.stop();
  await secure.stop();
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

describe("MqttClient.connect", () => {
  it("speaks MQTT over WebSocket, with TLS and without, in messages of any size", async () => {
    for (const [url, tls] of [
      [`ws://127.0.0.1:${plain.port}`, {}],
      [`wss://localhost:${secure.port}/mqtt?x=1`, { ca: ca.caPem }],
    ] as const) {
      const client = await MqttClient.connect(url, tls);
      const subscription = client.subscribe("a", { qos: 1 });
      await subscription.granted;
      for (const size of [1, 200, 70_000]) {
        await client.publish("a", "x".repeat(size), { qos: 1 });
        expect((await subscription.next()).value?.payload.length).toBe(size);
      }
      await client.disconnect();
    }
  });

  it("says which path was wrong", async () => {
    await expect(MqttClient.connect(`ws://127.0.0.1:${plain.port}/elsewhere`)).rejects.toMatchObject({
      code: "CONNECTION_REFUSED",
      message: expect.stringMatching(/\/elsewhere answered with status 400: check the path/),
    });
  });
});

describe("A dialer with a webSocketPath", () => {
  it("shows the device's certificate, and judges the server, as without", async () => {
    const endpoint: Endpoint = { host: "localhost", port: secure.port };
    const recorded = new RecordedLink(dialer, endpoint, mtls, { onOpened: (link) => link.write(connectPacket("dev1")) });
    expect([...(await recorded.bytes(4))]).toEqual([0x20, 2, 0, 0]);
    expect(recorded.info).toMatchObject({ tlsVersion: "TLSv1.3", resumed: false });
    expect(secure.clients).toContain("dev1");
    recorded.link.close();
    expect(await recorded.ended).toMatchObject({ code: "CLOSED_LOCALLY" });
    const stranger = new RecordedLink(dialer, endpoint, {
      ...mtls,
      trustAnchors: (await TestCa.create("Other")).trustAnchors,
    } as Credential);
    expect(await stranger.ended).toMatchObject({ code: "SERVER_CA_UNKNOWN" });
  });

  it("refuses what is not a path", () => {
    for (const webSocketPath of ["mqtt", "/a b", "/a\r\nX: y"])
      expect(() => new NodeDialer(keys, { webSocketPath })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
  });

  it.each([
    ["that is no HTTP", (): string => "SSH-2.0-x\r\n\r\n", "CONNECTION_REFUSED", /not HTTP/],
    ["with a wrong key", (): string => answer("wrong"), "CONNECTION_REFUSED", /without accepting/],
    ["without the subprotocol", (key: string): string => answer(key, []), "CONNECTION_REFUSED", /subprotocol mqtt/],
    [
      "with an extension",
      (key: string): string => answer(key, [SUBPROTOCOL, "Sec-WebSocket-Extensions: x"]),
      "CONNECTION_REFUSED",
      /extension/,
    ],
    ["without an end", (): string => "x".repeat(20_000), "CONNECTION_REFUSED", /16 KiB/],
  ])("ends a handshake answered %s", async (_, said, code, words) => {
    const endpoint = await misbehaving((socket, key) => socket.write(said(key)));
    const ended = await new RecordedLink(dialer, endpoint, PLAIN).ended;
    expect(ended).toMatchObject({ code, class: "network" });
    expect(ended.message).toMatch(words);
  });

  it("ends a handshake that is not answered in time, and one that the owner closes", async () => {
    const endpoint = await misbehaving(() => undefined);
    expect(await new RecordedLink(dialer, endpoint, PLAIN, { timeoutMs: 300 }).ended).toMatchObject({ code: "CONNECT_TIMEOUT" });
    const closed = new RecordedLink(dialer, endpoint, PLAIN);
    closed.link.close();
    expect(await closed.ended).toMatchObject({ code: "CLOSED_LOCALLY" });
  });

  it.each([
    ["a text frame", [0x81, 1, 120], /a text frame/],
    ["a masked frame", [0x82, 0x81, 0, 0, 0, 0, 1], /masks nothing/],
    ["a reserved bit", [0xc2, 1, 0], /reserved bit/],
    ["an unknown opcode", [0x83, 0], /opcode 3/],
    ["a ping in pieces", [0x09, 0], /control frame/],
    ["a continuation of nothing", [0x80, 0], /mixed/],
    ["a frame beyond all bounds", [0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255], /2\^53/],
  ])("ends at %s", async (_, bytes, words) => {
    const endpoint = await misbehaving((socket, key) => socket.write(Buffer.concat([Buffer.from(answer(key)), Buffer.from(bytes)])));
    const ended = await new RecordedLink(dialer, endpoint, PLAIN).ended;
    expect(ended).toMatchObject({ code: "PROTOCOL_ERROR" });
    expect(ended.message).toMatch(words);
  });

  it("answers a ping within a message in pieces, hands on each piece, and tells the status of a close", async () => {
    const got: number[] = [];
    const endpoint = await misbehaving((socket, key) => {
      const frames = [
        [0x02, 2, 1, 2],
        [0x89, 3, 7, 8, 9],
        [0x00, 0],
        [0x80, 1, 3],
        [0x88, 2, 0x03, 0xe9],
      ].flat();
      socket.write(answer(key));
      // One byte at a time: no border of a read is where a frame's is.
      for (const byte of frames) socket.write(Uint8Array.of(byte));
      socket.on("data", (bytes) => got.push(...bytes));
    });
    const recorded = new RecordedLink(dialer, endpoint, PLAIN);
    expect(await recorded.ended).toMatchObject({ code: "CONNECTION_CLOSED", message: expect.stringMatching(/status 1001/) });
    expect([...Buffer.concat(recorded.received)]).toEqual([1, 2, 3]);
    await expect.poll(() => got.length, { timeout: 60_000 }).toBe(9 + 8);
    const seen: [number, ...number[]][] = [];
    const unmasked = [got.slice(0, 9), got.slice(9)].map(([head = 0, size = 0, ...rest]) => [
      head,
      size & 0x7f,
      ...rest.slice(4).map((byte, at) => byte ^ (rest[at & 3] ?? 0)),
    ]);
    new FrameReader({ data: () => undefined, control: (opcode, payload) => seen.push([opcode, ...payload]) }).read(
      Uint8Array.from(unmasked.flat()),
    );
    expect(seen).toEqual([
      [Opcode.pong, 7, 8, 9],
      [Opcode.close, 0x03, 0xe8],
    ]);
  });
});

it("frames of every length class are read as they were written, whatever the reads", () => {
  for (const size of [0, 1, 125, 126, 65_535, 65_536]) {
    const written = frame(Opcode.binary, new Uint8Array(size).fill(7));
    const headBytes = written.length - size;
    const unmasked = Buffer.from(written);
    unmasked[1] = (unmasked[1] ?? 0) & 0x7f;
    for (let at = 0; at < size; at++) unmasked[headBytes + at] = (written[headBytes + at] ?? 0) ^ (written[headBytes - 4 + (at & 3)] ?? 0);
    const bytes = Buffer.concat([unmasked.subarray(0, headBytes - 4), unmasked.subarray(headBytes)]);
    let total = 0;
    const reader = new FrameReader({
      data: (piece) => (total += piece.every((byte) => byte === 7) ? piece.length : NaN),
      control: () => undefined,
    });
    for (let at = 0; at < bytes.length; at += 1_000) reader.read(bytes.subarray(at, at + 1_000));
    expect(total).toBe(size);
  }
});

const SUBPROTOCOL = "Sec-WebSocket-Protocol: mqtt";

function answer(key: string, more = [SUBPROTOCOL]): string {
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: WebSocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
  return `${[...lines, ...more].join("\r\n")}\r\n\r\n`;
}

async function misbehaving(onRequest: (socket: Socket, key: string) => void): Promise<Endpoint> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (bytes) => onRequest(socket, /Sec-WebSocket-Key: (.*)\r/.exec(bytes.toString())?.[1] ?? ""));
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
