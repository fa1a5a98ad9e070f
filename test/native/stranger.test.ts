/**
 * Whose verdict counts: an alert from somebody who has not proved to be the server must not look like the broker's judgement of our
 * certificate, for that would send a device down to its pre-shared key. That real brokers' verdicts do count is in tls-engine.test.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { certify, type Identity, makeIdentity } from "./native-certificates.js";
import { type ConnectionSettings, Kind, NativeDevice, State, TLS_1_2, TLS_1_3 } from "./harness.js";
import { startTlsServer } from "./servers.js";
import {
  alertRecord,
  type Impostor,
  SERVER_HELLO,
  SERVER_KEY_EXCHANGE,
  startImpostor,
  startStranger,
  withoutTls13,
} from "./server-strangers.js";

const ALERTS = [20, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 51, 115, 116, 120];
const ILLEGAL_PARAMETER = -0x6600;
const VERSIONS = [
  { name: "TLS 1.3", version: TLS_1_3 },
  { name: "TLS 1.2", version: TLS_1_2 },
];

let device: NativeDevice;
let root: Identity;
let server: Identity;
let chain: Uint8Array[];
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  device = await NativeDevice.create();
  root = await makeIdentity({ name: "Stranger Root", authority: true });
  server = await makeIdentity({ name: "localhost", server: true, issuer: root });
  await device.keys("generate", "key-a");
  await device.keys("psk", "psk", "5a".repeat(32));
  chain = [(await certify((await device.keys("public", "key-a")).bytes, { name: "device-1", issuer: root })).der];
});
afterEach(async () => {
  for (const each of running.splice(0).reverse()) await each.stop();
});
afterAll(() => device?.remove());

async function started<Running extends { stop(): Promise<void> }>(starting: Promise<Running>): Promise<Running> {
  const made = await starting;
  running.push(made);
  return made;
}

const mtls = (port: number, more: Partial<ConnectionSettings> = {}): ConnectionSettings => ({
  port,
  anchors: [root.der],
  chain,
  keySlot: "key-a",
  ...more,
});

/** The port of somebody between us and a real server that asks for our certificate. */
async function impostor(part: Impostor): Promise<number> {
  const real = await started(startTlsServer({ cert: server.pem, key: server.keyPem, ca: root.pem, requestCert: true }));
  return (await started(startImpostor(real.port, part))).port;
}

describe.each(VERSIONS)("where $name is offered at most", ({ version }) => {
  it("a stranger's alert is told as one that nobody vouches for, whatever it says", async () => {
    const { port } = await started(startStranger(ALERTS));
    const results = await device.connect(...ALERTS.map(() => mtls(port, { maximum: version })));
    expect(results.map(({ kind, alert, serverProved }) => ({ kind, alert, serverProved }))).toEqual(
      ALERTS.map((alert) => ({ kind: Kind.alert, alert, serverProved: false })),
    );
  });

  it("so is one on a connection that would resume", async () => {
    const real = await started(startTlsServer({ cert: server.pem, key: server.keyPem }));
    const { port } = await started(startStranger([42]));
    const same = mtls(real.port, { maximum: version, session: true, send: Buffer.from("hello"), wantBytes: 2 });
    const [first, second] = await device.connect(same, { ...same, port });
    expect(first).toMatchObject({ state: State.open, received: 2 });
    expect(second).toMatchObject({ kind: Kind.alert, alert: 42, serverProved: false });
  });

  it("a stranger's alert to a pre-shared key is told as well", async () => {
    const { port } = await started(startStranger([115]));
    const result = await device.connectOnce({ port, maximum: version, psk: { slot: "psk", identity: "device-1" } });
    expect(result).toMatchObject({ kind: Kind.alert, alert: 115, serverProved: false });
  });
});

describe("somebody who repeats the server's certificate", () => {
  it("is not believed in TLS 1.2 before the server's key has signed", async () => {
    const port = await impostor({
      record: (record, message) => (message === SERVER_KEY_EXCHANGE ? { send: alertRecord(45), end: true } : { send: record }),
    });
    expect(await device.connectOnce(mtls(port, { maximum: TLS_1_2 }))).toMatchObject({
      kind: Kind.alert,
      alert: 45,
      serverProved: false,
      flights: 1,
    });
  });

  it("fails with a key exchange that the server's key has not signed", async () => {
    const spoil = (record: Buffer): Buffer => Buffer.concat([record.subarray(0, -1), Buffer.of((record.at(-1) ?? 0) ^ 1)]);
    const port = await impostor({ record: (record, message) => ({ send: message === SERVER_KEY_EXCHANGE ? spoil(record) : record }) });
    expect(await device.connectOnce(mtls(port, { maximum: TLS_1_2 }))).toMatchObject({
      state: State.failed,
      kind: Kind.protocol,
      opened: false,
      serverProved: false,
    });
  });

  it("is not heard in TLS 1.3, where all but the hello is encrypted", async () => {
    const port = await impostor({
      record: (record, message) =>
        message === SERVER_HELLO ? { send: Buffer.concat([record, alertRecord(45)]), end: true } : { send: record },
    });
    expect(await device.connectOnce(mtls(port))).toMatchObject({ state: State.failed, kind: Kind.protocol, opened: false });
  });

  it("cannot force TLS 1.2 on a server that has TLS 1.3", async () => {
    const port = await impostor({ hello: withoutTls13 });
    expect(await device.connectOnce(mtls(port))).toMatchObject({
      state: State.failed,
      kind: Kind.protocol,
      detail: ILLEGAL_PARAMETER,
      opened: false,
    });
  });
});
