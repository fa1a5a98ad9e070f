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
import type { ServiceEvent } from "../authority/service.js";
import { IdentityStore, installIdentity, PSK_SLOT } from "../../sdk/identity/store.js";
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

/** A broker with the policy of a new CA, its authority, and one device that may boot with any firmware. */
async function live() {
  const ca = await scene.ca();
  const [mtlsPort, pskPort] = await freePorts();
  const out = join(scene.directory(), "broker");
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "localhost" });
  const mosquitto = await startMosquitto({ configFile, ports: [mtlsPort, pskPort] });
  open.push(() => mosquitto.stop());
  let connected = (): void => undefined;
  const served = new Promise<void>((resolve) => (connected = resolve));
  const events: ServiceEvent[] = [];
  const service = await enrolmentService(ca, { host: "localhost", port: mtlsPort }, (event) => {
    events.push(event);
    if (event.event === "connected") connected();
  });
  service.start();
  open.push(() => service.stop());
  await served;
  const reports = (): number => events.filter(({ event }) => event === "active").length;

  const [identity] = await provisionFleet(ca, ["dev1"], "sensor");
  if (identity === undefined) throw new Error("nothing was provisioned");
  const stores = new FleetStores(identity);
  const boot = (identityBase?: string, from = stores): Device => {
    const device = new Device(
      {
        broker: { host: "localhost", port: mtlsPort },
        recovery: { host: "localhost", port: pskPort },
        backoff: { baseMs: 100, capMs: 1_000, stableAfterMs: 1_000 },
        recoveryPatience: { refusals: 2, minimumMs: 300, maximumMs: 500 },
        ...(identityBase === undefined ? {} : { identityBase }),
      },
      nodePlatform(from),
    );
    device.start();
    open.push(() => device.stop());
    return device;
  };
  const next = (device: Device, type: DeviceEvent["type"]): Promise<void> =>
    new Promise((resolve) => device.listen((event) => event.type === type && resolve()));
  /** Renews; resolves once the authority has heard the device's report. */
  const renew = async (device: Device): Promise<void> => {
    const [renewed, heard] = [next(device, "renewed"), reports()];
    device.renew();
    await renewed;
    await expect.poll(reports, { timeout: 20_000 }).toBeGreaterThan(heard);
  };
  return { ca, boot, next, renew, stores, events };
}

it("is done while devices and the authority are running, and leaves nobody behind", { timeout: 120_000 }, async () => {
  const { ca, boot, next, renew } = await live();
  // Its program names the place: firmware that cannot be told.
  const device = boot("devices/{id}/identity");
  await next(device, "connected");
  await renew(device);
  await expect(ca.applyPolicy(MOVED, { force: true })).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });
  await ca.applyPolicy(BOTH);
  await renew(device);
  await expect(ca.applyPolicy(MOVED)).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });

  await device.stop();
  const updated = boot();
  await next(updated, "connected");
  // Told by the last certificate, it asks at the new place already.
  await renew(updated);
  await ca.applyPolicy(MOVED);
  await renew(updated);
  const recovered = next(updated, "recovered");
  await ca.revoke({ id: "dev1", certificateOnly: true, reason: "keyCompromise" });
  await recovered;
  // A device that is provisioned now is at the new place from the beginning.
  const [later] = await provisionFleet(ca, ["dev2"], "sensor");
  if (later === undefined) throw new Error("nothing was provisioned");
  expect(JSON.parse(Buffer.from(later.records["identity"] ?? []).toString("utf8"))).toMatchObject({
    topics: { base: "devices/dev2", identity: "fleet/dev2/who" },
  });
});

it("takes a device with it that is running, by its next renewal", { timeout: 120_000 }, async () => {
  const { ca, boot, next, renew } = await live();
  const device = boot();
  await next(device, "connected");
  await ca.applyPolicy(BOTH);
  const moved = next(device, "topics-changed");
  await renew(device);
  await moved;
  await ca.applyPolicy(MOVED);
  await renew(device);
});

it("lets the holder of a certificate object, whichever of the two places it is at", { timeout: 120_000 }, async () => {
  const { ca, boot, next, renew, stores, events } = await live();
  const holder = boot();
  await next(holder, "connected");
  await ca.applyPolicy(BOTH);
  let connections = 0;
  holder.listen(({ type }) => type === "connected" && connections++);
  await renew(holder);
  // Once to prove its certificate, and once more when the broker has ended the sessions of the one before.
  await expect.poll(() => connections, { timeout: 20_000 }).toBe(2);
  // Somebody with a copy of the pre-shared key, and no certificate, asks at the place where the holder is no more.
  const copy = new FleetStores({ id: "dev1", records: {}, keys: {} });
  copy.keyStore.importPsk(PSK_SLOT, stores.keyStore.psk(PSK_SLOT));
  const { device, trustAnchors, salts } = IdentityStore.load(stores.storage, stores.keyStore);
  installIdentity(copy.storage, copy.keyStore, { ...device, trustAnchors, salts });
  boot("devices/{id}/identity", copy);
  await expect.poll(() => events.map(({ event }) => event), { timeout: 60_000 }).toContain("in-use");
});
