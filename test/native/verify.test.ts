/**
 * What the native engine accepts of a server: chains, names and dates, by trusted time alone. Against Node's OpenSSL, under
 * AddressSanitizer.
 */
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Identity, makeIdentity } from "./native-certificates.js";
import { type ConnectionResult, type ConnectionSettings, Kind, NativeDevice, State, TLS_1_2, TLS_1_3, Verify } from "./harness.js";
import { startTlsServer, type TlsServer } from "./servers.js";

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
const VERSIONS = [
  { name: "TLS 1.3", maximum: TLS_1_3 },
  { name: "TLS 1.2", maximum: TLS_1_2 },
];

let device: NativeDevice;
let root: Identity;
let issuing: Identity;
const servers: TlsServer[] = [];

beforeAll(async () => {
  device = await NativeDevice.create();
  const longLived = { authority: true, notBefore: Date.now() - 20 * YEAR_MS, notAfter: Date.now() + 20 * YEAR_MS };
  root = await makeIdentity({ name: "Verify Root", ...longLived });
  issuing = await makeIdentity({ name: "Verify Issuing", issuer: root, ...longLived });
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(() => device?.remove());

async function serve(leaf: Identity, chain: readonly { pem: string }[]): Promise<TlsServer> {
  const server = await startTlsServer({ cert: [leaf, ...chain].map(({ pem }) => pem).join(""), key: leaf.keyPem });
  servers.push(server);
  return server;
}

function settings(server: TlsServer, more: Partial<ConnectionSettings> = {}): ConnectionSettings {
  return { port: server.port, anchors: [root.der], send: Buffer.from("hello"), wantBytes: 2, ...more };
}

async function connect(
  leaf: Identity,
  chain: readonly { pem: string }[],
  more: Partial<ConnectionSettings> = {},
): Promise<ConnectionResult> {
  return device.connectOnce(settings(await serve(leaf, chain), more));
}

interface Validity {
  notBefore: number;
  notAfter: number;
}
const yesterday = (): Validity => ({ notBefore: Date.now() - 2 * DAY_MS, notAfter: Date.now() - DAY_MS });
const years = (from: number, to: number): Validity => ({ notBefore: Date.now() + from * YEAR_MS, notAfter: Date.now() + to * YEAR_MS });

const accepted = { state: State.open, opened: true, kind: Kind.none, received: 2 };
const refused = (verifyFlags: number): object => ({ state: State.failed, opened: false, kind: Kind.verify, verifyFlags, received: 0 });

describe.each(VERSIONS)("over $name", ({ maximum }) => {
  it("accepts a chain through an intermediate", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: issuing });
    expect(await connect(leaf, [issuing], { maximum })).toMatchObject(accepted);
  });

  it("refuses a self-signed leaf for the right host followed by a certificate that the CA signed", async () => {
    const fake = await makeIdentity({ name: "localhost", server: true });
    const honest = await makeIdentity({ name: "localhost", server: true, issuer: root });
    expect(await connect(fake, [honest, issuing], { maximum })).toMatchObject(refused(Verify.caUnknown));
  });

  it("refuses a leaf that names the CA as its issuer but is signed by another key", async () => {
    const impostor = await makeIdentity({ name: "Verify Root", authority: true });
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: impostor });
    expect(await connect(leaf, [impostor], { maximum })).toMatchObject(refused(Verify.caUnknown));
  });

  it("refuses a leaf whose issuer is no CA", async () => {
    const end = await makeIdentity({ name: "device-7", issuer: root });
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: end });
    expect(await connect(leaf, [end], { maximum })).toMatchObject(refused(Verify.caUnknown));
  });

  it("refuses a leaf alone when its intermediate is missing", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: issuing });
    expect(await connect(leaf, [], { maximum })).toMatchObject(refused(Verify.caUnknown));
  });

  it("refuses an expired server", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, ...yesterday() });
    expect(await connect(leaf, [], { maximum })).toMatchObject(refused(Verify.expired));
  });

  it("refuses a server not yet valid", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, notBefore: Date.now() + DAY_MS });
    expect(await connect(leaf, [], { maximum })).toMatchObject(refused(Verify.notYetValid));
  });

  it("refuses an expired intermediate", async () => {
    const stale = await makeIdentity({ name: "Stale Issuing", authority: true, issuer: root, ...yesterday() });
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: stale });
    expect(await connect(leaf, [stale], { maximum })).toMatchObject(refused(Verify.expired));
  });

  it("refuses another host, and says all that is wrong", async () => {
    const leaf = await makeIdentity({ name: "elsewhere", server: true, ...yesterday() });
    expect(await connect(leaf, [], { maximum })).toMatchObject(refused(Verify.caUnknown | Verify.expired | Verify.nameMismatch));
  });

  it("refuses a client's certificate, which a stolen device could show", async () => {
    const leaf = await makeIdentity({ name: "localhost", client: true, issuer: root });
    expect(await connect(leaf, [], { maximum })).toMatchObject(refused(Verify.invalid));
  });
});

