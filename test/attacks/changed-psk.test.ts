/** Whoever has copied a device's pre-shared key is out when the device changes it: his session ends, and no broker takes the key again. */
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { startEmbedded } from "../../host-tools/cli/foreground-broker/embedded-engine.js";
import { saltedPsk, toldSalt } from "../support/host-tools/salted-psk.js";
import { pskOptions } from "../support/host-tools/psk-client.js";
import { freePorts, provisionDevice, Scene, testKey } from "../support/host-tools/scene.js";

const ID = "victim";
const scene = new Scene();
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await scene.clean();
});

interface Broker {
  pskPort: number;
  /** The broker has followed the last change. */
  follow: () => Promise<unknown>;
}

async function mosquitto(ca: CertificateAuthority): Promise<Broker> {
  const [mtlsPort, pskPort] = await freePorts();
  const out = join(scene.directory(), "broker");
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "127.0.0.1", user: "root" });
  await scene.mosquitto(configFile);
  return { pskPort, follow: () => Promise.resolve() };
}

async function embedded(ca: CertificateAuthority): Promise<Broker> {
  const broker = await startEmbedded(ca, { mtlsPort: 0, pskPort: 0 }, () => undefined);
  undo.push(() => broker.stop());
  return { pskPort: broker.pskPort, follow: () => broker.reload() };
}

function byPsk(port: number, psk: Uint8Array, identity = recoveryIdentity(ID)): Promise<MqttClient> {
  const client = scene.client(mqtt.connect(pskOptions("127.0.0.1", port, psk, identity)));
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.on("error", reject);
    client.once("close", () => reject(new Error("closed")));
  });
}

const ended = (client: MqttClient): Promise<void> => new Promise((resolve) => void client.once("close", () => resolve()));

describe.each([
  ["mosquitto", mosquitto],
  ["the embedded broker", embedded],
])("a copy of a pre-shared key, on %s", (_name, start) => {
  it("is worth nothing once the device has reported another salt, and neither is a copy of the next one", async () => {
    const ca = await scene.ca({}, { onOutput: () => undefined });
    const { psk } = await provisionDevice(ca, ID);
    const { pskPort, follow } = await start(ca);
    let copy: Uint8Array = psk;
    for (const salt of ["5a".repeat(16), "5b".repeat(16)]) {
      const thief = await byPsk(pskPort, copy);
      // Devices of earlier versions show the plain name.
      const plain = await byPsk(pskPort, copy, ID);
      const over = Promise.all([thief, plain].map(ended));
      const { serial } = await ca.issueFromCsr(ID, (await testKey(ID)).csr);
      await ca.retireOlder(ID, serial, { salt: toldSalt(psk, salt) });
      await follow();
      await over;
      const next = saltedPsk(psk, salt);
      for (const old of [psk, copy]) await expect(byPsk(pskPort, old)).rejects.toThrow();
      expect((await byPsk(pskPort, next)).connected).toBe(true);
      copy = next;
    }
  }, 60_000);
});
