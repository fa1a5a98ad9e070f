/**
 * TLS and keys on XS: the firmware's dialer, its native engine and key store, against real mosquitto and against servers made to cheat.
 * Every row of the alert table must end as it does on Node (`sim/node/node-dialer.mosquitto.test.ts`).
 */
import { createHmac, createPublicKey, verify } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { TlsDialerOptions } from "../../firmware/tls/tls-dialer.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { NodeDialer } from "../node/node-dialer.js";
import { memoryKeyStore } from "../node/memory-stores.js";
import { connectPacket, RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { EXPIRED, NOT_YET_VALID, TestCa } from "../../test/support/node/test-pki.js";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { buildHost, type Bits } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { RemoteXs } from "../../test/support/xs/remote-xs.js";
import { BITS } from "../../test/support/xs/pointer-sizes.js";

const BUILD_MS = 600_000;
const HOUR_MS = 3_600_000;
const goodPsk = Buffer.alloc(32, 0x5a);

const programs = new ProgramFolder();
let ca: TestCa;
let stranger: TestCa;
let program: string;
let server: Awaited<ReturnType<TestCa["server"]>>;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  stranger = await TestCa.create("Stranger");
  server = await ca.server(["localhost", "127.0.0.1"]);
  const entry = fileURLToPath(new URL("../../test/support/xs/remote-program.ts", import.meta.url));
  program = (await bundleDevice({ entry, outputFile: join(programs.path, "remote.mjs") })).file;
  for (const bits of BITS) await buildHost({ bits, native: await nativeParts(bits) });
}, BUILD_MS);
afterAll(() => programs.close());

async function startRemote(bits: Bits, name: string): Promise<RemoteXs> {
  const keysFolder = join(programs.path, `keys-${name}`);
  return new RemoteXs(await programs.start({ program, bits, native: await nativeParts(bits), keysFolder, inRom: "code" }));
}

