/** A thief of a device's key or of a client's against the embedded broker, as `hawser broker run` runs it. */
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import type { BrokerEvent } from "../../sim/brokers/broker-events.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import type { BrokerEngine } from "../../host-tools/cli/foreground-broker/broker-engine.js";
import { startEmbedded } from "../../host-tools/cli/foreground-broker/embedded-engine.js";
import { provisionDevice, Scene, testKey, type TestDevice } from "../support/host-tools/scene.js";
import { pskTls } from "../support/host-tools/psk-client.js";

type Shown = Pick<TestDevice, "keyPem" | "chainPem" | "trustAnchorPem">;

const scene = new Scene();
const events: BrokerEvent[] = [];
let ca: CertificateAuthority;
let broker: BrokerEngine;

beforeEach(async () => {
  events.length = 0;
  ca = await scene.ca();
  broker = await startEmbedded(ca, { mtlsPort: 0, pskPort: 0 }, (event) => events.push(event));
});
afterEach(async () => {
  await scene.clean();
  await broker.stop();
});

/** Does what changes the CA, and has the broker follow, as it does by itself when it watches the directory. */
async function changed<T>(work: () => Promise<T>): Promise<T> {
  const result = await work();
  await broker.reload();
  return result;
}

function connect(options: IClientOptions): Promise<MqttClient> {
  const client = scene.client(mqtt.connect({ protocol: "mqtts", host: "localhost", protocolVersion: 4, reconnectPeriod: 0, ...options }));
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.on("error", reject);
    client.once("close", () => reject(new Error("closed")));
  });
}

const byCertificate = ({ keyPem, chainPem, trustAnchorPem }: Shown, clientId: string): Promise<MqttClient> =>
  connect({ port: broker.mtlsPort, key: keyPem, cert: chainPem, ca: trustAnchorPem, clientId });

function byPsk({ id, psk }: TestDevice): Promise<MqttClient> {
  const identity = recoveryIdentity(id);
  return connect({ port: broker.pskPort, clientId: identity, ...pskTls(psk, identity) });
}

const ended = (client: MqttClient): Promise<void> => new Promise((resolve) => void client.once("close", () => resolve()));

describe("a thief on the embedded broker", () => {
  it("is out on both ports once the device is revoked, under every client id he may use", async () => {
    const device = await changed(() => provisionDevice(ca, "victim"));
    const sessions = [await byCertificate(device, "victim"), await byCertificate(device, "victim~lurker"), await byPsk(device)];
    const over = Promise.all(sessions.map(ended));
    await changed(() => ca.revoke({ id: "victim", reason: "keyCompromise" }));
    await over;
    await expect(byCertificate(device, "victim~2")).rejects.toThrow();
    await expect(byPsk(device)).rejects.toThrow();
  });

  it("is out once the device is replaced, or retires the stolen certificate, and the new holder is let in", async () => {
    const device = await changed(() => provisionDevice(ca, "victim"));
    const first = await byCertificate(device, "victim~lurker");
    const firstOver = ended(first);
    const next = await changed(() => provisionDevice(ca, "victim", true));
    await firstOver;
    const second = await byCertificate(next, "victim~lurker");
    const secondOver = ended(second);
    const { keyPem, csr } = await testKey("victim");
    const { chain, serial } = await ca.issueFromCsr("victim", csr);
    await changed(() => ca.retireOlder("victim", serial));
    await secondOver;
    const chainPem = chain
      .map((der) => `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`)
      .join("");
    expect((await byCertificate({ ...next, keyPem, chainPem }, "victim")).connected).toBe(true);
  });

  it("is out once a client's credentials are replaced", async () => {
    const stolen = await changed(() => ca.issueClient({ name: "operator-1", role: "operator" }));
    const spy = await byCertificate(stolen, "spy");
    const over = ended(spy);
    await changed(() => ca.issueClient({ name: "operator-1", role: "operator", replace: true }));
    await over;
    await expect(byCertificate(stolen, "spy")).rejects.toThrow();
  });

  it("cannot use the client id of another, and leaves nothing retained", async () => {
    const device = await changed(() => provisionDevice(ca, "thief"));
    await changed(() => provisionDevice(ca, "victim"));
    for (const clientId of ["victim", "victim~recovery", "hawser-authority"])
      await expect(byCertificate(device, clientId)).rejects.toThrow();
    const operator = await changed(() => ca.issueClient({ name: "operator-1", role: "operator" }));
    const thief = await byCertificate(device, "thief");
    await thief.publishAsync("devices/thief/identity/request", "for later", { qos: 1, retain: true });
    await thief.publishAsync("devices/thief/up/x", "now", { qos: 1 });
    const reader = await byCertificate(operator, "reader");
    const seen: [string, boolean][] = [];
    reader.on("message", (topic, _payload, { retain }) => seen.push([topic, retain]));
    await reader.subscribeAsync("devices/#", { qos: 1 });
    const told = new Promise((resolve) => reader.once("message", resolve));
    await thief.publishAsync("devices/thief/up/y", "last", { qos: 1 });
    await told;
    expect(seen).toEqual([["devices/thief/up/y", false]]);
  });
});
