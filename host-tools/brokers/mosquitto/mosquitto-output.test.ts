/** A generated configuration in the real mosquitto. */
import { chmodSync, readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import mqtt from "mqtt";
import type { IClientOptions, MqttClient, Packet } from "mqtt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { recoveryIdentity } from "../../../sdk/identity/device-id.js";
import { openCa } from "../../ca/certificate-authority.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { pemChain } from "../../ca/context.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene, testKey } from "../../../test/support/host-tools/scene.js";
import type { Mosquitto, TestDevice } from "../../../test/support/host-tools/scene.js";
import type { WrittenBrokerConfig } from "../../ca/broker-configs.js";

const scene = new Scene();
let ca: CertificateAuthority;
let broker: Mosquitto;
let written: WrittenBrokerConfig;
let configFile: string;
let mtlsPort: number;
let pskPort: number;

type Shown = Pick<TestDevice, "keyPem" | "chainPem" | "trustAnchorPem">;

beforeAll(async () => {
  ca = await scene.ca();
  [mtlsPort, pskPort] = await freePorts();
  const parent = scene.directory();
  // Lets mosquitto, when these tests run as root, drop to its own user.
  chmodSync(parent, 0o755);
  written = await ca.writeBrokerConfig({ engine: "mosquitto", out: join(parent, "broker"), mtlsPort, pskPort, bind: "127.0.0.1" });
  configFile = written.configFile;
  broker = await scene.mosquitto(configFile);
});

afterAll(() => scene.clean());

/** Resolves with the client when it is connected. */
function connect(
  options: IClientOptions & Pick<ConnectionOptions, "ciphers" | "maxVersion" | "pskCallback" | "checkServerIdentity">,
): Promise<MqttClient> {
  const all: IClientOptions = { protocol: "mqtts", host: "localhost", protocolVersion: 5, reconnectPeriod: 0, clean: true, ...options };
  const client = scene.client(mqtt.connect(all));
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed")));
  });
}

const byCertificate = (shown: Shown, more: IClientOptions = {}): Promise<MqttClient> =>
  connect({ port: mtlsPort, key: shown.keyPem, cert: shown.chainPem, ca: shown.trustAnchorPem, ...more });

const byPsk = (device: TestDevice, psk: Buffer = device.psk, clientId = recoveryIdentity(device.id)): Promise<MqttClient> =>
  connect({
    clientId,
    port: pskPort,
    ciphers: "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256",
    maxVersion: "TLSv1.2",
    pskCallback: () => ({ identity: recoveryIdentity(device.id), psk }),
    checkServerIdentity: () => undefined,
  });

/** The reason code of the PUBACK: 0 or 16 (no subscriber) when allowed, 135 when not. */
function publish(client: MqttClient, topic: string): Promise<number> {
  return new Promise((resolve, reject) => {
    client.publish(topic, "x", { qos: 1 }, (error, packet?: Packet) => {
      const code =
        (error as { code?: unknown } | null | undefined)?.code ?? (packet as { reasonCode?: number } | undefined)?.reasonCode ?? 0;
      if (typeof code === "number") resolve(code);
      else reject(error as Error);
    });
  });
}

/** Connects with a session and waits for as many messages, which may come right behind CONNACK. */
function firstMessages(shown: Shown, session: IClientOptions, count: number): Promise<string[]> {
  const all: IClientOptions = { protocol: "mqtts", host: "localhost", port: mtlsPort, protocolVersion: 5, reconnectPeriod: 0, ...session };
  const client = scene.client(mqtt.connect({ ...all, key: shown.keyPem, cert: shown.chainPem, ca: shown.trustAnchorPem }));
  const topics: string[] = [];
  return new Promise((resolve, reject) => {
    client.on("message", (topic) => topics.push(topic) === count && resolve(topics));
    client.once("error", reject);
  });
}

const ended = (client: MqttClient): Promise<void> => new Promise((resolve) => client.once("close", () => resolve()));
const DENIED = 135;