describe("dates follow trusted time and not this machine's clock", () => {
  it("accepts a certificate that this machine's clock thinks expired", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, ...years(-2, -1) });
    expect(await connect(leaf, [], { timeMs: Date.now() - 1.5 * YEAR_MS })).toMatchObject(accepted);
  });

  it("accepts a certificate that this machine's clock thinks not yet valid", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, ...years(1, 2) });
    expect(await connect(leaf, [], { timeMs: Date.now() + 1.5 * YEAR_MS })).toMatchObject(accepted);
  });

  it("refuses a certificate that only this machine's clock thinks valid", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    expect(await connect(leaf, [], { timeMs: Date.now() + YEAR_MS })).toMatchObject(refused(Verify.expired));
    expect(await connect(leaf, [], { timeMs: Date.now() - YEAR_MS })).toMatchObject(refused(Verify.notYetValid));
  });

  it("holds to the second at both ends", async () => {
    const notBefore = Date.UTC(2024, 1, 29, 23, 59, 59);
    const notAfter = Date.UTC(2028, 2, 1, 0, 0, 0);
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, notBefore, notAfter });
    const server = await serve(leaf, []);
    const verdicts: number[] = [];
    for (const timeMs of [notBefore - 1000, notBefore, notAfter, notAfter + 1000]) {
      verdicts.push((await device.connectOnce(settings(server, { timeMs }))).verifyFlags);
    }
    expect(verdicts).toEqual([Verify.notYetValid, 0, 0, Verify.expired]);
  });

  it("finds the renewed one of two roots with the same name and key, in either order", async () => {
    const expired = await makeIdentity({ name: "Verify Root", authority: true, ...yesterday() }, root.keys);
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    const server = await serve(leaf, []);
    expect(await device.connectOnce(settings(server, { anchors: [expired.der, root.der] }))).toMatchObject(accepted);
    expect(await device.connectOnce(settings(server, { anchors: [root.der, expired.der] }))).toMatchObject(accepted);
    expect(await device.connectOnce(settings(server, { anchors: [expired.der] }))).toMatchObject(refused(Verify.expired));
  });
});

describe("names", () => {
  it("sends the name, and finds it among several", async () => {
    const leaf = await makeIdentity({ name: "first", server: true, issuer: root, dnsNames: ["first", "broker.example", "*.wild.example"] });
    const server = await serve(leaf, []);
    for (const name of ["broker.example", "BROKER.example", "one.wild.example"]) {
      expect(await device.connectOnce(settings(server, { name }))).toMatchObject(accepted);
    }
    for (const name of ["roker.example", "two.one.wild.example", "wild.example", "broker.example.org"]) {
      expect(await device.connectOnce(settings(server, { name }))).toMatchObject(refused(Verify.nameMismatch));
    }
    expect(server.names).toEqual(["broker.example", "BROKER.example", "one.wild.example"]);
  });

  it("checks an address against the certificate's addresses and never sends it", async () => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, addresses: ["127.0.0.1", "10.0.0.7"] });
    const server = await serve(leaf, []);
    expect(await device.connectOnce(settings(server, { name: "127.0.0.1" }))).toMatchObject(accepted);
    expect(await device.connectOnce(settings(server, { name: "10.0.0.7" }))).toMatchObject(accepted);
    expect(server.names).toEqual([false, false]);
    for (const name of ["127.0.0.2", "10.0.0.70", "1.2.3"]) {
      expect(await device.connectOnce(settings(server, { name }))).toMatchObject(refused(Verify.nameMismatch));
    }
  });

  it("does not take a DNS name that reads like the address for the address", async () => {
    const leaf = await makeIdentity({ name: "127.0.0.1", server: true, issuer: root, dnsNames: ["127.0.0.1"] });
    expect(await connect(leaf, [], { name: "127.0.0.1" })).toMatchObject(refused(Verify.nameMismatch));
  });
});

