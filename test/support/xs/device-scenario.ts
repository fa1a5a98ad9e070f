/**
 * The life of one device against a real plant: first connection, telemetry and commands, the broker's death, rotation, revocation and
 * recovery. Every engine plays it; the event logs must be equal. Test material.
 */
import { expect } from "vitest";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { DeviceSettings } from "../../../sim/xs/device-protocol.js";
import { base64, type DeviceDriver } from "./device-driver.js";
import type { Plant } from "./plant.js";

export interface ScenarioOptions {
  id: string;
  protocolVersion: 4 | 5;
}

/** Plays it to the end. @returns the log, one line an event, without what differs from run to run */
export async function playDeviceLife(device: DeviceDriver, plant: Plant, { id, protocolVersion }: ScenarioOptions): Promise<string[]> {
  await device.call("install", await plant.provision(id, () => device.call("makeKey", { commonName: id })));
  await device.call("start", { settings: deviceSettings(plant, protocolVersion) });
  expect(await device.event("connected")).toMatchObject({ credential: "mtls", protocolVersion, tlsVersion: "TLSv1.3" });
  expect(await device.call("subscribe", { filter: "down/#", options: { qos: 1 } })).toBe(1);

  for (const qos of [0, 1, 2] as const) {
    await device.call("publish", { topic: `up/q${qos}`, payload: base64(`level ${qos} 🚢`), options: { qos } });
    await plant.telemetry(id, `q${qos}`, `level ${qos} 🚢`);
  }
  await commandArrives(device, plant, id, "first");

  await brokerDies(device, plant, id);
  await rotates(device, plant, id);
  await revokedAndRecovers(device, plant, id);
  await commandArrives(device, plant, id, "last");
  await device.call("stop", {});
  return log(device);
}

export function deviceSettings(plant: Plant, protocolVersion: 4 | 5): DeviceSettings {
  return {
    broker: { host: "localhost", port: plant.mtlsPort },
    recovery: { host: "localhost", port: plant.pskPort },
    protocolVersion,
    keepAliveSeconds: 20,
    connectTimeoutMs: 20_000,
    outbox: { persistent: true },
    backoff: { baseMs: 100, capMs: 400, floorMs: 50, stableAfterMs: 60_000 },
  };
}

async function commandArrives(device: DeviceDriver, plant: Plant, id: string, text: string): Promise<void> {
  const before = device.output.length;
  await plant.command(id, "command", text);
  await device.line(
    (line) => "message" in line && line.message.topic === `devices/${id}/down/command` && line.message.payload === base64(text),
    before,
  );
}

/** Everything published meanwhile at QoS 1 arrives when it is back; retained, because the backend may be back later than the device. */
async function brokerDies(device: DeviceDriver, plant: Plant, id: string): Promise<void> {
  const before = device.output.length;
  await plant.killBroker();
  await device.event("disconnected", before);
  const sent = [1, 2, 3].map((n) =>
    device.call("publish", { topic: `up/meanwhile/${n}`, payload: base64(`${n}`), options: { qos: 1, retain: true } }),
  );
  await plant.startBroker();
  await device.event("connected", before);
  await Promise.all(sent);
  for (const n of [1, 2, 3]) await plant.telemetry(id, `meanwhile/${n}`, `${n}`);
}

async function rotates(device: DeviceDriver, plant: Plant, id: string): Promise<void> {
  const before = device.output.length;
  await device.call("renew", {});
  const renewed = await device.event("renewed", before);
  expect(renewed.oldSerial).toBeDefined();
  expect(renewed.newSerial).not.toBe(renewed.oldSerial);
  await device.call("publish", { topic: "up/renewed", payload: base64("new"), options: { qos: 1 } });
  await plant.telemetry(id, "renewed", "new");
  // The authority retires the old certificate, and mosquitto ends every session of the name with it.
  const cut = device.output.findIndex((line) => "event" in line && line.event.type === "renewed") + 1;
  await device.event("disconnected", cut);
  await device.event(
    "connected",
    device.output.findIndex((line, index) => index >= cut && "event" in line && line.event.type === "disconnected"),
  );
}

/** The certificate alone is revoked: refused by mTLS, recovery by PSK, a new certificate, back on mTLS. */
async function revokedAndRecovers(device: DeviceDriver, plant: Plant, id: string): Promise<void> {
  const before = device.output.length;
  await plant.ca.revoke({ id, certificateOnly: true });
  expect(await device.event("credential-changed", before)).toMatchObject({ from: "mtls", to: "psk", code: "CERTIFICATE_REVOKED" });
  const recovered = await device.event("recovered", before);
  expect((await device.call("status", {})).serial).toBe(recovered.serial);
  await device.call("publish", { topic: "up/recovered", payload: base64("again"), options: { qos: 1 } });
  await plant.telemetry(id, "recovered", "again");
}

function log(device: DeviceDriver): string[] {
  const events = device.output.flatMap((line) => ("event" in line ? [line.event] : []));
  return collapse(events.map(describe));
}

/** What a device says beside its retries, whose number is chance. */
function describe(event: DeviceEvent): string {
  switch (event.type) {
    case "connecting":
      return `connecting by ${event.credential} as ${event.identity}`;
    case "connected":
      return `connected by ${event.credential} with ${event.tlsVersion}`;
    case "disconnected":
      return event.class === "network" ? "disconnected: network" : `disconnected: ${event.code}`;
    case "credential-changed":
      return `from ${event.from} to ${event.to}: ${event.code}`;
    case "renewing":
      return `renewing: ${event.reason}`;
    default:
      return event.type;
  }
}

/** Repeated attempts while the broker is away count as one. */
function collapse(lines: readonly string[]): string[] {
  const kept: string[] = [];
  for (const line of lines) {
    if (line === "retrying") continue;
    kept.push(line);
    const [a, b, c, d] = kept.slice(-4);
    if (kept.length >= 4 && a === c && b === d) kept.length -= 2;
  }
  return kept;
}
