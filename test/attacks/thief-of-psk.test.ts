/**
 * A thief of a device's pre-shared key, and of nothing else, against real brokers and the real authority: as long as the device answers, he
 * gets no certificate, and the device keeps its own. What he gets while it is away, it takes back.
 */
import { createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { Device } from "../../sdk/device/device.js";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import { installIdentity } from "../../sdk/identity/store.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import { HolderQuestions } from "../../host-tools/authority/holder-questions.js";
import type { ServiceEvent } from "../../host-tools/authority/service.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import type { ClientCredentials } from "../../host-tools/ca/clients.js";
import { joinRegistry } from "../../host-tools/ca/shared-registry.js";
import { openCa } from "../../host-tools/ca/certificate-authority.js";
import { enrolmentService, sharedEnrolmentService } from "../../host-tools/cli/enrolment-service.js";
import { startEmbedded } from "../../host-tools/cli/foreground-broker/embedded-engine.js";
import { watchCa } from "../../host-tools/ca-directory/ca-watch.js";
import { PostgresServer } from "../support/host-tools/postgres-server.js";
import { freePorts, PASSPHRASE, Scene, testKey } from "../support/host-tools/scene.js";
import { pskOptions } from "../support/host-tools/psk-client.js";

const ID = "victim";
const TIMEOUT_MS = 180_000;
/** More than a broker sends before the first of them is acknowledged; mosquitto stops at 20. */
const COMMANDS = 30;

interface Ports {
  mtlsPort: number;
  pskPort: number;
}

const scene = new Scene();
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await scene.clean();
});

/** An event, or a message, that may have come already. */
class Heard<T> {
  readonly all: T[] = [];
  #look = (): void => undefined;

  add(one: T): void {
    this.all.push(one);
    this.#look();
  }

  /** The first from now on that fits, taken off what was heard together with all before it. */
  next(fits: (one: T) => boolean): Promise<T> {
    return new Promise((resolve) => {
      this.#look = () => {
        const at = this.all.findIndex(fits);
        if (at < 0) return;
        this.#look = () => undefined;
        resolve(this.all.splice(0, at + 1).at(-1)!);
      };
      this.#look();
    });
  }
}

interface Answer {
  requestId: string;
  chain?: string[];
  error?: { code: string };
}

class PskThief {
  readonly answers = new Heard<Answer>();
  #asked = 0;

  private constructor(private readonly client: MqttClient) {
    client.on("message", (_topic, payload) => this.answers.add(JSON.parse(payload.toString()) as Answer));
  }

  static async connect(port: number, psk: Uint8Array): Promise<PskThief> {
    const identity = recoveryIdentity(ID);
    const client = scene.client(mqtt.connect(pskOptions("127.0.0.1", port, psk, identity)));
    await new Promise((resolve, reject) => client.once("connect", resolve).once("error", reject));
    const thief = new PskThief(client);
    await client.subscribeAsync(`devices/${ID}/identity/response`, { qos: 1 });
    return thief;
  }

  /** Asks, and waits for the answer to this request. */
  async ask(csr: Uint8Array): Promise<{ requestId: string; answer: Answer }> {
    const requestId = (++this.#asked).toString(16).padStart(32, "0");
    await this.say({ v: 1, type: "enrol", requestId, csr: Buffer.from(csr).toString("base64") });
    return { requestId, answer: await this.answers.next((one) => one.requestId === requestId) };
  }

  say(message: object): Promise<unknown> {
    return this.client.publishAsync(`devices/${ID}/identity/request`, JSON.stringify(message), { qos: 1 });
  }

  /** Says it with a proof of a key. */
  async sayProved(message: object, key: string): Promise<void> {
    const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).toString("base64");
    const text = JSON.stringify({ ...message, key: publicKey });
    const proof = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64");
    await this.say({ ...message, key: publicKey, proof });
  }
}

async function mosquitto(ca: CertificateAuthority): Promise<Ports> {
  const [mtlsPort, pskPort] = await freePorts();
  const out = join(scene.directory(), "broker");
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "127.0.0.1", user: "root" });
  await scene.mosquitto(configFile);
  return { mtlsPort, pskPort };
}