describe("ALPN", () => {
  it.each(VERSIONS)("says whether the server took the offer over $name", async ({ maximum }) => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    const server = await startTlsServer({ cert: leaf.pem, key: leaf.keyPem, ALPNProtocols: ["mqtt"] });
    servers.push(server);
    expect(await device.connectOnce(settings(server, { maximum, alpn: "mqtt" }))).toMatchObject({ ...accepted, alpnAccepted: true });
    expect(await device.connectOnce(settings(server, { maximum }))).toMatchObject({ ...accepted, alpnAccepted: false });
  });
});

describe("a session", () => {
  it.each(VERSIONS)("resumes only with the same name, anchors and credential, over $name", async ({ maximum }) => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, dnsNames: ["localhost", "other"] });
    const server = await serve(leaf, []);
    const more = await makeIdentity({ name: "More Root", authority: true });
    const same = settings(server, { maximum, session: true });
    const resumed = async (second: Partial<ConnectionSettings>): Promise<boolean[]> =>
      (await device.connect(same, { ...same, ...second })).map((result) => {
        expect(result).toMatchObject(accepted);
        return result.resumed;
      });
    expect(await resumed({})).toEqual([false, true]);
    expect(await resumed({ name: "other" })).toEqual([false, false]);
    expect(await resumed({ anchors: [root.der, more.der] })).toEqual([false, false]);
    expect(await resumed({ session: false })).toEqual([false, false]);
  });

  it.each(VERSIONS)(
    "is kept only from a server that has spoken after the handshake, and so accepted us, over $name",
    async ({ maximum }) => {
      const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
      let speaks = false;
      const server = await startTlsServer(
        { cert: leaf.pem, key: leaf.keyPem },
        (socket) => void socket.once("data", () => socket.end(speaks ? "ok" : "")),
      );
      servers.push(server);
      const same = settings(server, { maximum, session: true });
      const silent = await device.connect(same, same);
      expect(silent.map(({ opened, resumed, received }) => ({ opened, resumed, received }))).toEqual(
        Array(2).fill({ opened: true, resumed: false, received: 0 }),
      );
      speaks = true;
      expect((await device.connect(same, same)).map(({ resumed, received }) => ({ resumed, received }))).toEqual([
        { resumed: false, received: 2 },
        { resumed: true, received: 2 },
      ]);
    },
  );

  it.each(VERSIONS)("that a server takes and then drops is not used again, over $name", async ({ maximum }) => {
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    const server = await startTlsServer({ cert: leaf.pem, key: leaf.keyPem }, (socket) => {
      if (socket.isSessionReused()) socket.destroy();
      else socket.once("data", () => socket.write("ok"));
    });
    servers.push(server);
    const same = settings(server, { maximum, session: true });
    const results = await device.connect(same, same, same);
    expect(results.map(({ resumed, received }) => ({ resumed, received }))).toEqual([
      { resumed: false, received: 2 },
      { resumed: true, received: 0 },
      { resumed: false, received: 2 },
    ]);
  });

  it.each(VERSIONS)("is not offered once the chain that was judged has expired, over $name", async ({ maximum }) => {
    const notAfter = Math.floor(Date.now() / 1000) * 1000 + DAY_MS;
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root, notAfter });
    const server = await serve(leaf, []);
    const same = settings(server, { maximum, session: true });
    const results = await device.connect(same, { ...same, timeMs: notAfter }, { ...same, timeMs: notAfter + 1000 });
    expect(results.map(({ opened, resumed, verifyFlags }) => ({ opened, resumed, verifyFlags }))).toEqual([
      { opened: true, resumed: false, verifyFlags: 0 },
      { opened: true, resumed: true, verifyFlags: 0 },
      { opened: false, resumed: false, verifyFlags: Verify.expired },
    ]);
  });
});

describe("a pre-shared key", () => {
  it.each(VERSIONS)("never gives way to a certificate when the server does not know it, over $name", async ({ maximum }) => {
    await device.keys("psk", "psk", createHash("sha256").update("secret").digest("hex"));
    const leaf = await makeIdentity({ name: "localhost", server: true, issuer: root });
    const server = await startTlsServer({ cert: leaf.pem, key: leaf.keyPem, pskCallback: () => null, ciphers: "ALL:PSK" });
    servers.push(server);
    const psk = { slot: "psk", identity: "nobody" };
    const result = await device.connectOnce({ port: server.port, maximum, psk, send: Buffer.from("hello"), wantBytes: 2 });
    expect(result).toMatchObject({ state: State.failed, opened: false, received: 0 });
    expect(server.names).toEqual([]);
  });
});
