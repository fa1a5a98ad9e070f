/** A device without a certificate, by password over TLS, against real mosquitto: the same on Node (OpenSSL) and on XS (Mbed TLS). */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DeviceEvent } from "../../sdk/events.js";
import { buildHost } from "../../sim/xs/host-build.js";
import { nativeParts } from "../../sim/xs/native-parts.js";
import type { SignIn } from "../../sim/xs/device-protocol.js";
import { XsDevice } from "../../sim/xs/xs-device.js";
import { freePort, startMosquitto, type TestMosquitto } from "../support/node/test-mosquitto.js";
import { TestCa } from "../support/node/test-pki.js";
import { base64, NodeDriver, type DeviceDriver } from "../support/xs/device-driver.js";

const ID = "meter-7";
const PASSWORD = "correct horse";

const room = mkdtempSync(join(tmpdir(), "hawser-password-"));
const xsDevices: XsDevice[] = [];
let ca: TestCa;
let stranger: TestCa;
let broker: TestMosquitto;
let port: number;
let certificatePort: number;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  stranger = await TestCa.create("Stranger");
  const server = await ca.server(["localhost", "127.0.0.1"]);
  [port, certificatePort] = [await freePort(), await freePort()];
  const passwords = join(room, "passwords");
  execFileSync("mosquitto_passwd", ["-c", "-b", passwords, ID, PASSWORD]);
  const tls = ["cafile ca.pem", "certfile server.pem", "keyfile server.key"];
  const files = {
    "ca.pem": ca.caPem,
    "server.pem": server.chainPem,
    "server.key": server.keyPem,
    passwords: readFileSync(passwords, "utf8"),
  };
  broker = await startMosquitto(room, "broker", files, [
    `listener ${port} 127.0.0.1`,
    ...tls,
    "allow_anonymous false",
    "password_file passwords",
    `listener ${certificatePort} 127.0.0.1`,
    ...tls,
    "require_certificate true",
    "allow_anonymous true",
  ]);
  await buildHost({ bits: 64, native: await nativeParts(64) });
}, 600_000);

afterAll(async () => {
  for (const device of xsDevices) {
    device.kill();
    await device.exited;
  }
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});

async function driver(engine: "Node" | "XS"): Promise<DeviceDriver> {
  if (engine === "Node") return new NodeDriver();
  const device = await XsDevice.start({ folder: join(room, `xs-${xsDevices.length}`), bits: 64 });
  xsDevices.push(device);
  return device;
}

function signIn(change: Partial<SignIn> = {}): SignIn {
  return { id: ID, trustAnchors: ca.trustAnchors.map(base64), password: PASSWORD, ...change };
}

function events(device: DeviceDriver): DeviceEvent["type"][] {
  return device.output.flatMap((line) => ("event" in line ? [line.event.type] : []));
}

describe.each(["Node", "XS"] as const)("a device by password alone on %s", (engine) => {
  it("connects without provisioning, publishes and hears, and asks for no certificate", async () => {
    const device = await driver(engine);
    await device.call("start", { settings: { broker: { host: "localhost", port } }, signIn: signIn() });
    expect(await device.event("connecting")).toMatchObject({ credential: "password", identity: "password" });
    expect(await device.event("connected")).toMatchObject({ credential: "password", tlsVersion: "TLSv1.3" });
    expect(await device.call("status", {})).toMatchObject({ state: "online", id: ID, credential: "password" });
    expect(await device.call("subscribe", { filter: "loop/#", options: { qos: 1 } })).toBe(1);
    await device.call("publish", { topic: "loop/1", payload: base64("21.5"), options: { qos: 1 } });
    const heard = await device.line((line) => "message" in line);
    expect(heard).toMatchObject({ message: { topic: `devices/${ID}/loop/1`, payload: base64("21.5") } });
    await expect(device.call("renew", {})).rejects.toMatchObject({ code: "ENROLMENT_OFF" });
    await device.call("stop", {});
    expect(events(device)).not.toContain("renewing");
  });

  it("says that its login was refused when the password is wrong, and goes on trying with it", async () => {
    const device = await driver(engine);
    const settings = { broker: { host: "localhost", port }, backoff: { baseMs: 1, capMs: 1, floorMs: 1 } };
    await device.call("start", { settings, signIn: signIn({ password: "wrong" }) });
    expect(await device.event("disconnected")).toMatchObject({ class: "credential", credential: "password", wasConnected: false });
    const refused = await device.event("login-refused");
    expect(refused.message).not.toContain("certificate");
    await device.event("retrying");
    await device.call("stop", {});
    expect(JSON.stringify(device.output)).not.toContain("wrong");
    expect(events(device)).not.toContain("credential-changed");
  });

  it("does not sign in at a broker that no CA of its own vouches for", async () => {
    const device = await driver(engine);
    const settings = { broker: { host: "localhost", port } };
    await device.call("start", { settings, signIn: signIn({ trustAnchors: stranger.trustAnchors.map(base64) }) });
    expect(await device.event("disconnected")).toMatchObject({ code: "SERVER_CA_UNKNOWN", class: "server-trust" });
    await device.call("stop", {});
  });

  it("says what is missing where the broker wants a certificate", async () => {
    const device = await driver(engine);
    await device.call("start", { settings: { broker: { host: "localhost", port: certificatePort } }, signIn: signIn() });
    expect(await device.event("disconnected")).toMatchObject({ code: "CERTIFICATE_REQUIRED" });
    await device.call("stop", {});
  });
});
