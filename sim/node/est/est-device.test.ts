/**
 * A device whose identity comes from an EST server (OpenSSL as its CA), with a vault, at real mosquitto: its first certificate, and those
 * that replace it, over restarts, refusals and a server that is away.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { OpensslCa, TestEstServer, type EstOperation } from "../../../test/support/node/est-server.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../../test/support/node/test-mosquitto.js";
import { Device } from "../../../sdk/device/device.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { IdentityStore } from "../../../sdk/identity/store.js";
import { nodePlatform } from "../node-platform.js";
import { TEST_SCRYPT_COST } from "../vault/sealed.js";
import { Vault } from "../vault/vault.js";
import { estEnrolment, provisionByEst } from "./est-enrolment.js";

const ID = "meter-7";
const PASSPHRASE = "correct horse battery staple";
const room = mkdtempSync(join(tmpdir(), "hawser-est-device-"));
let ca: OpensslCa;
let est: TestEstServer;
let broker: TestMosquitto;
let brokerPort: number;
let vaults = 0;

beforeAll(async () => {
  ca = new OpensslCa(join(room, "ca"));
  const server = await ca.server();
  est = await TestEstServer.start(ca, server);
  brokerPort = await freePort();
  const files = { "ca.pem": ca.pem("root"), "server.pem": server.cert, "server.key": server.key };
  broker = await startMosquitto(room, "broker", files, [...mtlsListener(brokerPort)]);
});
afterAll(async () => {
  await est.stop();
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});
beforeEach(() => {
  est.requests.length = 0;
  est.passwords.set(ID, "once");
});
afterEach(() => {
  for (const operation of Object.keys(est.instead) as EstOperation[]) delete est.instead[operation];
  est.leaf = {};
  est.onIssued = () => undefined;
});

/** One life of the device's process. */
class Life {
  readonly events: DeviceEvent[] = [];
  readonly #seen = new Set<() => void>();
  readonly device: Device;

  private constructor(
    readonly vault: Vault,
    url: string,
  ) {
    const enrolment = estEnrolment({ url, trustAnchors: [ca.der("root")], keys: vault });
    this.device = new Device(
      { broker: { host: "localhost", port: brokerPort }, enrolment, backoff: { baseMs: 50, capMs: 200, floorMs: 20 } },
      nodePlatform({ vault }),
    );
    this.device.listen((event) => {
      this.events.push(event);
      for (const look of this.#seen) look();
    });
    onTestFinished(() => this.end());
  }

  /** A vault with an identity that `simpleenroll` gave it. */
  static async provisioned(): Promise<{ path: string; serial: string }> {
    const path = join(room, `vault-${++vaults}`);
    const vault = Vault.create(path, PASSPHRASE, { scryptCost: TEST_SCRYPT_COST });
    const login = { username: ID, password: "once" };
    const { serial } = await provisionByEst({ url: est.url, trustAnchors: [ca.der("root")], login: () => login, id: ID, vault });
    vault.close();
    return { path, serial };
  }

  static begin(path: string, url = est.url): Life {
    const life = new Life(Vault.open(path, PASSPHRASE), url);
    life.device.start();
    return life;
  }

  /** As if the process had died: nothing of what is still on its way counts. */
  end(): void {
    this.vault.close();
    void this.device.stop();
  }

  has<T extends DeviceEvent["type"]>(type: T): Promise<Extract<DeviceEvent, { type: T }>> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.events.find((event): event is Extract<DeviceEvent, { type: T }> => event.type === type);
        if (found === undefined) return;
        this.#seen.delete(look);
        resolve(found);
      };
      this.#seen.add(look);
      look();
    });
  }
}

/** What the next process would find. */
function stored(path: string): { active: string | undefined; pending: string | undefined; keys: string[] } {
  const vault = Vault.open(path, PASSPHRASE);
  const { active, pending } = IdentityStore.load(vault.storage, vault.keyStore);
  const keys = ["key-a", "key-b"].filter((slot) => vault.keyStore.has(slot));
  vault.close();
  return { active: active?.certificate.serial, pending: pending?.certificate.serial, keys };
}

describe("A device of an EST server", () => {
  it("connects with the certificate of simpleenroll, and replaces it by simplereenroll", async () => {
    const { path, serial } = await Life.provisioned();
    const life = Life.begin(path);
    expect(await life.has("connected")).toMatchObject({ serial, credential: "mtls" });
    life.device.renew();
    const renewed = await life.has("renewed");
    expect(renewed.oldSerial).toBe(serial);
    await life.device.publish("up/x", "by the new one", { qos: 1 });
    expect(est.operations).toEqual(["cacerts", "simpleenroll", "cacerts", "simplereenroll"]);
    expect(est.requests.at(-1)?.client).toBe(ID);
    await life.device.stop();
    life.vault.close();
    expect(stored(path)).toEqual({ active: renewed.newSerial, pending: undefined, keys: ["key-b"] });
  });

  it("keeps a certificate that was stored when the process died, and proves it in its next life", async () => {
    const { path, serial } = await Life.provisioned();
    const life = Life.begin(path);
    await life.has("connected");
    life.device.renew();
    await life.has("pending");
    life.end();
    const between = stored(path);
    expect([between.active, between.keys]).toEqual([serial, ["key-a", "key-b"]]);
    expect(between.pending).toBeDefined();
    const next = Life.begin(path);
    expect(await next.has("renewed")).toMatchObject({ oldSerial: serial, newSerial: between.pending });
    expect(est.operations.filter((operation) => operation === "simplereenroll")).toHaveLength(1);
  });

  it("asks again for the same key when the process died before the answer came", async () => {
    const { path, serial } = await Life.provisioned();
    const life = Life.begin(path);
    await life.has("connected");
    const issued = new Promise<void>((resolve) => {
      est.onIssued = () => {
        life.end();
        resolve();
      };
    });
    life.device.renew();
    await issued;
    expect(stored(path)).toEqual({ active: serial, pending: undefined, keys: ["key-a", "key-b"] });
    est.onIssued = () => undefined;
    const next = Life.begin(path);
    const { newSerial } = await next.has("renewed");
    const [first, second] = est.requests.filter(({ operation }) => operation === "simplereenroll");
    const key = Buffer.from(next.vault.keyStore.publicKey("key-b"));
    expect([first?.csr.includes(key), second?.csr.includes(key)]).toEqual([true, true]);
    expect(next.device.status.serial).toBe(newSerial);
  });

  it("keeps the certificate that it has where the server refuses it, hands out another CA's, or is away", async () => {
    const { path, serial } = await Life.provisioned();
    ca.another("other", "other-issuing");
    est.instead.simplereenroll = (response) => void response.writeHead(403).end();
    const refused = Life.begin(path);
    refused.device.renew();
    expect(await refused.has("renewal-failed")).toMatchObject({ code: "EST_REFUSED" });
    expect(refused.device.status).toMatchObject({ state: "online", serial });
    refused.end();
    delete est.instead.simplereenroll;

    est.leaf = { issuer: "other-issuing" };
    const strange = Life.begin(path);
    strange.device.renew();
    expect(await strange.has("renewal-failed")).toMatchObject({ code: "UNTRUSTED_CERTIFICATE" });
    strange.end();
    est.leaf = {};

    const away = Life.begin(path, `https://localhost:${await freePort()}`);
    away.device.renew();
    expect(await away.has("renewal-failed")).toMatchObject({ code: "CONNECTION_REFUSED" });
    await away.device.online();
    expect(away.device.status.serial).toBe(serial);
    away.end();

    const back = Life.begin(path);
    expect(await back.has("renewed")).toMatchObject({ oldSerial: serial });
  });
});
