/** A thief of a device's key or of an operator's against a real mosquitto: out means out, on every port and under every client id. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:tls";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import { endSessions } from "../../host-tools/brokers/mosquitto/mosquitto-session-ending.js";
import { openCa } from "../../host-tools/ca/certificate-authority.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene, testKey, type Mosquitto, type TestDevice } from "../support/host-tools/scene.js";
import { pskTls } from "../support/host-tools/psk-client.js";

type Shown = Pick<TestDevice, "keyPem" | "chainPem" | "trustAnchorPem">;

const scene = new Scene();
let ca: CertificateAuthority;
let broker: Mosquitto;
let mtlsPort: number;
let pskPort: number;
let configFile: string;

beforeEach(async () => {
  ca = await scene.ca({}, { onOutput: () => undefined });
  [mtlsPort, pskPort] = await freePorts();
  await configure({});
  broker = await scene.mosquitto(configFile);
});
afterEach(() => scene.clean());

async function configure(more: { reach?: string; plugin?: false }): Promise<void> {
  const out = more.reach === undefined && more.plugin === undefined ? join(scene.directory(), "broker") : join(configFile, "..");
  ({ configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "127.0.0.1", user: "root", ...more }));
}

/** MQTT.js hands what it does not know on to tls.connect. */
function certificateOptions({ keyPem, chainPem, trustAnchorPem }: Shown): IClientOptions {
  const more = { checkServerIdentity: () => undefined };
  return {
    protocol: "mqtts",
    host: "127.0.0.1",
    port: mtlsPort,
    key: keyPem,
    cert: chainPem,
    ca: trustAnchorPem,
    protocolVersion: 4,
    reconnectPeriod: 0,
    ...more,
  };
}

function connect(options: IClientOptions): Promise<MqttClient> {
  const client = scene.client(mqtt.connect({ protocol: "mqtts", host: "127.0.0.1", protocolVersion: 4, reconnectPeriod: 0, ...options }));
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.on("error", reject);
    client.once("close", () => reject(new Error("closed")));
  });
}

const byCertificate = (shown: Shown, more: IClientOptions = {}): Promise<MqttClient> => connect({ ...certificateOptions(shown), ...more });

const byPsk = ({ id, psk }: TestDevice, identity = recoveryIdentity(id)): Promise<MqttClient> =>
  connect({ port: pskPort, ...pskTls(psk, identity) });

const ended = (client: MqttClient): Promise<boolean> =>
  client.connected ? new Promise((resolve) => client.once("close", () => resolve(true))) : Promise.resolve(true);
const acl = (): string => readFileSync(join(configFile, "..", "mtls.acl"), "utf8");

describe("a thief with a device's key and pre-shared key", () => {
  it.each([4, 5] as const)("is out on both ports once revoked, whatever he calls himself (MQTT level %i)", async (protocolVersion) => {
    const device = await provisionDevice(ca, "victim");
    const bystander = await byCertificate(await provisionDevice(ca, "bystander"));
    const sessions = [
      await byCertificate(device, { clientId: "bystander", protocolVersion }),
      await byPsk(device),
      await byPsk(device, "victim"),
    ];
    const over = Promise.all(sessions.map(ended));
    await ca.revoke({ id: "victim", reason: "keyCompromise" });
    await over;
    await expect(byCertificate(device)).rejects.toThrow();
    await expect(byPsk(device)).rejects.toThrow();
    await bystander.publishAsync("devices/bystander/up/x", "still here", { qos: 1 });
  });

  it("is out once the device is replaced: he neither reads its commands nor enrols, and what waited for it is gone", async () => {
    const device = await provisionDevice(ca, "victim");
    const thief = await byCertificate(device, { clientId: "lurker", clean: false });
    await thief.subscribeAsync("devices/victim/down/#", { qos: 1 });
    const over = ended(thief);
    const next = await provisionDevice(ca, "victim", true);
    await over;
    await expect(byCertificate(device)).rejects.toThrow();
    await expect(byPsk(device)).rejects.toThrow();
    const client = scene.client(mqtt.connect({ ...certificateOptions(next), clientId: "victim", clean: false }));
    expect(await new Promise((resolve) => client.once("connect", ({ sessionPresent }) => resolve(sessionPresent)))).toBe(false);
  });

  it("is out once the device retires the stolen certificate", async () => {
    const device = await provisionDevice(ca, "victim");
    const { csr } = await testKey("victim");
    const { serial } = await ca.issueFromCsr("victim", csr);
    const thief = await byCertificate(device, { clientId: "lurker" });
    const over = ended(thief);
    expect(await ca.retireOlder("victim", serial)).toEqual([device.serial]);
    await over;
    await expect(byCertificate(device)).rejects.toThrow();
  });

  it("cannot empty the queue of another device, or the authority's, by its client id", async () => {
    const victim = await provisionDevice(ca, "victim");
    const thief = await provisionDevice(ca, "thief");
    const operator = await byCertificate(await ca.issueClient({ name: "operator-1", role: "operator" }));
    const waiting = { clientId: "victim", clean: false };
    const first = await byCertificate(victim, waiting);
    await first.subscribeAsync("devices/victim/down/#", { qos: 1 });
    await first.endAsync();
    for (let i = 0; i < 5; i++) await operator.publishAsync("devices/victim/down/command", String(i), { qos: 1 });
    for (const clean of [true, false]) await (await byCertificate(thief, { clientId: "victim", clean })).endAsync();
    await (await byPsk(thief)).endAsync();
    const commands: string[] = [];
    const all = new Promise<void>((resolve) => {
      const client = scene.client(mqtt.connect({ ...certificateOptions(victim), ...waiting }));
      client.on("message", (_topic, payload) => commands.push(payload.toString()) === 5 && resolve());
    });
    await all;
    expect(commands).toEqual(["0", "1", "2", "3", "4"]);
  });

  it("cannot leave a retained message, nor tell the broker to end sessions", async () => {
    const device = await provisionDevice(ca, "thief");
    const other = await byCertificate(await provisionDevice(ca, "other"), { protocolVersion: 5 });
    const client = await byCertificate(device);
    const over = ended(client);
    client.publish("devices/thief/identity/request", "for later", { qos: 1, retain: true });
    await over;
    const again = await byCertificate(device);
    await again.publishAsync(
      "$CONTROL/dynamic-security/v1",
      JSON.stringify({
        commands: [
          { command: "createClient", username: "other" },
          { command: "deleteClient", username: "other" },
        ],
      }),
      { qos: 1 },
    );
    await other.publishAsync("devices/other/up/x", "still here", { qos: 1 });
  });
});

