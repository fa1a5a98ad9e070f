/** What most native tests share: an authority, a broker, and a native device with a key, certificates of every state, and a PSK. */
import { randomBytes } from "node:crypto";
import { type Certificate, type Identity, certify, makeIdentity, revoke } from "./native-certificates.js";
import { type ConnectionSettings, CONNACK, mqttConnect, NativeDevice } from "./harness.js";
import { type Mosquitto, startMosquitto } from "./servers.js";

const DAY_MS = 86_400_000;
export const PSK_IDENTITY = "device-1";

export interface World {
  device: NativeDevice;
  root: Identity;
  issuing: Identity;
  server: Identity;
  client: { good: Certificate; expired: Certificate; future: Certificate; revoked: Certificate; stranger: Certificate };
  broker: Mosquitto;
  stop(): Promise<void>;
}

/** Settings of a connection that works over mTLS: CONNECT out, CONNACK back. */
export function mtls(world: World, more: Partial<ConnectionSettings> = {}): ConnectionSettings {
  return {
    port: world.broker.mtlsPort,
    anchors: [world.root.der],
    chain: [world.client.good.der, world.issuing.der],
    keySlot: "key-a",
    send: mqttConnect("device-1"),
    wantBytes: CONNACK.length / 2,
    ...more,
  };
}

/** The same over the PSK listener. */
export function psk(world: World, more: Partial<ConnectionSettings> = {}): ConnectionSettings {
  return {
    port: world.broker.pskPort,
    psk: { slot: "psk", identity: PSK_IDENTITY },
    send: mqttConnect("device-1"),
    wantBytes: CONNACK.length / 2,
    ...more,
  };
}

export async function createWorld(options: { bits?: 32 | 64; sanitize?: boolean } = { sanitize: true }): Promise<World> {
  const root = await makeIdentity({ name: "Native Root", authority: true });
  const issuing = await makeIdentity({ name: "Native Issuing", authority: true, issuer: root });
  const elsewhere = await makeIdentity({ name: "Elsewhere Root", authority: true });
  const server = await makeIdentity({ name: "localhost", server: true, addresses: ["127.0.0.1"], issuer: issuing });
  const device = await NativeDevice.create(options);
  const pskHex = randomBytes(32).toString("hex");
  await device.keys("generate", "key-a");
  await device.keys("psk", "psk", pskHex);
  const { bytes: spki } = await device.keys("public", "key-a");
  const client = {
    good: await certify(spki, { name: "device-1", issuer: issuing }),
    expired: await certify(spki, { name: "device-1", issuer: issuing, notBefore: Date.now() - 2 * DAY_MS, notAfter: Date.now() - DAY_MS }),
    future: await certify(spki, { name: "device-1", issuer: issuing, notBefore: Date.now() + DAY_MS }),
    revoked: await certify(spki, { name: "device-1", issuer: issuing }),
    stranger: await certify(spki, { name: "device-1", issuer: elsewhere }),
  };
  const broker = await startMosquitto({
    clientAnchorsPem: root.pem,
    crlPem: await revoke(issuing, [client.revoked.serial]),
    serverChainPem: server.pem + issuing.pem,
    serverKeyPem: server.keyPem,
    psks: { [PSK_IDENTITY]: pskHex },
  }).catch(async (error: unknown) => {
    await device.remove();
    throw error;
  });
  return {
    device,
    root,
    issuing,
    server,
    client,
    broker,
    async stop() {
      await broker.stop();
      await device.remove();
    },
  };
}