describe.each(BITS)("on XS at %i bits", (bits) => {
  let xs: RemoteXs;
  let broker: TestMosquitto | undefined;
  let mtlsPort: number;
  let pskPort: number;
  const chains: Record<string, Uint8Array[]> = {};

  beforeAll(async () => {
    xs = await startRemote(bits, String(bits));
    await xs.generate("key-a");
    await xs.generate("key-b");
    await xs.importPsk("psk", goodPsk);
    const publicKey = await xs.publicKey("key-a");
    chains["good"] = await ca.clientChain(publicKey, "dev1");
    chains["expired"] = await ca.clientChain(publicKey, "dev1", EXPIRED);
    chains["not yet valid"] = await ca.clientChain(publicKey, "dev1", NOT_YET_VALID);
    chains["revoked"] = await ca.clientChain(publicKey, "dev1");
    chains["of an unknown CA"] = await stranger.clientChain(publicKey, "dev1");
    [mtlsPort, pskPort] = [await freePort(), await freePort()];
    const files = {
      "ca.pem": ca.caPem,
      "crl.pem": await ca.crlPem([chains["revoked"][0]!]),
      "server.pem": server.chainPem,
      "server.key": server.keyPem,
      psk: `dev1:${goodPsk.toString("hex")}\n`,
    };
    broker = await startMosquitto(programs.path, `broker-${bits}`, files, [
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
    expect(await xs.end()).toEqual({ code: 0, signal: undefined, errors: "" });
  });

  const mtls = (chain: readonly Uint8Array[], trustAnchors = ca.trustAnchors, slot = "key-a"): Credential => ({
    kind: "mtls",
    slot,
    chain,
    trustAnchors,
  });
  const mtlsEndpoint = (): Endpoint => ({ host: "localhost", port: mtlsPort });
  const pskEndpoint = (): Endpoint => ({ host: "localhost", port: pskPort });

  /** Dials, sends CONNECT as soon as the link is up, and waits for CONNACK. */
  async function connected(options: TlsDialerOptions, endpoint: Endpoint, credential: Credential): Promise<RecordedLink> {
    const recorded = new RecordedLink(xs.dialer(options), endpoint, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
    await recorded.opened;
    expect([...(await recorded.bytes(4))]).toEqual([0x20, 2, 0, 0]);
    return recorded;
  }

  async function closed(recorded: RecordedLink): Promise<void> {
    recorded.link.close();
    expect(await recorded.ended).toMatchObject({ code: "CLOSED_LOCALLY", class: "local" });
  }

  const CERTIFICATE_ROWS = [
    { what: "expired", code: "CERTIFICATE_EXPIRED", alert: 45 },
    { what: "not yet valid", code: "CERTIFICATE_REJECTED", alert: 42 },
    { what: "revoked", code: "CERTIFICATE_REVOKED", alert: 44 },
    { what: "of an unknown CA", code: "CERTIFICATE_CA_UNKNOWN", alert: 48 },
  ];

  const VERSIONS = [
    { version: "TLSv1.3", maximumVersion: 0x0304, wrongIdentityAlert: 40, wrongKeyAlert: 47 },
    { version: "TLSv1.2", maximumVersion: 0x0303, wrongIdentityAlert: 115, wrongKeyAlert: 20 },
  ];

  describe.each(VERSIONS)("against mosquitto on $version", ({ version, maximumVersion, wrongIdentityAlert, wrongKeyAlert }) => {
    const options = { maximumVersion };

    it("opens by mTLS, with the key that never left C, and talks MQTT", async () => {
      const recorded = await connected(options, mtlsEndpoint(), mtls(chains["good"]!));
      expect(recorded.info).toMatchObject({ tlsVersion: version, resumed: false });
      await closed(recorded);
    });

    it("resumes by ticket with the same credential, and with no other", async () => {
      const own = { ...options, maximumFragmentBytes: 2048 } as const;
      const resumed: boolean[] = [];
      for (let turn = 0; turn < 3; turn++) {
        const recorded = await connected(own, mtlsEndpoint(), mtls(chains["good"]!));
        resumed.push(recorded.info!.resumed);
        await closed(recorded);
      }
      expect(resumed).toEqual([false, true, true]);
      const other = await connected(own, mtlsEndpoint(), mtls(await ca.clientChain(await xs.publicKey("key-a"), "dev1")));
      expect(other.info?.resumed).toBe(false);
      await closed(other);
    });

    it("does not resume when told not to", async () => {
      const plain = { ...options, resumption: false };
      await closed(await connected(plain, mtlsEndpoint(), mtls(chains["good"]!)));
      const second = await connected(plain, mtlsEndpoint(), mtls(chains["good"]!));
      expect(second.info?.resumed).toBe(false);
      await closed(second);
    });

    it.each(CERTIFICATE_ROWS)(
      "reports the alert for a certificate that is $what, and believes it when it is protected ($code, $alert)",
      async ({ what, code, alert }) => {
        const recorded = new RecordedLink(xs.dialer(options), mtlsEndpoint(), mtls(chains[what]!), {
          onOpened: (link) => link.write(connectPacket("dev1")),
        });
        // In TLS 1.3 the verdict comes after the handshake. In 1.2 it comes within it, in the clear: anybody could have sent it.
        const told = version === "TLSv1.3" ? { code, class: "credential", alert } : { code: "TLS_FAILED", class: "network", alert };
        expect(await recorded.ended).toMatchObject(told);
        expect(recorded.events).toEqual(version === "TLSv1.3" ? ["opened", "ended"] : ["ended"]);
      },
    );

    it("refuses a server of an unknown CA, and one that is not the host meant, whatever the server thinks of us", async () => {
      for (const chain of ["good", "expired"]) {
        const unknown = new RecordedLink(xs.dialer(options), mtlsEndpoint(), mtls(chains[chain]!, stranger.trustAnchors));
        expect(await unknown.ended).toMatchObject({ code: "SERVER_CA_UNKNOWN", class: "server-trust" });
        const misnamed = new RecordedLink(xs.dialer(options), { ...mtlsEndpoint(), serverName: "broker.example" }, mtls(chains[chain]!));
        expect(await misnamed.ended).toMatchObject({ code: "SERVER_NAME_MISMATCH", class: "server-trust" });
        expect([...unknown.events, ...misnamed.events]).toEqual(["ended", "ended"]);
      }
    });

    it("judges the server by serverName, not by the address dialled, and by an address when that is the name", async () => {
      await closed(await connected(options, { host: "127.0.0.1", port: mtlsPort, serverName: "localhost" }, mtls(chains["good"]!)));
      await closed(await connected(options, { host: "127.0.0.1", port: mtlsPort }, mtls(chains["good"]!)));
    });

    it("judges the server by trusted time, not by the machine's clock", async () => {
      await xs.setClock(24 * HOUR_MS);
      const late = new RecordedLink(xs.dialer(options), mtlsEndpoint(), mtls(chains["good"]!));
      expect(await late.ended).toMatchObject({ code: "SERVER_CERTIFICATE_EXPIRED", class: "server-trust" });
      await xs.setClock(-24 * HOUR_MS);
      const early = new RecordedLink(xs.dialer(options), mtlsEndpoint(), mtls(chains["good"]!));
      expect(await early.ended).toMatchObject({ code: "SERVER_CERTIFICATE_NOT_YET_VALID", class: "server-trust" });
      await xs.setClock(0);
    });

    it("opens by PSK and talks MQTT, twice, never resumed", async () => {
      for (let turn = 0; turn < 2; turn++) {
        const recorded = await connected(options, pskEndpoint(), { kind: "psk", slot: "psk", identity: "dev1" });
        expect(recorded.info).toMatchObject({ tlsVersion: version, resumed: false });
        expect(recorded.info?.cipher).toMatch(version === "TLSv1.3" ? /^TLS_(AES_128_GCM|CHACHA20_POLY1305)_SHA256$/ : /^ECDHE-PSK-/);
        await closed(recorded);
      }
    });

    it("reports a wrong PSK identity and a wrong PSK key as PSK_REJECTED", async () => {
      const wrongIdentity = new RecordedLink(xs.dialer(options), pskEndpoint(), { kind: "psk", slot: "psk", identity: "nobody" });
      expect(await wrongIdentity.ended).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert: wrongIdentityAlert });
      await xs.importPsk("psk", Buffer.alloc(32, 1));
      const wrongKey = new RecordedLink(xs.dialer(options), pskEndpoint(), { kind: "psk", slot: "psk", identity: "dev1" });
      expect(await wrongKey.ended).toMatchObject({ code: "PSK_REJECTED", class: "credential", alert: wrongKeyAlert });
      await xs.importPsk("psk", goodPsk);
    });

    it("takes it for a fault of the network when the broker leaves after bytes that are no MQTT", async () => {
      const recorded = new RecordedLink(xs.dialer(options), mtlsEndpoint(), mtls(chains["good"]!), {
        onOpened: (link) => link.write(Buffer.of(0xf0, 0)),
      });
      expect(await recorded.ended).toMatchObject({ class: "network" });
      expect(recorded.events[0]).toBe("opened");
    });
  });

  it("does not begin with a credential that cannot be used", async () => {
    const cases: [Credential, string][] = [
      [mtls([]), "CERTIFICATE_REQUIRED"],
      [mtls([new Uint8Array(10)]), "CERTIFICATE_REJECTED"],
      [mtls(chains["good"]!, [new Uint8Array(10)]), "SERVER_CA_UNKNOWN"],
      [mtls(chains["good"]!, ca.trustAnchors, "key-b"), "KEY_MISMATCH"],
      [mtls(chains["good"]!, ca.trustAnchors, "psk"), "KEY_MISSING"],
      [{ kind: "psk", slot: "key-a", identity: "dev1" }, "KEY_MISSING"],
    ];
    for (const [credential, code] of cases) {
      const recorded = new RecordedLink(xs.dialer(), { host: "127.0.0.1", port: 1 }, credential);
      expect(await recorded.ended).toMatchObject({ code });
    }
  });

  it("makes requests and signatures that prove the key, and lets no slot be used for what it is not", async () => {
    const publicKey = createPublicKey({ key: Buffer.from(await xs.publicKey("key-b")), format: "der", type: "spki" });
    const data = Buffer.from("to be signed");
    expect(verify("sha256", data, { key: publicKey, dsaEncoding: "ieee-p1363" }, await xs.sign("key-b", data))).toBe(true);
    expect((await xs.csr("key-b", "dev1")).length).toBeGreaterThan(200);
    await expect(xs.csr("psk", "dev1")).rejects.toMatchObject({ code: "KEY_MISSING" });
    expect(Buffer.from(await xs.mac("psk", data))).toEqual(createHmac("sha256", goodPsk).update(data).digest());
    await expect(xs.mac("key-b", data)).rejects.toMatchObject({ code: "KEY_MISSING" });
    expect([await xs.has("key-b"), await xs.has("psk")]).toEqual([true, true]);
    await xs.destroy("key-b");
    await xs.destroy("key-b");
    expect(await xs.has("key-b")).toBe(false);
    await expect(xs.sign("key-b", data)).rejects.toMatchObject({ code: "KEY_MISSING" });
    await xs.generate("key-b");
  });

  describe("against servers made to cheat", () => {
    const servers: Server[] = [];
    afterEach(async () => {
      for (const each of servers.splice(0)) await new Promise((resolve) => each.close(resolve));
    });

    async function serve(made: Server): Promise<Endpoint> {
      servers.push(made);
      made.listen(0, "127.0.0.1");
      await once(made, "listening");
      return { host: "localhost", port: (made.address() as AddressInfo).port };
    }
    const tlsServer = (options: TlsOptions): Promise<Endpoint> => serve(createTlsServer(options).on("tlsClientError", () => undefined));

    it.each(["TLSv1.3", "TLSv1.2"] as const)(
      "on %s refuses a self-signed leaf before a good chain, a missing intermediate, and dates that do not hold",
      async (version) => {
        const fake = await (await TestCa.create("Fake")).server(["localhost"]);
        const cases: [TlsOptions, string][] = [
          [{ cert: fake.leafPem + server.chainPem, key: fake.keyPem }, "SERVER_CA_UNKNOWN"],
          [{ cert: server.leafPem, key: server.keyPem }, "SERVER_CA_UNKNOWN"],
          [pair(await ca.server(["localhost"], EXPIRED)), "SERVER_CERTIFICATE_EXPIRED"],
          [pair(await ca.server(["localhost"], NOT_YET_VALID)), "SERVER_CERTIFICATE_NOT_YET_VALID"],
          [pair(await ca.server(["other.example"])), "SERVER_NAME_MISMATCH"],
        ];
        for (const [options, code] of cases) {
          const recorded = new RecordedLink(
            xs.dialer(),
            await tlsServer({ ...options, minVersion: version, maxVersion: version }),
            mtls(chains["good"]!),
          );
          expect(await recorded.ended).toMatchObject({ code, class: "server-trust" });
          expect(recorded.events).toEqual(["ended"]);
        }
      },
    );

    const ALERTS = [20, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 51, 115, 116, 120];

    it.each(["TLSv1.3", "TLSv1.2"] as const)(
      "on %s believes no stranger's alert about our certificate, and says of each what Node says",
      async (version) => {
        const keys = memoryKeyStore();
        keys.generate("key-a");
        keys.importPsk("psk", goodPsk);
        const nodeChain = await ca.clientChain(keys.publicKey("key-a"), "dev1");
        const dialers = [
          xs.dialer({ maximumVersion: version === "TLSv1.3" ? 0x0304 : 0x0303 }),
          new NodeDialer(keys, { maxTlsVersion: version }),
        ] as const;
        for (const alert of ALERTS) {
          const stranger = await serve(
            createServer(
              (socket) => void socket.on("error", () => undefined).once("data", () => socket.end(Buffer.of(21, 3, 3, 0, 2, 2, alert))),
            ),
          );
          const ends = await Promise.all(
            dialers.flatMap((dialer, at) => [
              new RecordedLink(dialer, stranger, mtls(at === 0 ? chains["good"]! : nodeChain)).ended,
              new RecordedLink(dialer, stranger, { kind: "psk", slot: "psk", identity: "dev1" }).ended,
            ]),
          );
          const [onXs, pskOnXs, onNode, pskOnNode] = ends.map(({ code, class: kind, alert: told }) => ({ code, class: kind, alert: told }));
          expect(onXs).toEqual({ code: "TLS_FAILED", class: "network", alert });
          expect(onNode).toEqual(onXs);
          expect(pskOnXs).toEqual(pskOnNode);
        }
      },
    );

    it("judges the server by the time that the endpoint names, before trusted time", async () => {
      const endpoint = await tlsServer(pair(server));
      const ofTime = (validAtMs: number): RecordedLink => new RecordedLink(xs.dialer(), { ...endpoint, validAtMs }, mtls(chains["good"]!));
      expect(await ofTime(Date.now() + 24 * HOUR_MS).ended).toMatchObject({ code: "SERVER_CERTIFICATE_EXPIRED" });
      expect(await ofTime(Date.now() - 24 * HOUR_MS).ended).toMatchObject({ code: "SERVER_CERTIFICATE_NOT_YET_VALID" });
      expect(await ofTime(1e300).ended).toMatchObject({ code: "TLS_FAILED" });
      await xs.setClock(24 * HOUR_MS);
      const rightful = ofTime(Date.now());
      await rightful.opened;
      await xs.setClock(0);
      await closed(rightful);
    });

    it("ends within the time limit when a server says nothing, and at once when it is no TLS", async () => {
      const deaf = await serve(createServer((socket) => void socket.on("error", () => undefined).resume()));
      const waiting = new RecordedLink(xs.dialer(), deaf, mtls(chains["good"]!), { timeoutMs: 300 });
      expect(await waiting.ended).toMatchObject({ code: "CONNECT_TIMEOUT", class: "network" });
      const babbling = await serve(
        createServer(
          (socket) =>
            void socket
              .on("error", () => undefined)
              .resume()
              .end("HTTP/1.1 400 Bad Request\r\n\r\n"),
        ),
      );
      expect(await new RecordedLink(xs.dialer(), babbling, mtls(chains["good"]!)).ended).toMatchObject({
        code: "TLS_FAILED",
        class: "network",
      });
    });
  });
});

function pair(made: { chainPem: string; keyPem: string }): TlsOptions {
  return { cert: made.chainPem, key: made.keyPem };
}
