/**
 * Backends, operators and the authority on a listener apart from the devices', on a real mosquitto. The suite scales the crowd of strangers
 * down; the full size: `HAWSER_HALF_OPEN=14000 npx vitest run test/attacks/backend-listener.test.ts -t half-open`.
 */
import { join } from "node:path";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import type { ClientCredentials } from "../../host-tools/ca/clients.js";
import { DEFAULT_POLICY_TEXT } from "../../host-tools/policy/default-policy.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { Strangers } from "../support/brokers/half-open-strangers.js";
import { provisionDevice, Scene, type TestDevice } from "../support/host-tools/scene.js";

type Shown = Pick<TestDevice, "keyPem" | "chainPem" | "trustAnchorPem">;

/** Says the same as the built-in one, by another way: the compiler of policies. */
const OWN_POLICY = DEFAULT_POLICY_TEXT.replace("name: default", "name: own");

const FULL_SIZE = process.env["HAWSER_HALF_OPEN"];
const STRANGERS = Number(FULL_SIZE ?? 400);

const scene = new Scene();
let ca: CertificateAuthority;
let devicePort: number;
let backendPort: number;
let operator: ClientCredentials;
let device: TestDevice;

beforeEach(async () => {
  ca = await scene.ca();
  const [mtlsPort = 0, pskPort = 0, apart = 0] = await freePorts(3);
  [devicePort, backendPort] = [mtlsPort, apart];
  const out = join(scene.directory(), "broker");
  const ports = { mtlsPort, pskPort, backendPort };
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, ...ports, bind: "127.0.0.1", user: "root" });
  operator = await ca.issueClient({ name: "operator-1", role: "operator" });
  device = await provisionDevice(ca, "dev1");
  await scene.mosquitto(configFile);
});
afterEach(() => scene.clean());

function begin({ keyPem, chainPem, trustAnchorPem }: Shown, port: number, more: IClientOptions): MqttClient {
  const options: IClientOptions & { checkServerIdentity: () => undefined } = {
    protocol: "mqtts",
    host: "127.0.0.1",
    port,
    key: keyPem,
    cert: chainPem,
    ca: trustAnchorPem,
    checkServerIdentity: () => undefined,
    // Says when a message was denied.
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...more,
  };
  return scene.client(mqtt.connect(options));
}

function connect(shown: Shown, port: number, more: IClientOptions = {}): Promise<MqttClient> {
  const client = begin(shown, port, more);
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.on("error", reject);
    client.once("close", () => reject(new Error("closed")));
  });
}

const ended = (client: MqttClient): Promise<void> => new Promise((resolve) => client.once("close", () => resolve()));

/** Whether a QoS 1 message is taken. */
const takes = (client: MqttClient, topic: string): Promise<boolean> =>
  client.publishAsync(topic, "x", { qos: 1 }).then(
    () => true,
    () => false,
  );

describe.each([
  ["built-in rights", () => Promise.resolve()],
  ["a policy of the CA", () => ca.applyPolicy(OWN_POLICY)],
])("a listener for backends, with %s", (_rights, prepare) => {
  it("gives clients their rights there alone, and devices none", async () => {
    await prepare();
    const backend = await ca.issueClient({ name: "dashboard", role: "backend" });
    const inside = [await connect(operator, backendPort), await connect(backend, backendPort)];
    for (const client of inside) expect(await takes(client, "devices/dev1/down/command")).toBe(true);
    for (const client of inside) await client.endAsync();
    for (const shown of [operator, backend]) expect(await takes(await connect(shown, devicePort), "devices/dev1/down/command")).toBe(false);
    expect(await takes(await connect(device, backendPort), "devices/dev1/up/reading")).toBe(false);
    expect(await takes(await connect(device, devicePort), "devices/dev1/up/reading")).toBe(true);
  });
});

describe("a listener for backends", () => {
  it("lets no device take the client id of another, or of a backend, to empty its queue", async () => {
    const waiting = { clientId: "dev1", clean: false, protocolVersion: 4 } as const;
    const first = await connect(device, devicePort, waiting);
    await first.subscribeAsync("devices/dev1/down/#", { qos: 1 });
    await first.endAsync();
    const sender = await connect(operator, backendPort);
    for (let i = 0; i < 5; i++) await sender.publishAsync("devices/dev1/down/command", String(i), { qos: 1 });
    const thief = await provisionDevice(ca, "thief");
    for (const clientId of ["dev1", "operator-1"]) await (await connect(thief, backendPort, { clientId, clean: true })).endAsync();
    expect(await takes(sender, "devices/dev1/down/command")).toBe(true);
    const commands: string[] = [];
    await new Promise<void>((resolve) => {
      const again = begin(device, devicePort, waiting);
      again.on("message", (_topic, payload) => commands.push(payload.toString()) === 6 && resolve());
    });
    expect(commands).toEqual(["0", "1", "2", "3", "4", "x"]);
  });

  it("is where sessions are ended from: of devices on the other listener, and of replaced clients on this one", async () => {
    const bystander = await connect(operator, backendPort);
    const lurker = await connect(device, devicePort, { clientId: "lurker" });
    const dashboard = await ca.issueClient({ name: "dashboard", role: "backend" });
    const spy = await connect(dashboard, backendPort);
    const over = [ended(lurker), ended(spy)];
    await ca.revoke({ id: "dev1", reason: "keyCompromise" });
    await over[0];
    const next = await ca.issueClient({ name: "dashboard", role: "backend", replace: true });
    await over[1];
    await expect(connect(dashboard, backendPort)).rejects.toThrow();
    expect(await takes(await connect(next, backendPort), "devices/dev1/down/command")).toBe(true);
    expect(bystander.connected).toBe(true);
  });

  it("is open to clients, as the other one to devices, beside a crowd of half-open connections", { timeout: 300_000 }, async () => {
    const crowd = await Strangers.before(devicePort);
    try {
      const tookMs: number[] = [];
      for (let step = 1; step <= 4; step++) {
        await crowd.comeUntil((step * STRANGERS) / 4);
        for (const [shown, port, topic] of [
          [device, devicePort, "devices/dev1/up/reading"],
          [operator, backendPort, "devices/dev1/down/command"],
        ] as const) {
          const startedMs = performance.now();
          const client = await connect(shown, port);
          expect(await takes(client, topic)).toBe(true);
          tookMs.push(performance.now() - startedMs);
          await client.endAsync();
        }
      }
      // Unless the first ones ran into mosquitto's patience of 90 seconds.
      if (FULL_SIZE === undefined) expect(crowd.held).toBe(STRANGERS);
      else
        process.stdout.write(`${crowd.held} half-open: in after ${tookMs.map((ms) => ms.toFixed(0)).join(", ")} ms (device, operator)\n`);
    } finally {
      crowd.leave();
    }
  });

  it("leaves nobody but hawser the broker's control topics, on either listener", async () => {
    const spared = await connect(operator, backendPort);
    const commands = ["createClient", "deleteClient"].map((command) => ({ command, username: "operator-1" }));
    for (const [shown, port] of [
      [device, devicePort],
      [device, backendPort],
      [await ca.issueClient({ name: "other", role: "operator" }), backendPort],
    ] as const) {
      const client = await connect(shown, port);
      await client.publishAsync("$CONTROL/dynamic-security/v1", JSON.stringify({ commands }), { qos: 1 }).catch(() => undefined);
      await client.endAsync();
    }
    expect(await takes(spared, "devices/dev1/down/command")).toBe(true);
  });
});