describe("a thief with an operator's key", () => {
  it("is out once the operator's credentials are replaced", async () => {
    const stolen = await ca.issueClient({ name: "operator-1", role: "operator" });
    const spy = await byCertificate(stolen, { clientId: "spy" });
    const over = ended(spy);
    const own = await ca.issueClient({ name: "operator-1", role: "operator", replace: true });
    await over;
    await expect(byCertificate(stolen)).rejects.toThrow();
    await (await byCertificate(own)).publishAsync("devices/x/down/y", "z", { qos: 1 });
  });
});

describe("a broker that cannot be proved", () => {
  it("gives a replaced name no rights, the command says so, and the next contact gives them", async () => {
    const device = await provisionDevice(ca, "victim");
    await broker.kill("SIGKILL");
    const problems: string[] = [];
    const again = await openCa(ca.directory, PASSPHRASE, {
      onOutput: ({ problem, held }) => problem !== undefined && problems.push(`${problem.code} ${held.join(" ")}`),
    });
    const next = await provisionDevice(again, "victim", true);
    expect(problems).toContain("OUTPUT_UNPROVED victim");
    expect(acl()).toContain("user victim\ntopic deny #");
    expect(acl()).not.toContain("topic write devices/victim/up/#");
    await scene.mosquitto(configFile);
    expect(await again.syncOutputs()).toMatchObject([{ loaded: true, ended: ["victim"], held: [] }]);
    expect(acl()).toContain("topic write devices/victim/up/#");
    await (await byCertificate(next)).publishAsync("devices/victim/up/x", "y", { qos: 1 });
    await expect(byCertificate(device)).rejects.toThrow();
  });

  it("is told of when it runs where this machine does not reach it, and when it has no plugin", async () => {
    await provisionDevice(ca, "victim");
    await provisionDevice(ca, "second");
    await configure({ reach: "127.77.77.77" });
    await expect(ca.revoke({ id: "victim" })).rejects.toMatchObject({
      code: "OUTPUT_FAILED",
      outcome: { brokers: [{ loaded: false, ended: [], problem: { code: "OUTPUT_NOT_RELOADED" } }] },
    });
    const spare = await scene.ca({}, { onOutput: () => undefined });
    const [mtls, psk] = await freePorts();
    const out = join(scene.directory(), "broker");
    const written = await spare.writeBrokerConfig({
      engine: "mosquitto",
      out,
      mtlsPort: mtls,
      pskPort: psk,
      bind: "127.0.0.1",
      user: "root",
    });
    writeFileSync(written.configFile, readFileSync(written.configFile, "utf8").replace(/^plugin.*$/gm, ""));
    await scene.mosquitto(written.configFile);
    await provisionDevice(spare, "victim");
    await expect(spare.revoke({ id: "victim" })).rejects.toMatchObject({
      outcome: { brokers: [{ loaded: true, ended: [], problem: { code: "SESSIONS_NOT_ENDED" } }] },
    });
  });

  it("without the plugin gives a replaced name its rights after a restart, and not after a reload", async () => {
    await broker.kill("SIGKILL");
    await configure({ plugin: false });
    broker = await scene.mosquitto(configFile);
    const device = await provisionDevice(ca, "victim");
    const thief = await byCertificate(device, { clientId: "lurker" });
    const next = await provisionDevice(ca, "victim", true);
    expect(acl()).not.toContain("topic write devices/victim/up/#");
    expect(await ca.syncOutputs()).toMatchObject([{ loaded: true, held: ["victim"], problem: { code: "SESSIONS_NOT_ENDED" } }]);
    expect(thief.connected).toBe(true);
    await broker.kill("SIGTERM");
    await scene.mosquitto(configFile);
    expect(await ca.syncOutputs()).toMatchObject([{ loaded: true, ended: ["victim"], held: [] }]);
    await (await byCertificate(next)).publishAsync("devices/victim/up/x", "y", { qos: 1 });
    expect(acl()).toContain("topic write devices/victim/up/#");
  });

  it("is not believed when it shows a certificate that is not for servers", async () => {
    const impostor = await provisionDevice(ca, "impostor");
    const server = createServer(
      { key: impostor.keyPem, cert: impostor.chainPem, ca: impostor.trustAnchorPem, requestCert: true, rejectUnauthorized: false },
      (socket) => socket.on("error", () => undefined),
    );
    server.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const control = await ca.issueClient({ name: "control-1", role: "operator" });
    const settings = {
      mtlsPort: (server.address() as AddressInfo).port,
      pskPort,
      user: "root",
      bind: "127.0.0.1",
      plugin: "/usr/lib/plugin.so",
    };
    await expect(endSessions(settings, control, ["victim"])).rejects.toMatchObject({
      code: "SESSIONS_NOT_ENDED",
      message: expect.stringMatching(/purpose|certificate/),
    });
    server.close();
  });
});
