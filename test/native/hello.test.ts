/** What the engine offers, read off its hello (RFC 8446 section 4.1.2): a weaker mode that is never offered is never agreed on. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certify, type Identity, makeIdentity } from "./native-certificates.js";
import { type ConnectionSettings, NativeDevice, TLS_1_2, TLS_1_3 } from "./harness.js";
import { startTlsServer } from "./servers.js";

const RECORD_AND_HANDSHAKE_HEADER_BYTES = 9;
const EMPTY_RENEGOTIATION_INFO = 0x00ff;
const Extension = {
  serverName: 0,
  fragment: 1,
  groups: 10,
  signatures: 13,
  alpn: 16,
  ticket: 35,
  presharedKey: 41,
  versions: 43,
  pskModes: 45,
} as const;

interface Hello {
  suites: number[];
  extension(type: number): string | undefined;
}

let device: NativeDevice;
let withoutInternals: NativeDevice;
let root: Identity;
let credential: Partial<ConnectionSettings>;

beforeAll(async () => {
  device = await NativeDevice.create();
  withoutInternals = await NativeDevice.create({ sanitize: true, internals: false });
  root = await makeIdentity({ name: "Hello Root", authority: true });
  await device.keys("generate", "key-a");
  await device.keys("psk", "psk", "5a".repeat(32));
  await withoutInternals.keys("psk", "psk", "5a".repeat(32));
  const own = await certify((await device.keys("public", "key-a")).bytes, { name: "device-1", issuer: root });
  credential = { anchors: [root.der], chain: [own.der], keySlot: "key-a" };
});
afterAll(async () => {
  await device?.remove();
  await withoutInternals?.remove();
});

function parse(bytes: Buffer): Hello {
  let at = RECORD_AND_HANDSHAKE_HEADER_BYTES + 2 + 32;
  at += 1 + bytes.readUInt8(at);
  const suitesEnd = at + 2 + bytes.readUInt16BE(at);
  const suites: number[] = [];
  for (at += 2; at < suitesEnd; at += 2) suites.push(bytes.readUInt16BE(at));
  at += 1 + bytes.readUInt8(at) + 2;
  const extensions = new Map<number, string>();
  while (at < bytes.length) {
    const size = bytes.readUInt16BE(at + 2);
    extensions.set(bytes.readUInt16BE(at), bytes.toString("hex", at + 4, at + 4 + size));
    at += 4 + size;
  }
  return { suites, extension: (type) => extensions.get(type) };
}

async function helloOf(settings: Partial<ConnectionSettings>, by = device): Promise<Hello> {
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (bytes) => {
      heard.push(bytes);
      socket.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await by.connectOnce({ port: (server.address() as AddressInfo).port, ...settings });
    return parse(heard[0] as Buffer);
  } finally {
    server.close();
  }
}

const mtls = (more: Partial<ConnectionSettings> = {}): Promise<Hello> => helloOf({ ...credential, ...more });
const psk = (more: Partial<ConnectionSettings> = {}): Promise<Hello> => helloOf({ psk: { slot: "psk", identity: "device-1" }, ...more });

describe("a hello", () => {
  it("offers forward secrecy and authenticated encryption, and nothing else", async () => {
    expect((await mtls()).suites).toEqual([0x1301, 0x1303, 0x1302, 0xc02b, 0xcca9, 0xc02f, 0xcca8, EMPTY_RENEGOTIATION_INFO]);
    expect((await psk()).suites).toEqual([0x1301, 0x1303, 0xccac, EMPTY_RENEGOTIATION_INFO]);
    for (const hello of [await mtls({ session: true }), await psk()]) {
      expect(hello.extension(Extension.groups)).toBe("000400170018");
      // psk_dhe_ke without psk_ke.
      expect(hello.extension(Extension.pskModes)).toBe("0101");
    }
    // ECDSA with P-256 and P-384, RSA-PSS, and PKCS #1 for certificates, SHA-256 to SHA-512: no SHA-1.
    expect((await mtls()).extension(Extension.signatures)).toBe("001004030503080408050806040105010601");
  });

  it("offers the versions that the settings allow", async () => {
    expect((await mtls()).extension(Extension.versions)).toBe("0403040303");
    expect((await mtls({ minimum: TLS_1_3 })).extension(Extension.versions)).toBe("020304");
    expect((await mtls({ maximum: TLS_1_2 })).extension(Extension.versions)).toBeUndefined();
  });

  it("names the server, offers a protocol when told to, and asks for no ticket unless it can keep one", async () => {
    const hello = await mtls({ name: "broker.example", alpn: "mqtt", session: true });
    expect(hello.extension(Extension.serverName)).toBe(`001100000e${Buffer.from("broker.example").toString("hex")}`);
    expect(hello.extension(Extension.alpn)).toBe(`000504${Buffer.from("mqtt").toString("hex")}`);
    expect(hello.extension(Extension.ticket)).toBe("");
    const plain = await mtls({ name: "127.0.0.1" });
    expect([Extension.serverName, Extension.alpn, Extension.ticket].map((type) => plain.extension(type))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect((await psk({ session: true })).extension(Extension.ticket)).toBeUndefined();
  });

  it("shows a pre-shared key's identity by mTLS never, by PSK always", async () => {
    expect((await mtls()).extension(Extension.presharedKey)).toBeUndefined();
    expect((await psk()).extension(Extension.presharedKey)).toContain(Buffer.from("device-1").toString("hex"));
  });

  it.each([
    [512, "01"],
    [1024, "02"],
    [2048, "03"],
    [4096, "04"],
  ])("asks for records of %i bytes", async (fragment, code) => {
    expect((await mtls({ fragment })).extension(Extension.fragment)).toBe(code);
    expect((await mtls({ fragment: 0 })).extension(Extension.fragment)).toBeUndefined();
  });

  it("asks for small records in TLS 1.2 only, where Mbed TLS's internal header is out of reach, as on the ESP32", async () => {
    const by = { psk: { slot: "psk", identity: "device-1" }, fragment: 1024 };
    expect((await helloOf(by, withoutInternals)).extension(Extension.fragment)).toBeUndefined();
    expect((await helloOf({ ...by, maximum: TLS_1_2 }, withoutInternals)).extension(Extension.fragment)).toBe("02");
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    const server = await startTlsServer({ cert: leaf.pem, key: leaf.keyPem });
    try {
      const settings = { port: server.port, anchors: [root.der], send: Buffer.from("hello"), wantBytes: 2, fragment: 1024 };
      for (const maximum of [TLS_1_3, TLS_1_2]) {
        expect(await withoutInternals.connectOnce({ ...settings, maximum })).toMatchObject({ opened: true, version: maximum, received: 2 });
      }
    } finally {
      await server.stop();
    }
  });
});
