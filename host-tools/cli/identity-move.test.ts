/** The identity topics of a live fleet are moved: a real mosquitto, the real authority and the SDK's device. */
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Device } from "../../sdk/device/device.js";
import type { DeviceEvent } from "../../sdk/events.js";
import { startMosquitto } from "../../sim/brokers/mosquitto-launcher.js";
import { FleetStores } from "../../sim/fleet/fleet-client.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import { freePorts, Scene } from "../../test/support/host-tools/scene.js";
import { DEFAULT_POLICY_TEXT } from "../policy/default-policy.js";
import { enrolmentService } from "./enrolment-service.js";
import { provisionFleet } from "./fleet/fleet-identities.js";

const scene = new Scene();
const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  scene.clean();
});

const MOVED = DEFAULT_POLICY_TEXT.replace("topic: identity/request", 'topic: "fleet/{id}/who/request"\n        absolute: true')
  .replace("topic: identity/response", 'topic: "fleet/{id}/who/response"\n        absolute: true')
  .replace("devices/hawser-authority/identity/request", "fleet/hawser-authority/who/request");
const BOTH = MOVED.replace(
  "\n# Devices whose role",
  `      old-request: { topic: identity/request, direction: up, recovery: true }
      old-response: { topic: identity/response, direction: down, recovery: true }

# Devices whose role`,
)
  .replace("channels: [device.request]", "channels: [device.request, device.old-request]")
  .replace("channels: [device.response]", "channels: [device.response, device.old-response]");

it("is done while devices and the authority are running, and leaves nobody behind", { timeout: 120_000 }, async () => {
  const ca = await scene.ca();
  const [mtlsPort, pskPort] = await freePorts();
  const out = join(scene.directory(), "broker");
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "localhost" });
  const mosquitto = await startMosquitto({ configFile, ports: [mtlsPort, pskPort] });
  open.push(() => mosquitto.stop());
  let connected = (): void => undefined;
  const served = new Promise<void>((resolve) => (connected = resolve));
  const reports: string[] = [];
  const service = await enrolmentService(ca, { host: "localhost", port: mtlsPort }, (event) => {
    if (event.event === "connected") connected();
    if (event.event === "active") reports.push(event.serial);
  });
  service.start();
  open.push(() => service.stop());
  await served;

  const [identity] = await provisionFleet(ca, ["dev1"], "sensor");
  if (identity === undefined) throw new Error("nothing was provisioned");
  const stores = new FleetStores(identity);
  const boot = (identityBase?: string): Device => {
    const device = new Device(
      {
        broker: { host: "localhost", port: mtlsPort },
        recovery: { host: "localhost", port: pskPort },
        backoff: { baseMs: 100, capMs: 1_000, stableAfterMs: 1_000 },
        recoveryPatience: { refusals: 2, minimumMs: 300, maximumMs: 500 },
        ...(identityBase === undefined ? {} : { identityBase }),
      },
      nodePlatform(stores),
    );
    device.start();
    open.push(() => device.stop());
    return device;
  };
  const next = (device: Device, type: DeviceEvent["type"]): Promise<void> =>
    new Promise((resolve) => device.listen((event) => event.type === type && resolve()));
  /** Renews; resolves once the authority has heard the device's report. */
  const renew = async (device: Device): Promise<void> => {
    const [renewed, heard] = [next(device, "renewed"), reports.length];
    device.renew();
    await renewed;
    await expect.poll(() => reports.length, { timeout: 20_000 }).toBeGreaterThan(heard);
  };

  const device = boot();
  await next(device, "connected");
  await renew(device);
  await expect(ca.applyPolicy(MOVED, { force: true })).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });
  await ca.applyPolicy(BOTH);
  // Its firmware is the old one: it is served as before.
  await renew(device);
  await expect(ca.applyPolicy(MOVED)).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });

  await device.stop();
  const updated = boot("fleet/{id}/who");
  await next(updated, "connected");
  await renew(updated);
  await ca.applyPolicy(MOVED);
  await renew(updated);
  const recovered = next(updated, "recovered");
  await ca.revoke({ id: "dev1", certificateOnly: true, reason: "keyCompromise" });
  await recovered;
});
