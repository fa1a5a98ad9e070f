import { afterEach, describe, expect, it } from "vitest";
import { Device } from "../../sdk/device/device.js";
import { HawserError } from "../../sdk/errors.js";
import { IdentityStore } from "../../sdk/identity/store.js";
import { DEFAULT_POLICY_TEXT } from "../policy/default-policy.js";
import { EmbeddedBroker } from "../../sim/brokers/embedded-broker.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import { embeddedMaterial } from "../cli/foreground-broker/broker-material.js";
import { openCa, type CertificateAuthority } from "../ca/certificate-authority.js";
import { checkRequest } from "../pki/certificate-request.js";
import { PASSPHRASE, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { issueOnce, type IssuedIdentity } from "./issue-once.js";
import { provisionOverSerial, type ProvisionedDevice, type SerialProvisioning } from "./provision-over-serial.js";
import { openSerialDevice } from "./serial-device.js";
import { StationLink, type StationLinkOptions } from "./station-link.js";
import { SerialLine } from "../../test/support/station/serial-line.js";
import { TestDevice } from "../../test/support/station/agent-device.js";

const scene = new Scene();
const lines: SerialLine[] = [];
const links: StationLink[] = [];

afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  for (const line of lines.splice(0)) await line.cut();
  await scene.clean();
});

async function connected(device: TestDevice): Promise<SerialLine> {
  const line = await SerialLine.open();
  lines.push(line);
  device.connect(line);
  return line;
}

/** One run of the station, from opening the port to closing it. */
async function provision(
  line: SerialLine,
  ca: CertificateAuthority,
  work: Partial<SerialProvisioning> = {},
  timing: StationLinkOptions = {},
): Promise<ProvisionedDevice> {
  const link = new StationLink(openSerialDevice(line.path), timing);
  links.push(link);
  try {
    return await provisionOverSerial(link, ca, { id: "sensor-1", role: "sensor", ...work });
  } finally {
    link.close();
  }
}

interface Registered {
  state: string | undefined;
  active: string[];
}

async function registered(ca: CertificateAuthority, id = "sensor-1"): Promise<Registered> {
  const listed = (await ca.list()).find(({ name }) => name === id);
  return {
    state: listed?.state,
    active: (listed?.certificates ?? []).filter(({ status }) => status === "active").map(({ serial }) => serial),
  };
}

const serialOn = ({ storage, keyStore }: TestDevice): string | undefined =>
  IdentityStore.load(storage, keyStore).active?.certificate.serial;

/** Connects as firmware does, with what provisioning has left; resolves with the serial it connected with. */
async function connectsWith({ storage, keyStore }: TestDevice, ca: CertificateAuthority): Promise<string> {
  const broker = new EmbeddedBroker({ material: embeddedMaterial(await ca.brokerMaterial()), mtlsPort: 0, pskPort: 0 });
  const { mtlsPort } = await broker.start();
  const device = new Device(
    { broker: { host: "127.0.0.1", port: mtlsPort, serverName: "localhost" }, buildTimeMs: 0 },
    nodePlatform({ storage, keyStore }),
  );
  try {
    return await new Promise((resolve, reject) => {
      device.listen((event) => {
        if (event.type === "connected") resolve(event.serial ?? event.credential);
        else if (event.type === "disconnected") reject(new Error(JSON.stringify(event)));
      });
      device.start();
    });
  } finally {
    await device.stop();
    await broker.stop();
  }
}

