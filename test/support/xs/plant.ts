/**
 * A CA, a real mosquitto with its configuration, the enrolment authority and a backend that watches: what devices live with. Test material.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import { openCa, type CertificateAuthority } from "../../../host-tools/ca/certificate-authority.js";
import { initCa } from "../../../host-tools/ca/ca-creation.js";
import { enrolmentService } from "../../../host-tools/cli/enrolment-service.js";
import type { AuthorityService } from "../../../host-tools/authority/service.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { startMosquitto, type RunningMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { TEST_SCRYPT_COST } from "../../../sim/node/vault/sealed.js";
import type { InstallCommand } from "../../../sim/xs/device-protocol.js";
import { base64 } from "./device-driver.js";

const PASSPHRASE = "only in this test";

export class Plant {
  readonly #folder = mkdtempSync(join(tmpdir(), "hawser-plant-"));
  readonly received: { topic: string; payload: string }[] = [];
  readonly #waiting = new Set<() => void>();
  #broker: RunningMosquitto | undefined;
  #authority: AuthorityService | undefined;
  #backend: MqttClient | undefined;
  #backendReady = false;
  #configFile = "";
  mtlsPort = 0;
  pskPort = 0;

  private constructor(readonly ca: CertificateAuthority) {}

  static async build(): Promise<Plant> {
    const folder = mkdtempSync(join(tmpdir(), "hawser-ca-"));
    const directory = join(folder, "ca");
    await initCa(directory, { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST });
    const plant = new Plant(await openCa(directory, PASSPHRASE));
    plant.#cleanup.push(() => rmSync(folder, { recursive: true, force: true }));
    [plant.mtlsPort, plant.pskPort] = (await freePorts(2)) as [number, number];
    const { configFile } = await plant.ca.writeBrokerConfig({
      engine: "mosquitto",
      out: join(plant.#folder, "broker"),
      mtlsPort: plant.mtlsPort,
      pskPort: plant.pskPort,
      bind: "127.0.0.1",
      // The backend may be back later than a device: what was sent meanwhile waits for it.
      retain: true,
    });
    plant.#configFile = configFile;
    await plant.startBroker();
    await plant.#startBackend();
    return plant;
  }

  readonly #cleanup: (() => void)[] = [];

  /** Broker and authority, which starts anew: after some deaths of the broker its own backoff would hold up the test. */
  async startBroker(): Promise<void> {
    this.#broker = await startMosquitto({ configFile: this.#configFile, ports: [this.mtlsPort, this.pskPort] });
    let connected = (): void => undefined;
    const ready = new Promise<void>((resolve) => (connected = resolve));
    this.#authority = await enrolmentService(
      this.ca,
      { host: "localhost", port: this.mtlsPort },
      ({ event }) => event === "connected" && connected(),
    );
    this.#authority.start();
    await ready;
    if (this.#backend) await this.#backendSubscribed();
  }

  async killBroker(): Promise<void> {
    await this.#authority?.stop();
    await this.#broker?.kill();
  }

  /** Provisions a device whose key is where it lives: gets its request, gives what is to be installed. */
  async provision(id: string, makeRequest: () => Promise<string>): Promise<InstallCommand> {
    const reservation = await this.ca.reserve({ id, role: "sensor" });
    const identity = await this.ca.complete(reservation, new Uint8Array(Buffer.from(await makeRequest(), "base64")));
    await this.ca.activate(reservation);
    const { role, chain, trustAnchors, psk, pskIdentity } = identity;
    return { id, role, chain: chain.map(base64), trustAnchors: trustAnchors.map(base64), psk: base64(psk), pskIdentity };
  }

  /** Sends a command to a device. */
  async command(id: string, topic: string, payload: string): Promise<void> {
    await this.#backend?.publishAsync(`devices/${id}/down/${topic}`, payload, { qos: 1 });
  }

  /** Sends so many commands to a device, one behind the other, for it to read when it will. */
  async flood(id: string, topic: string, payloads: readonly string[]): Promise<void> {
    await Promise.all(payloads.map((payload) => this.command(id, topic, payload)));
  }

  /** Resolves when the backend has this payload on this topic of a device, past or to come. */
  async telemetry(id: string, topic: string, payload: string): Promise<void> {
    const full = `devices/${id}/up/${topic}`;
    while (!this.received.some((message) => message.topic === full && message.payload === payload)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async close(): Promise<void> {
    await this.#authority?.stop();
    await this.#backend?.endAsync(true);
    await this.#broker?.kill();
    for (const clean of this.#cleanup) clean();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** With a clean session, subscribed anew at each connection: of a persisted one a killed broker may bring back a part only. */
  async #startBackend(): Promise<void> {
    const { keyPem, chainPem, trustAnchorPem } = await this.ca.issueClient({ name: "backend-1", role: "backend" });
    const options = {
      key: keyPem,
      cert: chainPem,
      ca: trustAnchorPem,
      clientId: "backend-1",
      clean: true,
      reconnectPeriod: 200,
      connectTimeout: 3_000,
      resubscribe: false,
    };
    const backend = mqtt.connect(`mqtts://localhost:${this.mtlsPort}`, { ...options, protocolVersion: 5 });
    this.#backend = backend;
    backend.on("error", () => undefined);
    backend.on("close", () => (this.#backendReady = false));
    backend.on("connect", () => {
      backend.subscribe("devices/+/up/#", { qos: 1 }, (error) => {
        this.#backendReady = error === null;
        this.#wake();
      });
    });
    backend.on("message", (topic, payload) => {
      this.received.push({ topic, payload: payload.toString() });
      this.#wake();
    });
    await this.#backendSubscribed();
  }

  async #backendSubscribed(): Promise<void> {
    while (!this.#backendReady) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}
