/** The dialer against real mosquitto: every row of the alert table, on TLS 1.3 and 1.2. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { SecureVersion } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { NodeDialer } from "./node-dialer.js";
import { memoryKeyStore } from "./memory-stores.js";
import { connectPacket, RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, startMosquitto } from "../../test/support/node/test-mosquitto.js";
import type { TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { EXPIRED, NOT_YET_VALID, TestCa } from "../../test/support/node/test-pki.js";
import { linkFailure } from "./tls-failure.js";

const room = mkdtempSync(join(tmpdir(), "hawser-dialer-"));
const keys = memoryKeyStore();
const goodPsk = Buffer.alloc(32, 0x5a);
let broker: TestMosquitto | undefined;
let ca: TestCa;
let stranger: TestCa;
let mtlsPort: number;
let pskPort: number;
const chains: Record<string, Uint8Array[]> = {};

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  stranger = await TestCa.create("Stranger");
  keys.generate("key-a");
  keys.generate("key-b");
  keys.importPsk("psk", goodPsk);
  keys.importPsk("psk-wrong", Buffer.alloc(32, 1));
  const publicKey = keys.publicKey("key-a");
  chains["good"] = await ca.clientChain(publicKey, "dev1");
  chains["expired"] = await ca.clientChain(publicKey, "dev1", EXPIRED);
  chains["not yet valid"] = await ca.clientChain(publicKey, "dev1", NOT_YET_VALID);
  chains["revoked"] = await ca.clientChain(publicKey, "dev1");
  chains["of an unknown CA"] = await stranger.clientChain(publicKey, "dev1");
  const server = await ca.server(["localhost", "127.0.0.1"]);
  [mtlsPort, pskPort] = [await freePort(), await freePort()];
  const files = {
    "ca.pem": ca.caPem,
    "crl.pem": await ca.crlPem([chains["revoked"][0]!]),
    "server.pem": server.chainPem,
    "server.key": server.keyPem,
    psk: `dev1:${goodPsk.toString("hex")}\n`,
  };
  broker = await startMosquitto(room, "broker", files, [
    `listener ${mtlsPort} 127.0.0.1`,
    "cafile ca.pem",
    "certfile server.pem",
    "keyfile server.key",
    "crlfile crl.pem",
    "require_certificate true",
    "use_identity_as_username true",
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

function mtls(chain: readonly Uint8Array[], trustAnchors = ca.trustAnchors, slot = "key-a"): Credential {
  return { kind: "mtls", slot, chain, trustAnchors };
}

function mtlsEndpoint(): Endpoint {
  return { host: "localhost", port: mtlsPort };
}

function pskEndpoint(): Endpoint {
  return { host: "localhost", port: pskPort };
}

/** Dials, sends CONNECT as soon as the link is up, and waits for CONNACK. */
async function connected(dialer: NodeDialer, endpoint: Endpoint, credential: Credential): Promise<RecordedLink> {
  const recorded = new RecordedLink(dialer, endpoint, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
  await recorded.opened;
  expect([...(await recorded.bytes(4))]).toEqual([0x20, 2, 0, 0]);
  return recorded;
}

async function closed(recorded: RecordedLink): Promise<void> {
  recorded.link.close();
  expect(await recorded.ended).toMatchObject({ code: "CLOSED_LOCALLY", class: "local" });
}

const PINGREQ = Buffer.of(0xc0, 0);

const CERTIFICATE_ROWS = [
  { what: "expired", code: "CERTIFICATE_EXPIRED", alert: 45 },
  { what: "not yet valid", code: "CERTIFICATE_REJECTED", alert: 42 },
  { what: "revoked", code: "CERTIFICATE_REVOKED", alert: 44 },
  { what: "of an unknown CA", code: "CERTIFICATE_CA_UNKNOWN", alert: 48 },
];

const VERSIONS: readonly { version: SecureVersion; wrongIdentityAlert: number; wrongKeyAlert: number; noCertificateAlert: number }[] = [
  { version: "TLSv1.3", wrongIdentityAlert: 40, wrongKeyAlert: 47, noCertificateAlert: 116 },
  { version: "TLSv1.2", wrongIdentityAlert: 115, wrongKeyAlert: 20, noCertificateAlert: 40 },
];

describe.each(VERSIONS)("against mosquitto on $version", ({ version, wrongIdentityAlert, wrongKeyAlert, noCertificateAlert }) => {
  const dialer = new NodeDialer(keys, { maxTlsVersion: version });

  it("opens by mTLS and talks MQTT", async () => {
    const recorded = await connected(dialer, mtlsEndpoint(), mtls(chains["good"]!));
    expect(recorded.info).toMatchObject({ tlsVersion: version, resumed: false });
    await closed(recorded);
  });

  it("resumes by ticket with the same credential, again and again, and with no other", async () => {
    const resuming = new NodeDialer(keys, { maxTlsVersion: version });
    const resumed: boolean[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const recorded = await connected(resuming, mtlsEndpoint(), mtls(chains["good"]!));
      resumed.push(recorded.info!.resumed);
      // Its refusal counts on a resumed session as on the first.
      expect(recorded.info?.serverAuth).toBeUndefined();
      recorded.link.write(PINGREQ);
      await recorded.bytes(6);
      await closed(recorded);
    }
    expect(resumed).toEqual([false, true, true, true]);
    const other = await connected(resuming, mtlsEndpoint(), mtls(await ca.clientChain(keys.publicKey("key-a"), "dev1")));
    expect(other.info?.resumed).toBe(false);
    await closed(other);
    const otherName = await connected(resuming, { host: "127.0.0.1", port: mtlsPort }, mtls(chains["good"]!));
    expect(otherName.info?.resumed).toBe(false);
    await closed(otherName);
  });

  it("does not resume when told not to", async () => {
    const plain = new NodeDialer(keys, { maxTlsVersion: version, resumption: false });
    await closed(await connected(plain, mtlsEndpoint(), mtls(chains["good"]!)));
    const second = await connected(plain, mtlsEndpoint(), mtls(chains["good"]!));
    expect(second.info?.resumed).toBe(false);
    await closed(second);
  });

  it.each(CERTIFICATE_ROWS)(
    "reports the alert for a certificate that is $what, and believes it when it is protected ($code, $alert)",
    async ({ what, code, alert }) => {
      const recorded = new RecordedLink(dialer, mtlsEndpoint(), mtls(chains[what]!), {
        onOpened: (link) => link.write(connectPacket("dev1")),
      });
      // In TLS 1.3 the verdict comes after the handshake. In 1.2 it comes within it, in the clear: anybody could have sent it.
      const told = version === "TLSv1.3" ? { code, class: "credential", alert } : { code: "TLS_FAILED", class: "network", alert };
      expect(await recorded.ended).toMatchObject(told);
      expect(recorded.events).toEqual(version === "TLSv1.3" ? ["opened", "ended"] : ["ended"]);
    },
  );

  it("maps the alert for no certificate at all to CERTIFICATE_REQUIRED", async () => {
    const error = await new Promise<unknown>((resolve) => {
      const socket = connectTls({ port: mtlsPort, host: "localhost", servername: "localhost", ca: [ca.caPem], maxVersion: version });
      socket
        .on("error", resolve)
        .on("close", () => resolve(undefined))
        .resume();
    });
    const failure = linkFailure(error, { address: "localhost", shown: "no-certificate", opened: true, isServerProved: false });
    expect(failure).toMatchObject({ code: "CERTIFICATE_REQUIRED", class: "credential", alert: noCertificateAlert });
  });

  it("refuses a server of an unknown CA, whatever the server thinks of us", async () => {
    for (const chain of ["good", "expired"]) {
      for (const anchors of [stranger.trustAnchors, []]) {
        const recorded = new RecordedLink(dialer, mtlsEndpoint(), mtls(chains[chain]!, anchors));
        expect(await recorded.ended).toMatchObject({ code: "SERVER_CA_UNKNOWN", class: "server-trust" });
        expect(recorded.events).toEqual(["ended"]);
      }
    }
  });

  it("refuses a server that is not the host meant, whatever the server thinks of us", async () => {
    for (const chain of ["good", "expired"]) {
      const recorded = new RecordedLink(dialer, { ...mtlsEndpoint(), serverName: "broker.example" }, mtls(chains[chain]!));
      expect(await recorded.ended).toMatchObject({ code: "SERVER_NAME_MISMATCH", class: "server-trust" });
      expect(recorded.events).toEqual(["ended"]);
    }
  });

  it("judges the server by serverName, not by the address dialled", async () => {
    await closed(await connected(dialer, { host: "127.0.0.1", port: mtlsPort, serverName: "localhost" }, mtls(chains["good"]!)));
  });

  it("opens by PSK and talks MQTT, twice, never resumed", async () => {
    for (let turn = 0; turn < 2; turn += 1) {
      const recorded = await connected(dialer, pskEndpoint(), { kind: "psk", slot: "psk", identity: "dev1" });
      expect(recorded.info).toMatchObject({ tlsVersion: version, resumed: false });
      expect(recorded.info?.cipher).toMatch(version === "TLSv1.3" ? /^TLS_(AES_128_GCM|CHACHA20_POLY1305)_SHA256$/ : /^ECDHE-PSK-/);
      await closed(recorded);
    }
  });

  it("reports a wrong PSK identity and a wrong PSK key as PSK_REJECTED", async () => {
    const wrongIdentity = new RecordedLink(dialer, pskEndpoint(), { kind: "psk", slot: "psk", identity: "nobody" });
    expect(await wrongIdentity.ended).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert: wrongIdentityAlert });
    const wrongKey = new RecordedLink(dialer, pskEndpoint(), { kind: "psk", slot: "psk-wrong", identity: "dev1" });
    expect(await wrongKey.ended).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert: wrongKeyAlert });
  });

  it("does not connect by PSK to a port for certificates", async () => {
    const recorded = new RecordedLink(dialer, mtlsEndpoint(), { kind: "psk", slot: "psk", identity: "dev1" });
    expect((await recorded.ended).code).toBe(version === "TLSv1.3" ? "SERVER_CA_UNKNOWN" : "PSK_REJECTED");
    expect(recorded.events).toEqual(["ended"]);
  });

  it("takes it for a fault of the network when the broker leaves after bytes that are no MQTT", async () => {
    const recorded = new RecordedLink(dialer, mtlsEndpoint(), mtls(chains["good"]!), {
      onOpened: (link) => link.write(Buffer.of(0xf0, 0)),
    });
    expect(await recorded.ended).toMatchObject({ class: "network" });
    expect(recorded.events[0]).toBe("opened");
  });
});

it("in TLS 1.3 finds the verdict even when writes hit the closed connection first", async () => {
  const dialer = new NodeDialer(keys);
  const blockingWrites = (recorded: () => RecordedLink): void => {
    // Blocks the event loop until the broker has certainly closed, so that a write meets the reset before the alert is read.
    for (let write = 0; write < 4; write += 1) {
      recorded().link.write(connectPacket("dev1"));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40);
    }
  };
  for (const { what, code, alert } of CERTIFICATE_ROWS) {
    const recorded: RecordedLink = new RecordedLink(dialer, mtlsEndpoint(), mtls(chains[what]!), {
      onOpened: () => blockingWrites(() => recorded),
    });
    expect(await recorded.ended).toMatchObject({ code, alert });
  }
});
