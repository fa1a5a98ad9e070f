/**
 * A broker that proved itself refuses a device over a resumed TLS session, which shows no certificate: that counts as much as over a full
 * handshake, on Node (OpenSSL) and on XS (Mbed TLS).
 */
import "reflect-metadata";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { buildHost } from "../../sim/xs/host-build.js";
import { nativeParts } from "../../sim/xs/native-parts.js";
import { XsDevice } from "../../sim/xs/xs-device.js";
import { makeIdentity } from "../native/native-certificates.js";
import { RefusingBroker, type RefusingBrokerOptions } from "../support/node/refusing-broker.js";
import { TestCa } from "../support/node/test-pki.js";
import { base64, type DeviceDriver, NodeDriver } from "../support/xs/device-driver.js";

const ID = "meter-7";
const WEEK_MS = 7 * 86_400_000;
const CERTIFICATE_REVOKED = 44;

const room = mkdtempSync(join(tmpdir(), "hawser-resumed-"));
const xsDevices: XsDevice[] = [];
let ca: TestCa;
let server: RefusingBrokerOptions["server"];
/** Of a CA that devices trust as well, and without serverAuth. */
let unproved: RefusingBrokerOptions["server"];
let trustAnchors: string[];

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  server = await ca.server(["localhost", "127.0.0.1"]);
  const issuer = await makeIdentity({ name: "Other", authority: true });
  const names = new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "localhost" }]);
  const { pem, keyPem } = await makeIdentity({ name: "localhost", issuer, extensions: [names] });
  unproved = { chainPem: pem, keyPem };
  trustAnchors = [...ca.trustAnchors, issuer.der].map(base64);
  await buildHost({ bits: 64, native: await nativeParts(64) });
}, 600_000);

afterAll(async () => {
  for (const device of xsDevices) {
    device.kill();
    await device.exited;
  }
  rmSync(room, { recursive: true, force: true });
});

async function driver(engine: "Node" | "XS"): Promise<DeviceDriver> {
  if (engine === "Node") return new NodeDriver();
  const device = await XsDevice.start({ folder: join(room, `xs-${xsDevices.length}`), bits: 64 });
  xsDevices.push(device);
  return device;
}

async function install(device: DeviceDriver): Promise<void> {
  const request = new x509.Pkcs10CertificateRequest(Buffer.from(await device.call("makeKey", { commonName: ID }), "base64"));
  const chain = await ca.clientChain(new Uint8Array(request.publicKey.rawData), ID);
  const psk = { psk: base64(new Uint8Array(32).fill(7)), pskIdentity: ID };
  await device.call("install", { id: ID, role: "sensor", ...psk, chain: chain.map(base64), trustAnchors });
}

/** Two refusals are enough; what only may be one, is never. */
async function start(device: DeviceDriver, port: number): Promise<void> {
  const broker = { host: "localhost", port };
  const recoveryPatience = { refusals: 2, minimumMs: 0, maximumMs: 0, suspicionMs: WEEK_MS, believeUnprotected: false };
  const backoff = { baseMs: 1, capMs: 1, floorMs: 1 };
  await device.call("start", { settings: { broker, recovery: broker, protocolVersion: 4, recoveryPatience, backoff } });
}

type Row = Pick<RefusingBrokerOptions, "version" | "refusal"> & { what: string; code: string };

const ROWS: Row[] = [
  { what: "CONNACK", version: "TLSv1.3", refusal: "CONNACK", code: "NOT_AUTHORIZED" },
  { what: "CONNACK", version: "TLSv1.2", refusal: "CONNACK", code: "NOT_AUTHORIZED" },
  { what: "an alert", version: "TLSv1.3", refusal: CERTIFICATE_REVOKED, code: "CERTIFICATE_REVOKED" },
];

describe.each(["Node", "XS"] as const)("on %s", (engine) => {
  describe.each(ROWS)("a refusal by $what on $version", ({ version, refusal, code }) => {
    it.each([
      ["over a resumed session", false],
      ["over a full handshake", true],
    ])("counts %s", async (_where, forgetsTickets) => {
      const broker = await RefusingBroker.start({ server, clientCaPem: ca.caPem, version, refusal, forgetsTickets });
      onTestFinished(() => broker.stop());
      const device = await driver(engine);
      await install(device);
      await start(device, broker.port);
      onTestFinished(async () => void (await device.call("stop", {})));
      expect(await device.event("credential-changed")).toMatchObject({ from: "mtls", to: "psk", code });
      // Had the first refusal not counted, there would have been more. Whether the second comes over a resumed session as well depends on
      // the tickets that the first one left.
      expect(broker.resumed).toEqual([false, !forgetsTickets, expect.any(Boolean)]);
    });
  });

  it.each(["TLSv1.3", "TLSv1.2"] as const)("a broker without serverAuth proves itself by no session on %s", async (version) => {
    const broker = await RefusingBroker.start({
      server: unproved,
      clientCaPem: ca.caPem,
      version,
      refusal: "CONNACK",
      forgetsTickets: false,
    });
    onTestFinished(() => broker.stop());
    const device = await driver(engine);
    await install(device);
    await start(device, broker.port);
    onTestFinished(async () => void (await device.call("stop", {})));
    let refusals = 0;
    await device.line(
      (line) =>
        "event" in line &&
        (line.event.type === "credential-changed" ||
          (line.event.type === "disconnected" && line.event.code === "NOT_AUTHORIZED" && ++refusals === 5)),
    );
    expect(device.output.filter((line) => "event" in line && line.event.type === "credential-changed")).toEqual([]);
  });
});