async function embedded(ca: CertificateAuthority): Promise<Ports> {
  const broker = await startEmbedded(ca, { mtlsPort: 0, pskPort: 0 }, () => undefined);
  const stopWatching = watchCa(ca.directory, () => void broker.reload());
  undo.push(() => broker.stop(), stopWatching);
  return broker;
}

/** The device itself, with its key in memory. */
async function provisioned(ca: CertificateAuthority): Promise<{ psk: Buffer; serial: string; boot: (ports: Ports) => Promise<Device> }> {
  const keyStore = memoryKeyStore();
  const storage = memoryStorage();
  keyStore.generate("key-a");
  const reservation = await ca.reserve({ id: ID, role: "sensor" });
  const { chain, trustAnchors, psk, serial } = await ca.complete(reservation, keyStore.csr("key-a", ID));
  await ca.activate(reservation);
  keyStore.importPsk("psk", psk);
  installIdentity(storage, keyStore, { id: ID, role: "sensor", chain, trustAnchors, pskIdentity: recoveryIdentity(ID) });
  const boot = async ({ mtlsPort, pskPort }: Ports): Promise<Device> => {
    const at = (port: number) => ({ host: "127.0.0.1", port, serverName: "localhost" });
    const impatient = { protocolVersion: 4 as const, backoff: { capMs: 1_000 }, recoveryPatience: { minimumMs: 1, maximumMs: 1 } };
    const device = new Device({ broker: at(mtlsPort), recovery: at(pskPort), ...impatient }, nodePlatform({ keyStore, storage }));
    undo.push(() => device.stop());
    device.start();
    await device.online({ timeoutMs: TIMEOUT_MS });
    return device;
  };
  return { psk, serial, boot };
}

/** Commands for the device, more than fit into what may be unacknowledged. */
async function sendCommands({ keyPem: key, chainPem: cert, trustAnchorPem }: ClientCredentials, port: number): Promise<void> {
  const options: IClientOptions & { checkServerIdentity: () => undefined } = {
    protocol: "mqtts",
    host: "127.0.0.1",
    port,
    clientId: "operator-1",
    key,
    cert,
    ca: trustAnchorPem,
    checkServerIdentity: () => undefined,
  };
  const client = scene.client(mqtt.connect(options));
  await Promise.all(Array.from({ length: COMMANDS }, (_, i) => client.publishAsync(`devices/${ID}/down/work`, String(i), { qos: 1 })));
}

describe.each([
  ["mosquitto", mosquitto],
  ["the embedded broker", embedded],
])("a thief of a pre-shared key, on %s", (_name, start) => {
  it(
    "is refused while the device is there, and what he gets while it is away the device takes back",
    async () => {
      const ca = await scene.ca({}, { onOutput: () => undefined });
      const operator = await ca.issueClient({ name: "operator-1", role: "operator" });
      const { psk, serial, boot } = await provisioned(ca);
      const ports = await start(ca);
      const events = new Heard<ServiceEvent>();
      let nowMs = 0;
      const endpoint = { host: "127.0.0.1", port: ports.mtlsPort, serverName: "localhost" };
      const questions = new HolderQuestions(() => nowMs);
      const authority = await enrolmentService(ca, endpoint, (event) => events.add(event), { perHour: 0, burst: 0 }, questions);
      undo.push(() => authority.stop());
      authority.start();
      await events.next(({ event }) => event === "connected");
      const good = async (): Promise<string[]> => {
        const [listed] = (await ca.list()).filter(({ name }) => name === ID);
        return listed!.certificates.flatMap((one) => (one.status === "active" ? [one.serial] : []));
      };

      const device = await boot(ports);
      const thief = await PskThief.connect(ports.pskPort, psk);
      const own = await testKey(ID);

      // The device has more to do than it takes, and the broker waits with what comes after that.
      const commands = device.subscribe("down/#", { qos: 1 });
      await commands.granted;
      await sendCommands(operator, ports.mtlsPort);

      // It answers all the same: he is refused, also after the time in which it could have been silent.
      const first = await thief.ask(own.csr);
      expect(first.answer.error?.code).toBe("ASKING_HOLDER");
      expect(await events.next(({ event }) => event === "in-use")).toMatchObject({ id: ID, requestId: first.requestId, serial });
      await thief.answers.next((one) => one.requestId === first.requestId && one.error?.code === "IN_USE");
      nowMs += 301_000;
      expect((await thief.ask(own.csr)).answer.error?.code).toBe("IN_USE");
      expect(readFileSync(join(ca.directory, "audit.jsonl"), "utf8")).toContain('"event":"enrolment-refused"');

      // Nor does he retire the certificate in use by reporting a newer one, whatever he proves.
      const newer = await ca.issueFromCsr(ID, (await testKey(ID)).csr);
      const report = { v: 1, type: "active", serial: newer.serial };
      await thief.say(report);
      await events.next(({ event }) => event === "ignored");
      await thief.sayProved(report, own.keyPem);
      await events.next(({ event }) => event === "failed");
      expect(await good()).toEqual([serial, newer.serial]);

      // While the device is away nobody objects, and he gets a certificate after the time is up.
      await device.stop();
      nowMs += 600_000;
      for (let i = 0; i < 3; i++) {
        expect((await thief.ask(own.csr)).answer.error?.code).toBe("ASKING_HOLDER");
        nowMs += 100_000;
      }
      expect((await thief.ask(own.csr)).answer.chain).toHaveLength(2);
      const [, , stolen] = await good();
      await thief.sayProved({ v: 1, type: "active", serial: stolen }, own.keyPem);
      await events.next(({ event }) => event === "active");
      expect(await good()).toEqual([stolen]);

      // The device comes back, is refused, shows the key that he never had, and has its name for itself again.
      await boot(ports);
      const active = await events.next(({ event }) => event === "active");
      expect(active).toMatchObject({ id: ID, retired: [stolen] });
      expect(await good()).toEqual([(active as { serial: string }).serial]);
    },
    TIMEOUT_MS,
  );
});

