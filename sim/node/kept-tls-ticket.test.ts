/** TLS sessions that outlive the process: against real mosquitto, and against those who would use them again, elsewhere or later. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SecureVersion } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { Device } from "../../sdk/device/device.js";
import { installIdentity } from "../../sdk/identity/store.js";
import type { Credential, Endpoint, Storage } from "../../sdk/platform.js";
import { SESSION_SLOT } from "../../sdk/sleep/kept-tls-session.js";
import { buildProgram, RunningProgram } from "../../test/support/node/child-program.js";
import { FlightRelay } from "../../test/support/node/flight-relay.js";
import { connectPacket, RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { memoryKeyStore, memoryStorage, type MemoryKeyStore } from "./memory-stores.js";
import { NodeDialer } from "./node-dialer.js";
import { nodePlatform } from "./node-platform.js";
import { TEST_SCRYPT_COST } from "./vault/sealed.js";
import { Vault } from "./vault/vault.js";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Longer than a session may live. */
const SERVER_DAYS = 9;
const PASSPHRASE = "a passphrase of tests";
const room = mkdtempSync(join(tmpdir(), "hawser-kept-"));
let ca: TestCa;
let stranger: TestCa;
let broker: TestMosquitto | undefined;
let port: number;
let pskPort: number;