describe("provisioning over a real serial line", { timeout: 60_000 }, () => {
  it("ends with a device that connects by mutual TLS and knows its pre-shared key", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const made = await provision(await connected(device), ca);
    expect(made).toMatchObject({ id: "sensor-1", role: "sensor", replaced: [] });
    expect(device.done).toBe(1);
    expect(await registered(ca)).toEqual({ state: "active", active: [made.serial] });
    expect(await connectsWith(device, ca)).toBe(made.serial);
    expect(device.keyStore.psk("psk")).toEqual((await ca.brokerMaterial()).pskFor("sensor-1"));
  });

  it("tells the device where the policy has its topics", async () => {
    const ca = await scene.ca();
    await ca.applyPolicy(DEFAULT_POLICY_TEXT.replace("base: devices/{id}", "base: plant/{id}"), { force: true });
    const device = new TestDevice();
    await provision(await connected(device), ca);
    const { base, identityBase } = IdentityStore.load(device.storage, device.keyStore);
    expect([base, identityBase]).toEqual(["plant/sensor-1", "plant/sensor-1/identity"]);
  });

  it("says that a device that has its identity has it, once more, and changes nothing", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    const made = await provision(line, ca);
    expect(await provision(line, ca)).toEqual(made);
    device.restart();
    expect(await provision(line, ca, { replace: true })).toEqual(made);
    expect(await registered(ca)).toEqual({ state: "active", active: [made.serial] });
  });

  it("refuses a device that has another identity, and gives out nothing for it", async () => {
    const [ca, otherCa] = [await scene.ca(), await scene.ca()];
    const device = new TestDevice();
    const line = await connected(device);
    await provision(line, otherCa);
    for (const id of ["sensor-1", "sensor-2"]) {
      await expect(provision(line, ca, { id })).rejects.toMatchObject({
        code: "ALREADY_PROVISIONED",
        message: expect.stringContaining("sensor-1") as string,
      });
    }
    expect(await ca.list()).toEqual([]);
  });

  it("goes on after the cable was pulled half-way through the installation: the same certificate, once", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    device.amidInstallation(() => void line.cut());
    await expect(provision(line, ca)).rejects.toMatchObject({ code: "LINE_LOST" });
    const before = await registered(ca);
    expect(before).toMatchObject({ state: "active", active: [expect.any(String)] });
    const made = await provision(await connected(device), ca);
    expect([made.serial]).toEqual(before.active);
    expect(await registered(ca)).toEqual(before);
    expect(await connectsWith(device, ca)).toBe(made.serial);
    expect(device.keyStore.psk("psk")).toEqual((await ca.brokerMaterial()).pskFor("sensor-1"));
  });

  it("gives a device that was cut off no second name, until the first is revoked", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    device.amidInstallation(() => void line.cut());
    await expect(provision(line, ca)).rejects.toMatchObject({ code: "LINE_LOST" });
    const again = await connected(device);
    for (const replace of [false, true]) {
      await expect(provision(again, ca, { id: "sensor-2", replace })).rejects.toMatchObject({
        code: "ALREADY_PROVISIONED",
        nextStep: expect.stringContaining("--id sensor-1") as string,
      });
    }
    expect((await ca.list()).map(({ name }) => name)).toEqual(["sensor-1"]);
    await ca.revoke({ id: "sensor-1" });
    const made = await provision(again, ca, { id: "sensor-2" });
    expect(await registered(ca, "sensor-2")).toEqual({ state: "active", active: [made.serial] });
    expect((await registered(ca)).active).toEqual([]);
  });

  it("begins again by itself with a device that restarts before the installation", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    device.amidInstallation(() => device.restart());
    const made = await provision(line, ca, {}, { ackTimeoutMs: 50, answerTimeoutMs: 300 });
    expect(await registered(ca)).toEqual({ state: "active", active: [made.serial] });
    expect(serialOn(device)).toBe(made.serial);
  });

  it("finds an installation that was done though the device restarted before it could say so", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    const { storage } = device;
    const put = storage.put.bind(storage);
    storage.put = (key, value) => {
      put(key, value);
      if (key !== "identity") return;
      storage.put = put;
      device.restart();
    };
    const made = await provision(line, ca, {}, { answerTimeoutMs: 200 });
    expect(serialOn(device)).toBe(made.serial);
    expect(await registered(ca)).toEqual({ state: "active", active: [made.serial] });
  });

  it("gets through a line that loses a frame in five", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    let frames = 0;
    device.onFrame = () => frames++ % 5 !== 2;
    const made = await provision(line, ca, {}, { ackTimeoutMs: 50, answerTimeoutMs: 300 });
    expect(serialOn(device)).toBe(made.serial);
  });

  it("gives a name to one device only, unless told to replace it", async () => {
    const ca = await scene.ca();
    const first = await provision(await connected(new TestDevice()), ca);
    const device = new TestDevice();
    const line = await connected(device);
    await expect(provision(line, ca)).rejects.toMatchObject({ code: "ID_EXISTS" });
    const second = await provision(line, ca, { replace: true });
    expect(second.replaced).toEqual([first.serial]);
    expect(await registered(ca)).toEqual({ state: "active", active: [second.serial] });
  });

  it("issues nothing to a device that does not prove its key, or shows a request for another name", async () => {
    const ca = await scene.ca();
    const forger = new TestDevice();
    const line = await connected(forger);
    const { keyStore } = forger;
    const [sign, csr] = [keyStore.sign.bind(keyStore), keyStore.csr.bind(keyStore)];
    keyStore.sign = () => sign("key-a", Buffer.from("an old challenge"));
    await expect(provision(line, ca)).rejects.toMatchObject({ code: "BAD_PROOF" });
    keyStore.sign = sign;
    keyStore.csr = (slot) => csr(slot, "sensor-2");
    await expect(provision(line, ca)).rejects.toMatchObject({ code: "WRONG_SUBJECT" });
    expect(await ca.list()).toEqual([]);
  });

  it("stops before anything is issued when it is told to, and waits no longer than it should", async () => {
    const ca = await scene.ca();
    const line = await connected(new TestDevice());
    let steps = 0;
    const check = (): void => {
      if (++steps === 2) throw new HawserError("INTERRUPTED", "stopped");
    };
    await expect(provision(line, ca, { check })).rejects.toMatchObject({ code: "INTERRUPTED" });
    line.onData = () => undefined;
    await expect(provision(line, ca, { waitMs: 1 }, { ackTimeoutMs: 5 })).rejects.toMatchObject({ code: "DEVICE_SILENT" });
    expect(await ca.list()).toEqual([]);
  });
});