describe("a generated mosquitto configuration", () => {
  it("lets a device and a backend talk, and keeps each to its own topics", async () => {
    const device = await provisionDevice(ca, "dev1");
    const backend = await ca.issueClient({ name: "backend1", role: "backend" });
    const watcher = await byCertificate(backend);
    await watcher.subscribeAsync("devices/+/up/#", { qos: 1 });
    const seen: string[] = [];
    watcher.on("message", (topic) => seen.push(topic));
    const client = await byCertificate(device);
    expect(await publish(client, "devices/dev1/up/temperature")).toBe(0);
    expect(await publish(client, "devices/dev2/up/temperature")).toBe(DENIED);
    expect(await publish(client, "devices/dev1/down/x")).toBe(DENIED);
    expect(await publish(watcher, "devices/dev1/down/led")).not.toBe(DENIED);
    expect(await publish(watcher, "devices/dev1/up/temperature")).toBe(DENIED);
    expect(await publish(client, "devices/dev1/up/last")).toBe(0);
    expect(seen).toEqual(["devices/dev1/up/temperature", "devices/dev1/up/last"]);
  });

  it("refuses clients without a certificate, with one of another CA, and plain text", async () => {
    const stranger = await provisionDevice(await scene.ca(), "dev1");
    const { trustAnchorPem } = await provisionDevice(ca, "dev-anchor");
    await expect(connect({ port: mtlsPort, ca: trustAnchorPem })).rejects.toThrow();
    await expect(byCertificate({ ...stranger, trustAnchorPem })).rejects.toThrow();
    await expect(connect({ protocol: "mqtt", port: mtlsPort })).rejects.toThrow();
    await expect(connect({ protocol: "mqtt", port: pskPort })).rejects.toThrow();
  });

  it("makes a client's name its client id, whatever it calls itself", async () => {
    const first = await byCertificate(await ca.issueClient({ name: "tool-1", role: "backend" }));
    const one = await provisionDevice(ca, "dev-one");
    const two = await byCertificate(await provisionDevice(ca, "dev-two"), { clientId: "dev-two" });
    const before = await byCertificate(one, { clientId: "dev-two" });
    const over = ended(before);
    await byCertificate(one, { clientId: "tool-1" });
    await over;
    expect(await publish(first, "devices/dev-one/down/x")).not.toBe(DENIED);
    expect(await publish(two, "devices/dev-two/up/x")).not.toBe(DENIED);
  });

  it("gives the recovery scope and nothing else on the PSK port, to the right key only", async () => {
    const device = await provisionDevice(ca, "dev-psk");
    const client = await byPsk(device);
    expect(await publish(client, "devices/dev-psk/identity/request")).not.toBe(DENIED);
    expect(await publish(client, "devices/dev-psk/up/temperature")).toBe(DENIED);
    expect(await publish(client, "devices/dev1/identity/request")).toBe(DENIED);
    await expect(byPsk(device, Buffer.alloc(32))).rejects.toThrow();
    await expect(byPsk({ ...device, id: "nobody" })).rejects.toThrow();
  });

  it("cuts a revoked device off at once, on both ports, without a restart", async () => {
    const device = await provisionDevice(ca, "dev-out");
    const client = await byCertificate(device, { clientId: "dev-out" });
    const over = ended(client);
    const { brokers, serials } = await ca.revoke({ id: "dev-out", reason: "key-compromise" });
    expect(serials).toEqual([device.serial]);
    expect(brokers).toMatchObject([{ directory: expect.stringContaining("broker"), loaded: true, ended: ["dev-out"], held: [] }]);
    await over;
    await expect(byCertificate(device)).rejects.toThrow();
    await expect(byPsk(device)).rejects.toThrow();
    expect(statSync(configFile).isFile()).toBe(true);
  });

  it("ends a client's session when it is revoked or replaced, whatever it called itself, and lets the new holder in", async () => {
    const backend = await ca.issueClient({ name: "backend-out", role: "backend" });
    const client = await byCertificate(backend, { clientId: "some-other-name" });
    expect(await publish(client, "devices/dev1/down/x")).not.toBe(DENIED);
    const over = ended(client);
    const next = await ca.issueClient({ name: "backend-out", role: "backend", replace: true });
    await over;
    await expect(byCertificate(backend)).rejects.toThrow();
    const another = await byCertificate(next, { clientId: "yet-another" });
    expect(await publish(another, "devices/dev1/down/x")).not.toBe(DENIED);
    const overAgain = ended(another);
    await ca.revoke({ id: "backend-out" });
    await overAgain;
    await expect(byCertificate(next)).rejects.toThrow();
  });

  it("lets a device whose certificate alone was revoked recover over PSK and return with a new one", async () => {
    const device = await provisionDevice(ca, "dev-back");
    const first = await byCertificate(device, { clientId: "dev-back" });
    const over = ended(first);
    await ca.revoke({ id: "dev-back", certificateOnly: true });
    await over;
    await expect(byCertificate(device)).rejects.toThrow();
    expect(await publish(await byPsk(device), "devices/dev-back/identity/request")).not.toBe(DENIED);
    const { keyPem, csr } = await testKey("dev-back");
    const { chain } = await ca.issueFromCsr("dev-back", csr);
    const back = await byCertificate({ ...device, keyPem, chainPem: pemChain(chain) });
    expect(await publish(back, "devices/dev-back/up/x")).not.toBe(DENIED);
  });

  it("loses nothing of what a live device publishes while its certificate is revoked, in 3.1.1 where a denial cannot be told", async () => {
    const device = await provisionDevice(ca, "dev-busy");
    const operator = await byCertificate(await ca.issueClient({ name: "operator-busy", role: "operator" }));
    const heard = new Set<string>();
    operator.on("message", (_, payload) => heard.add(payload.toString()));
    await operator.subscribeAsync("devices/dev-busy/up/#", { qos: 1 });
    const live = await byCertificate(device, { clientId: "dev-busy", protocolVersion: 4 });
    const over = ended(live);
    const acknowledged: string[] = [];
    let count = 0;
    const timer = setInterval(() => {
      const text = String(++count);
      live.publish("devices/dev-busy/up/x", text, { qos: 1 }, (error) => error ?? acknowledged.push(text));
    }, 5);
    await ca.revoke({ id: "dev-busy", certificateOnly: true });
    await over;
    clearInterval(timer);
    // What was routed before the cut comes before this.
    await operator.publishAsync("devices/dev-busy/down/x", "end", { qos: 1 });
    await operator.unsubscribeAsync("devices/dev-busy/up/#");
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(acknowledged.filter((text) => !heard.has(text))).toEqual([]);
    expect(readFileSync(join(configFile, "..", "mtls.acl"), "utf8")).not.toContain("user dev-busy");
  });

  it("keeps for a device in recovery what is queued for it, and what comes meanwhile", async () => {
    const device = await provisionDevice(ca, "dev-session");
    const session = { clean: false, properties: { sessionExpiryInterval: 0xffff_ffff }, clientId: "dev-session" };
    const first = await byCertificate(device, session);
    await first.subscribeAsync("devices/dev-session/down/#", { qos: 1 });
    await first.endAsync();
    const operator = await byCertificate(await ca.issueClient({ name: "operator-session", role: "operator" }));
    expect(await publish(operator, "devices/dev-session/down/before")).toBe(0);
    await ca.revoke({ id: "dev-session", certificateOnly: true });
    expect(await publish(operator, "devices/dev-session/down/meanwhile")).toBe(0);
    const { keyPem, csr } = await testKey("dev-session");
    const { chain } = await ca.issueFromCsr("dev-session", csr);
    const topics = await firstMessages({ ...device, keyPem, chainPem: pemChain(chain) }, session, 2);
    expect(topics).toEqual(["devices/dev-session/down/before", "devices/dev-session/down/meanwhile"]);
  });

  it("keeps what comes for a device that is offline while the CA changes", async () => {
    const device = await provisionDevice(ca, "dev-away");
    const session = { clean: false, properties: { sessionExpiryInterval: 0xffff_ffff }, clientId: "dev-away" };
    const first = await byCertificate(device, session);
    await first.subscribeAsync("devices/dev-away/down/#", { qos: 1 });
    await first.endAsync();
    await ca.renewCrl();
    const operator = await byCertificate(await ca.issueClient({ name: "operator-away", role: "operator" }));
    expect(await publish(operator, "devices/dev-away/down/led")).toBe(0);
    expect(await firstMessages(device, session, 1)).toEqual(["devices/dev-away/down/led"]);
  });

  it("leaves no session behind for a device that had none", async () => {
    const device = await provisionDevice(ca, "dev-fresh");
    await ca.revoke({ id: "dev-fresh", certificateOnly: true });
    const { keyPem, csr } = await testKey("dev-fresh");
    const { chain } = await ca.issueFromCsr("dev-fresh", csr);
    const present = await new Promise((resolve, reject) => {
      const shown = { port: mtlsPort, key: keyPem, cert: pemChain(chain), ca: device.trustAnchorPem };
      const client = scene.client(
        mqtt.connect({ protocol: "mqtts", host: "localhost", reconnectPeriod: 0, clientId: "dev-fresh", clean: false, ...shown }),
      );
      client.once("connect", (packet) => resolve(packet.sessionPresent));
      client.once("error", reject);
    });
    expect(present).toBe(false);
  });

  it("cuts the recovery session of a device that is shut out", async () => {
    const device = await provisionDevice(ca, "dev-rung");
    const client = await byPsk(device);
    const over = ended(client);
    await ca.revoke({ id: "dev-rung", certificateOnly: true });
    expect(await publish(client, "devices/dev-rung/identity/request")).not.toBe(DENIED);
    await ca.revoke({ id: "dev-rung" });
    await over;
    await expect(byPsk(device)).rejects.toThrow();
  });

  it("is reached by another process's changes too, and by a renewed revocation list", async () => {
    const other = await openCa(ca.directory, PASSPHRASE);
    const before = readFileSync(join(configFile, "..", "crl.pem"), "utf8");
    await other.renewCrl();
    expect(readFileSync(join(configFile, "..", "crl.pem"), "utf8")).not.toBe(before);
    const device = await provisionDevice(other, "dev-other");
    expect(await publish(await byCertificate(device), "devices/dev-other/up/x")).not.toBe(DENIED);
  });

  it("has every secret in files for its user alone", () => {
    const directory = join(configFile, "..");
    for (const file of ["broker.key.pem", "psk.txt", "mtls.acl", "psk.acl", "mosquitto.conf"]) {
      expect(statSync(join(directory, file)).mode & 0o777, file).toBe(0o600);
    }
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(written.user).toBe(userInfo().uid === 0 ? "mosquitto" : userInfo().username);
    expect(written.note).toBeUndefined();
    expect(broker.log).not.toMatch(/: (Error|Warning):/);
  });
});