beforeAll(async () => {
  ca = await TestCa.create("Hawser", { notAfter: new Date(Date.now() + 30 * DAY_MS) });
  stranger = await TestCa.create("Stranger");
  const server = await ca.server(["localhost", "127.0.0.1"], { notAfter: new Date(Date.now() + SERVER_DAYS * DAY_MS) });
  [port, pskPort] = [await freePort(), await freePort()];
  const files = { "ca.pem": ca.caPem, "server.pem": server.chainPem, "server.key": server.keyPem, psk: `dev1:${"5a".repeat(32)}\n` };
  broker = await startMosquitto(room, "broker", files, [
    ...mtlsListener(port),
    `listener ${pskPort} 127.0.0.1`,
    "psk_file psk",
    "psk_hint hawser",
    "use_identity_as_username true",
  ]);
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

/** Passes bytes on to the broker and counts what it says. */
async function countingRelay(): Promise<{ port: number; taken(): number }> {
  let bytes = 0;
  const relay: Server = createServer((down) => {
    const up = connect(port, "127.0.0.1");
    up.on("data", (chunk) => (bytes += chunk.length));
    for (const socket of [down, up]) socket.on("error", () => undefined);
    down.pipe(up).pipe(down);
  }).listen(0, "127.0.0.1");
  await once(relay, "listening");
  onTestFinished(() => void relay.close());
  const taken = (): number => {
    const counted = bytes;
    bytes = 0;
    return counted;
  };
  return { port: (relay.address() as AddressInfo).port, taken };
}

it.each(["TLSv1.3", "TLSv1.2"] as const)("a new process resumes the session of the one before it on %s", async (version) => {
  const relay = await countingRelay();
  const path = join(room, `vault-${version}`);
  const vault = Vault.create(path, PASSPHRASE, { scryptCost: TEST_SCRYPT_COST });
  vault.keyStore.generate("key-a");
  const chain = await ca.clientChain(vault.keyStore.publicKey("key-a"), "dev1", { notAfter: new Date(Date.now() + 30 * DAY_MS) });
  installIdentity(vault.storage, vault.keyStore, { id: "dev1", role: "sensor", chain, trustAnchors: ca.trustAnchors });
  vault.close();
  const program = buildProgram(room, "sleeper");
  const wakings: { resumed: boolean; bytes: number }[] = [];
  for (let turn = 0; turn < 3; turn++) {
    const waking = new RunningProgram(program, [path, PASSPHRASE, String(relay.port), version]);
    await waking.ended;
    const [connected = "", outcome] = waking.lines;
    expect(outcome).toBe("confirmed");
    const { tlsVersion, resumed } = JSON.parse(connected) as { tlsVersion: string; resumed: boolean };
    expect(tlsVersion).toBe(version);
    wakings.push({ resumed, bytes: relay.taken() });
  }
  expect(wakings.map(({ resumed }) => resumed)).toEqual([false, true, true]);
  // As seen from outside: the broker sent no certificate.
  for (const { bytes } of wakings.slice(1)) expect(bytes).toBeLessThan((wakings[0]?.bytes ?? 0) * 0.6);
});

it.each([
  ["TLSv1.3", 3, 2],
  ["TLSv1.2", 4, 2],
] as const)(
  "a reading on %s is confirmed after %i round trips with a full handshake, and after %i in the flight of CONNECT",
  async (version, full, resumed) => {
    const relay = await FlightRelay.start(port, 40);
    onTestFinished(() => relay.close());
    const keyStore = memoryKeyStore();
    const storage = memoryStorage();
    keyStore.generate("key-a");
    const chain = await ca.clientChain(keyStore.publicKey("key-a"), "dev2", { notAfter: new Date(Date.now() + 30 * DAY_MS) });
    installIdentity(storage, keyStore, { id: "dev2", role: "sensor", chain, trustAnchors: ca.trustAnchors });
    const platform = nodePlatform({ keyStore, storage, keepSessions: true, maxTlsVersion: version });
    const roundTrips: number[] = [];
    for (let waking = 0; waking < 2; waking++) {
      const config = { broker: { host: "localhost", port: relay.port }, enrolment: false, messagesWithConnect: 1 };
      const device = new Device(config, platform);
      const confirmed = device.publish("up/reading", "21.5", { qos: 1 }).then(() => roundTrips.push(relay.taken().roundTrips));
      device.start();
      await confirmed;
      await device.stop();
      relay.taken();
    }
    expect(roundTrips).toEqual([full, resumed]);
  },
);

interface Machine {
  keyStore: MemoryKeyStore;
  storage: Storage;
}

describe.each<SecureVersion>(["TLSv1.3", "TLSv1.2"])("A kept session on %s", (version) => {
  let machine: Machine;
  let chain: Uint8Array[];
  const endpoint = (): Endpoint => ({ host: "localhost", port });
  const mtls = (given = chain, trustAnchors = ca.trustAnchors): Credential => ({ kind: "mtls", slot: "key-a", chain: given, trustAnchors });

  beforeEach(async () => {
    machine = { keyStore: memoryKeyStore(), storage: memoryStorage() };
    machine.keyStore.generate("key-a");
    chain = await certificate(machine);
  });

  function certificate({ keyStore }: Machine, lifetimeMs = 30 * DAY_MS): Promise<Uint8Array[]> {
    return ca.clientChain(keyStore.publicKey("key-a"), "dev1", { notAfter: new Date(Date.now() + lifetimeMs) });
  }

  /** A new process on the machine connects, is accepted, and leaves. @returns whether it resumed */
  async function waking(credential = mtls(), to = endpoint(), on = machine, mayReturn = true): Promise<boolean> {
    const { dialer } = nodePlatform({ ...on, keepSessions: true, maxTlsVersion: version });
    const recorded = new RecordedLink(dialer, to, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
    const { resumed } = await recorded.opened;
    expect([...(await recorded.bytes(4))]).toEqual([0x20, 2, 0, 0]);
    recorded.link.close(mayReturn);
    await recorded.ended;
    return resumed;
  }

  const record = (): Uint8Array => machine.storage.get(SESSION_SLOT)!;

  it("serves one process, which leaves one for the next", async () => {
    expect([await waking(), await waking(), await waking()]).toEqual([false, true, true]);
  });

  it("is gone before it is offered, with its key, whatever becomes of the attempt", async () => {
    await waking();
    const { dialer } = nodePlatform({ ...machine, keepSessions: true, maxTlsVersion: version });
    const attempt = new RecordedLink(dialer, endpoint(), mtls());
    expect([machine.storage.get(SESSION_SLOT), machine.keyStore.has(SESSION_SLOT)]).toEqual([undefined, false]);
    attempt.link.close();
    await attempt.ended;
    expect(await waking()).toBe(false);
  });

  it("is not left by a connection that ended otherwise", async () => {
    await waking(mtls(), endpoint(), machine, false);
    expect(machine.storage.list("")).toEqual([]);
    expect(await waking()).toBe(false);
  });

  it("serves no other certificate, and not its own again after that", async () => {
    await waking();
    expect(await waking(mtls(await certificate(machine)))).toBe(false);
    expect(await waking()).toBe(false);
  });

  it("does not outlive a change of trust anchors", async () => {
    await waking();
    expect(await waking(mtls(chain, [...ca.trustAnchors, ...stranger.trustAnchors]))).toBe(false);
  });

  it.each<[string, (to: Endpoint) => Endpoint]>([
    ["host", (to) => ({ ...to, host: "127.0.0.1" })],
    ["server name", (to) => ({ ...to, host: "127.0.0.1", serverName: "localhost" })],
    ["ALPN", (to) => ({ ...to, alpn: "mqtt" })],
  ])("serves no other endpoint: %s", async (_what, change) => {
    await waking();
    expect(await waking(mtls(), change(endpoint()))).toBe(false);
  });

  it("is worth nothing on another device", async () => {
    await waking();
    const thief = { keyStore: memoryKeyStore(), storage: machine.storage };
    // Even one with the device's certificate and private key, and a session of its own before.
    Object.assign(thief.keyStore, { signingKey: (slot: string) => machine.keyStore.signingKey(slot) });
    thief.keyStore.importPsk(SESSION_SLOT, Buffer.alloc(32, 7));
    expect(await waking(mtls(), endpoint(), thief)).toBe(false);
  });

  it("is worth nothing when an older record is brought back", async () => {
    await waking();
    const older = record();
    await waking();
    machine.storage.put(SESSION_SLOT, older);
    expect(await waking()).toBe(false);
  });

  it.each([0, 1, 20, -1])("is not used once byte %i of it is damaged", async (at) => {
    await waking();
    const bytes = Uint8Array.from(record());
    const place = at < 0 ? bytes.length + at : at;
    bytes[place] = (bytes[place] ?? 0) ^ 1;
    machine.storage.put(SESSION_SLOT, bytes);
    expect(await waking()).toBe(false);
  });

  it("is not used when cut short, or when it is something else", async () => {
    for (const put of [(bytes: Uint8Array) => bytes.subarray(0, bytes.length - 1), () => new Uint8Array(0), () => new Uint8Array(4_000)]) {
      await waking();
      machine.storage.put(SESSION_SLOT, put(record()));
      expect(await waking()).toBe(false);
    }
  });

  it("is resumed for a week at most", async () => {
    await waking();
    expect(await waking(mtls(), { ...endpoint(), validAtMs: Date.now() + 7 * DAY_MS + HOUR_MS })).toBe(false);
  });

  it("does not outlive the device's own certificate", async () => {
    const brief = await certificate(machine, HOUR_MS);
    await waking(mtls(brief));
    expect(await waking(mtls(brief), { ...endpoint(), validAtMs: Date.now() + HOUR_MS / 2 })).toBe(true);
    expect(await waking(mtls(brief), { ...endpoint(), validAtMs: Date.now() + HOUR_MS + 1_000 })).toBe(false);
  });

  it("does not outlive the certificates of the broker's chain", async () => {
    const brief = await ca.server(["localhost"], { notAfter: new Date(Date.now() + HOUR_MS) });
    const files = { "ca.pem": ca.caPem, "server.pem": brief.chainPem, "server.key": brief.keyPem };
    const briefPort = await freePort();
    const lines = [
      "cafile ca.pem",
      "certfile server.pem",
      "keyfile server.key",
      "require_certificate true",
      "use_identity_as_username true",
    ];
    const other = await startMosquitto(room, `brief-${version}`, files, [`listener ${briefPort} 127.0.0.1`, ...lines]);
    onTestFinished(() => other.stop());
    const atMs = (ms: number): Endpoint => ({ host: "localhost", port: briefPort, validAtMs: Date.now() + ms });
    await waking(mtls(), atMs(0));
    expect(await waking(mtls(), atMs(HOUR_MS / 2))).toBe(true);
    expect(await waking(mtls(), atMs(HOUR_MS + 1_000))).toBe(false);
  });

  it("does not let a device in that was revoked while it slept, nor is one kept then", async () => {
    const server = await ca.server(["localhost"]);
    const files = { "ca.pem": ca.caPem, "server.pem": server.chainPem, "server.key": server.keyPem, "crl.pem": await ca.crlPem([]) };
    const ownPort = await freePort();
    const name = `revoking-${String(version)}`;
    const lines = ["cafile ca.pem", "certfile server.pem", "keyfile server.key", "crlfile crl.pem", "require_certificate true"];
    const other = await startMosquitto(room, name, files, [`listener ${ownPort} 127.0.0.1`, ...lines, "use_identity_as_username true"]);
    onTestFinished(() => other.stop());
    const to = { host: "localhost", port: ownPort };
    expect([await waking(mtls(), to), await waking(mtls(), to)]).toEqual([false, true]);
    writeFileSync(join(room, name, "crl.pem"), await ca.crlPem([chain[0]!]));
    await other.reload();
    const { dialer } = nodePlatform({ ...machine, keepSessions: true, maxTlsVersion: version });
    const refused = new RecordedLink(dialer, to, mtls(), { onOpened: (link) => link.write(connectPacket("dev1")) });
    expect(await refused.ended).toMatchObject({ alert: 44 });
    expect([machine.storage.list(""), machine.keyStore.has(SESSION_SLOT)]).toEqual([[], false]);
  });

  it("is not renewed by resuming it: a week after the certificates were shown, they are shown again", async () => {
    await waking();
    for (const days of [3, 6]) expect(await waking(mtls(), { ...endpoint(), validAtMs: Date.now() + days * DAY_MS })).toBe(true);
    expect(await waking(mtls(), { ...endpoint(), validAtMs: Date.now() + 8 * DAY_MS })).toBe(false);
  });

  it("is never one of a pre-shared key", async () => {
    machine.keyStore.importPsk("psk", Buffer.alloc(32, 0x5a));
    const psk: Credential = { kind: "psk", slot: "psk", identity: "dev1" };
    for (let turn = 0; turn < 2; turn++) expect(await waking(psk, { host: "localhost", port: pskPort })).toBe(false);
    expect(machine.storage.list("")).toEqual([]);
  });

  it("costs a device that did not ask for it nothing", async () => {
    const { dialer } = nodePlatform({ ...machine, maxTlsVersion: version });
    const recorded = new RecordedLink(dialer, endpoint(), mtls(), { onOpened: (link) => link.write(connectPacket("dev1")) });
    await recorded.bytes(4);
    recorded.link.close(true);
    await recorded.ended;
    expect([machine.storage.list(""), machine.keyStore.has(SESSION_SLOT)]).toEqual([[], false]);
  });

  it("costs a full handshake, and a warning, where it cannot be stored", async () => {
    const warnings: string[] = [];
    const failing: Storage = { ...machine.storage, get: () => undefined, put: () => fail(), delete: () => fail(), list: () => [] };
    const fail = (): never => {
      throw new Error("worn out");
    };
    for (let turn = 0; turn < 2; turn++) {
      const platform = nodePlatform({
        ...machine,
        keepSessions: failing,
        maxTlsVersion: version,
        log: (level, message) => void warnings.push(`${level}: ${message}`),
      });
      const recorded = new RecordedLink(platform.dialer, endpoint(), mtls(), { onOpened: (link) => link.write(connectPacket("dev1")) });
      expect((await recorded.opened).resumed).toBe(false);
      await recorded.bytes(4);
      recorded.link.close(true);
      await recorded.ended;
    }
    expect(warnings).toEqual(Array(2).fill("warn: a TLS session could not be kept"));
  });
});

it("a session in memory is resumed for a week at most as well", async () => {
  const keyStore = memoryKeyStore();
  keyStore.generate("key-a");
  const chain = await ca.clientChain(keyStore.publicKey("key-a"), "dev1", { notAfter: new Date(Date.now() + 30 * DAY_MS) });
  for (const maxTlsVersion of ["TLSv1.3", "TLSv1.2"] as const) {
    const dialer = new NodeDialer(keyStore, { maxTlsVersion });
    const resumed: boolean[] = [];
    for (const days of [0, 6, 6, 8]) {
      const endpoint = { host: "localhost", port, validAtMs: Date.now() + days * DAY_MS };
      const credential: Credential = { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors };
      const recorded = new RecordedLink(dialer, endpoint, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
      resumed.push((await recorded.opened).resumed);
      await recorded.bytes(4);
      recorded.link.write(Buffer.of(0xc0, 0));
      await recorded.bytes(6);
      recorded.link.close();
      await recorded.ended;
    }
    expect(resumed).toEqual([false, true, true, false]);
  }
});