/**
 * mosquitto gives the messages of a shared subscription to its members in turn. So the thief can have his requests go to the one and the
 * objections to the other, if objections are shared as requests are.
 */
it(
  "a thief of a pre-shared key, at two authorities that share one broker, is refused by both while the device is there",
  async () => {
    const server = await PostgresServer.start();
    undo.push(() => server.stop());
    const first = await scene.ca({}, { onOutput: () => undefined });
    await first.moveRegistry("postgres", { urlFile: server.urlFile });
    const directory = join(scene.directory(), "ca");
    await joinRegistry(directory, { passphrase: PASSPHRASE, urlFile: server.urlFile });
    const machines = [first, await openCa(directory, PASSPHRASE)];
    const { psk, boot } = await provisioned(first);
    const ports = await mosquitto(first);
    const endpoint = { host: "127.0.0.1", port: ports.mtlsPort, serverName: "localhost" };
    const told = machines.map(() => new Heard<ServiceEvent | { readonly event: "resting" }>());
    let nowMs = 0;
    for (const [index, ca] of machines.entries()) {
      const listener = {
        onEvent: (event: ServiceEvent | { readonly event: "resting" }): void => told[index]?.add(event),
        onLost: (error: unknown): void => expect.fail(String(error)),
      };
      const questions = new HolderQuestions(() => nowMs);
      const service = await sharedEnrolmentService(ca, endpoint, listener, { perHour: 0, burst: 0 }, questions);
      await first.takeIn();
      undo.push(() => service.stop());
      service.start();
    }
    for (const events of told) await events.next(({ event }) => event === "connected");
    const device = await boot(ports);
    const thief = await PskThief.connect(ports.pskPort, psk);
    const own = await testKey(ID);

    const asked = new Set<number>();
    for (let round = 0; round < 6; round += 1) {
      const { requestId, answer } = await thief.ask(own.csr);
      expect(answer.chain).toBeUndefined();
      if (answer.error?.code === "ASKING_HOLDER")
        asked.add(
          await Promise.race(
            told.map(async (events, index) => {
              await events.next((event) => event.event === "in-use" && event.requestId === requestId);
              return index;
            }),
          ),
        );
      nowMs += 101_000;
      // Moves on whose turn it is.
      if (round === 2) await thief.say({});
    }
    expect([...asked].sort()).toEqual([0, 1]);

    // While it is away, each asks as often as it would alone.
    await device.stop();
    nowMs += 600_001;
    let count = 0;
    for (let isIn = false; !isIn; nowMs += 101_000) {
      count += 1;
      isIn = (await thief.ask(own.csr)).answer.chain !== undefined;
    }
    expect(count).toBeGreaterThan(3);
  },
  TIMEOUT_MS,
);
