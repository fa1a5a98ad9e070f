import { expect, it, onTestFinished } from "vitest";
import { Device } from "../../../sdk/device/device.js";
import type { DeviceConfig } from "../../../sdk/device/device.js";
import { certificatePassword } from "../../../sdk/identity/certificate-password.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import { memoryKeyStore, memoryStorage } from "../../../sim/node/memory-stores.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { FleetSite } from "../fleet/fleet-site.js";

const asking = (factor: "token" | "password"): string =>
  DEFAULT_POLICY_TEXT.replace("name: default", "name: own").replace(
    "    for: devices\n",
    `    for: devices\n    requires: { mtls: [${factor}] }\n`,
  );

it.each([
  ["the password of its certificate", "password"],
  ["a token", "token"],
] as const)(
  "a device that shows %s beside the certificate is let in, also with a renewed one, and not without it",
  async (_what, factor) => {
    const site = new FleetSite({ engine: "embedded", devices: 1 });
    onTestFinished(() => site.strike());
    await site.build();
    await site.ca.applyPolicy(asking(factor));
    const keyStore = memoryKeyStore();
    const platform = nodePlatform({ keyStore, storage: memoryStorage() });
    keyStore.generate("key-a");
    const reservation = await site.ca.reserve({ id: "dev1" });
    const { psk, chain, trustAnchors, serial } = await site.ca.complete(reservation, keyStore.csr("key-a", "dev1"));
    keyStore.importPsk("psk", psk);
    installIdentity(platform.storage, keyStore, { id: "dev1", role: "sensor", chain, trustAnchors });
    await site.ca.activate(reservation);
    await site.startBroker();
    await site.startAuthority();
    const broker = { host: "localhost", port: site.mtlsPort };
    const boot = (config: Partial<DeviceConfig>): Device => {
      const device = new Device({ broker, protocolVersion: 4, ...config }, platform);
      onTestFinished(() => device.stop());
      return device;
    };
    const without = boot({});
    const refused = new Promise<string>((resolve) =>
      without.listen((event) => {
        if (event.type === "disconnected") resolve(event.code);
      }),
    );
    without.start();
    expect(await refused).toBe("NOT_AUTHORIZED");
    await without.stop();
    const device = boot(
      factor === "password" ? { login: certificatePassword(keyStore) } : { token: { audience: "any", lifetimeSeconds: 600 } },
    );
    const renewed = new Promise<string>((resolve) =>
      device.listen((event) => {
        if (event.type === "renewed") resolve(event.newSerial);
      }),
    );
    device.start();
    await device.publish("up/x", "1", { qos: 1 });
    device.renew();
    expect(await renewed).not.toBe(serial);
    await device.publish("up/x", "2", { qos: 1 });
  },
  180_000,
);