describe("told to stop after the certificate was issued", () => {
  it("goes on with a device that restarts, rather than say that nothing was changed", async () => {
    const ca = await scene.ca();
    const device = new TestDevice();
    const line = await connected(device);
    let isTold = false;
    device.amidInstallation(() => {
      isTold = true;
      device.restart();
    });
    const check = (): void => {
      if (isTold) throw new HawserError("INTERRUPTED", "nothing was changed");
    };
    const made = await provision(line, ca, { check }, { ackTimeoutMs: 50, answerTimeoutMs: 300 });
    expect(serialOn(device)).toBe(made.serial);
  });
});

describe("issuing once", () => {
  it("gives the same key the same certificate and pre-shared key, also to another process", async () => {
    const ca = await scene.ca();
    const { csr, hash } = await requestOf("sensor-1");
    const first = await issueOnce(ca, { id: "sensor-1", role: "meter" }, csr, hash);
    const other = await openCa(ca.directory, PASSPHRASE);
    expect(plain(await issueOnce(other, { id: "sensor-1", role: "sensor" }, csr, hash))).toEqual(plain(first));
    expect(first.role).toBe("meter");
  });

  it("has one certificate in force also when an attempt ended before the name was let in", async () => {
    const ca = await scene.ca();
    const { csr, hash } = await requestOf("sensor-1");
    const reservation = await ca.reserve({ id: "sensor-1", role: "sensor" });
    await ca.complete(reservation, csr);
    await ca.abandon(reservation);
    await issueOnce(ca, { id: "sensor-1", role: "sensor" }, csr, hash);
    const again = await issueOnce(ca, { id: "sensor-1", role: "sensor" }, csr, hash);
    expect(await registered(ca)).toEqual({ state: "active", active: [again.serial] });
  });
});

const plain = ({ chain, psk, ...rest }: IssuedIdentity): object => ({
  ...rest,
  chain: chain.map((der) => Buffer.from(der).toString("hex")),
  psk: psk?.toString("hex"),
});

async function requestOf(id: string): Promise<{ csr: Uint8Array; hash: string }> {
  const { csr } = await testKey(id);
  return { csr, hash: (await checkRequest(csr, id)).publicKeyHash };
}
