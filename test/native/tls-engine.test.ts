/** The native TLS engine against a real mosquitto, under AddressSanitizer: who is let in, and what a refusal looks like. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONNACK, type ConnectionSettings, Kind, mqttConnect, State, TLS_1_2, TLS_1_3, Verify } from "./harness.js";
import { makeIdentity } from "./native-certificates.js";
import { createWorld, mtls, psk, type World } from "./native-world.js";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world?.stop());

function anonymous(more: Partial<ConnectionSettings>): ConnectionSettings {
  const { keySlot: _none, ...settings } = mtls(world, { ...more, chain: [] });
  return settings;
}

const VERSIONS = [
  { name: "TLS 1.3", version: TLS_1_3 },
  { name: "TLS 1.2", version: TLS_1_2 },
];

describe.each(VERSIONS)("over $name", ({ version }) => {
  const only = { minimum: version, maximum: version };
  const is13 = version === TLS_1_3;

  it("connects with a certificate whose key never leaves PSA", async () => {
    const result = await world.device.connectOnce(mtls(world, only));
    expect(result).toMatchObject({ state: State.open, opened: true, kind: Kind.none, alert: -1, version, resumed: false, head: CONNACK });
    // The choice is the server's: OpenSSL ranks AES-256 before ChaCha20 before AES-128.
    expect(result.cipherSuite).toBe(is13 ? 0x1302 : 0xcca9);
  });

  it("connects with a pre-shared key and forward secrecy", async () => {
    const result = await world.device.connectOnce(psk(world, only));
    expect(result).toMatchObject({ state: State.open, opened: true, version, resumed: false, head: CONNACK });
    expect(result.cipherSuite).toBe(is13 ? 0x1303 : 0xccac);
  });

  it("sends its last flight in one piece, so that no alert is lost behind a closed socket", async () => {
    expect((await world.device.connectOnce(mtls(world, only))).flights).toBe(2);
    expect((await world.device.connectOnce(psk(world, only))).flights).toBe(2);
  });

  // The alert table of a real broker: TLS 1.3 gives its verdict after the handshake, 1.2 within it, where anybody could have sent it.
  const refusals: [string, () => ConnectionSettings, number][] = [
    ["an expired client certificate", () => mtls(world, { ...only, chain: [world.client.expired.der, world.issuing.der] }), 45],
    ["a client certificate not yet valid", () => mtls(world, { ...only, chain: [world.client.future.der, world.issuing.der] }), 42],
    ["a revoked client certificate", () => mtls(world, { ...only, chain: [world.client.revoked.der, world.issuing.der] }), 44],
    ["a client certificate of an unknown CA", () => mtls(world, { ...only, chain: [world.client.stranger.der] }), 48],
    ["no client certificate", () => anonymous(only), is13 ? 116 : 40],
  ];
  it.each(refusals)("reports the alert for %s", async (_case, settings, alert) => {
    const result = await world.device.connectOnce(settings());
    expect(result).toMatchObject({ state: State.failed, kind: Kind.alert, alert, serverProved: is13, opened: is13, received: 0 });
  });

  it("reports the alert for a wrong PSK identity", async () => {
    const result = await world.device.connectOnce(psk(world, { ...only, psk: { slot: "psk", identity: "nobody" } }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.alert, alert: is13 ? 40 : 115, opened: false });
  });

  it("reports the alert for a wrong PSK", async () => {
    await world.device.keys("psk", "key-b", "00".repeat(32));
    const result = await world.device.connectOnce(psk(world, { ...only, psk: { slot: "key-b", identity: "device-1" } }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.alert, alert: is13 ? 47 : 20, opened: false });
  });

  it("refuses a server of an unknown CA", async () => {
    const other = await makeIdentity({ name: "Other Root", authority: true });
    const result = await world.device.connectOnce(mtls(world, { ...only, anchors: [other.der] }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.verify, verifyFlags: Verify.caUnknown, opened: false });
  });

  it("refuses a server with another name", async () => {
    const result = await world.device.connectOnce(mtls(world, { ...only, name: "broker.example" }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.verify, verifyFlags: Verify.nameMismatch, opened: false });
  });

  it("resumes with the ticket of the connection before, each ticket once", async () => {
    const same = mtls(world, { ...only, session: true });
    const results = await world.device.connect(same, same, same);
    expect(results.map(({ resumed, head }) => ({ resumed, head }))).toEqual([
      { resumed: false, head: CONNACK },
      { resumed: true, head: CONNACK },
      { resumed: true, head: CONNACK },
    ]);
  });

  it("never resumes on a pre-shared key", async () => {
    const same = psk(world, { ...only, session: true });
    const results = await world.device.connect(same, same, same);
    expect(results.map(({ resumed, head }) => ({ resumed, head }))).toEqual(Array(3).fill({ resumed: false, head: CONNACK }));
  });
});

describe("versions and suites", () => {
  it("prefers TLS 1.3 when both are allowed", async () => {
    expect(await world.device.connectOnce(mtls(world))).toMatchObject({ opened: true, version: TLS_1_3 });
  });

  it("stays at TLS 1.2 when only suites of 1.2 are set", async () => {
    const result = await world.device.connectOnce(mtls(world, { suites: [0xcca9] }));
    expect(result).toMatchObject({ opened: true, version: TLS_1_2, cipherSuite: 0xcca9, head: CONNACK });
  });

  it("stays at TLS 1.3 when only suites of 1.3 are set", async () => {
    const result = await world.device.connectOnce(mtls(world, { suites: [0x1303] }));
    expect(result).toMatchObject({ opened: true, version: TLS_1_3, cipherSuite: 0x1303, head: CONNACK });
  });

  it.each([
    ["suites that no allowed version has", { suites: [0x1301], maximum: TLS_1_2 }],
    ["a minimum above the maximum", { minimum: TLS_1_3, maximum: TLS_1_2 }],
    ["a version that does not exist", { maximum: 0x0305 }],
    ["a fragment size that does not exist", { fragment: 1000 }],
    ["an empty server name", { name: "" }],
    ["no trust anchor", { anchors: [] }],
    ["a certificate that is none", { chain: [Uint8Array.of(0x30, 1, 0)] }],
    ["a key without its chain", { chain: [] }],
    ["a PSK beside a certificate", { psk: { slot: "psk", identity: "device-1" } }],
    ["more suites than there is room for", { suites: Array<number>(13).fill(0x1301) }],
  ])("refuses %s before a byte is sent", async (_case, more) => {
    const result = await world.device.connectOnce(mtls(world, more));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.configuration, flights: 0 });
  });
});

describe("keys", () => {
  it("says that the key is missing when its slot is empty", async () => {
    const result = await world.device.connectOnce(psk(world, { psk: { slot: "key-a", identity: "device-1" } }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.keyMissing, flights: 0 });
    expect(await world.device.connectOnce(mtls(world, { keySlot: "psk" }))).toMatchObject({ kind: Kind.keyMissing, flights: 0 });
  });

  it("says that the key is not the certificate's before anything is sent", async () => {
    const other = await makeIdentity({ name: "device-1", issuer: world.issuing });
    const result = await world.device.connectOnce(mtls(world, { chain: [other.der, world.issuing.der] }));
    expect(result).toMatchObject({ state: State.failed, kind: Kind.keyMismatch, flights: 0 });
  });
});

describe("volume", () => {
  const PAYLOAD_BYTES = 200_000;

  /** CONNECT, SUBSCRIBE to `t`, and the head of a PUBLISH (QoS 0) to `t` whose payload the harness makes. */
  function echo(more: Partial<ConnectionSettings>): ConnectionSettings {
    const rest = 3 + PAYLOAD_BYTES;
    const length = [(rest & 0x7f) | 0x80, ((rest >> 7) & 0x7f) | 0x80, rest >> 14];
    const publish = Buffer.from([0x30, ...length, 0, 1, 0x74]);
    const subscribe = Buffer.from([0x82, 6, 0, 1, 0, 1, 0x74, 0]);
    const send = Buffer.concat([mqttConnect("volume"), subscribe, publish]);
    return mtls(world, { send, bulkBytes: PAYLOAD_BYTES, wantBytes: 4 + 5 + publish.length + PAYLOAD_BYTES, ...more });
  }

  it.each(VERSIONS)("carries 200 KB both ways in small records over $name", async ({ version }) => {
    // The hello must offer 1.2 too: Mbed TLS sends the fragment's extension only then, and OpenSSL minds it in both versions.
    for (const fragment of [1024, 4096]) {
      const result = await world.device.connectOnce(echo({ maximum: version, fragment }));
      expect(result).toMatchObject({ opened: true, state: State.open, version, received: 4 + 5 + 7 + PAYLOAD_BYTES });
    }
  });

  it.each(VERSIONS)(
    "takes records of 16 KiB from a server that was not asked for small ones, and keeps no room for them, over $name",
    async ({ version }) => {
      const large = await world.device.connectOnce(echo({ minimum: version, maximum: version, fragment: 0 }));
      expect(large).toMatchObject({ opened: true, state: State.open, version, received: 4 + 5 + 7 + PAYLOAD_BYTES });
      const small = await world.device.connectOnce(mtls(world, { minimum: version, maximum: version, fragment: 0 }));
      expect(large.liveAfterHandshake).toBe(small.liveAfterHandshake);
    },
  );
});
