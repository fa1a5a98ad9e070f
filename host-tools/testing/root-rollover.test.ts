/** A rollover of the root that reaches devices: real brokers, the real authority and the SDK's device. */
import { expect, it } from "vitest";
import { IdentityStore } from "../../sdk/identity/store.js";
import { openCaReadOnly } from "../ca/ca-without-passphrase.js";
import { serialOfCertificate } from "../../test/support/host-tools/certificate-serial.js";
import { makeDevice, startBroker, type TestDevice } from "./index.js";
import "./vitest.js";

const anchorsOf = ({ testPlatform }: TestDevice): readonly string[] =>
  IdentityStore.load(testPlatform.storage, testPlatform.keyStore).anchorSerials;

it.each(["mosquitto", "embedded"] as const)(
  "reaches a device with its renewals, and one that was off for all of it, over %s",
  { timeout: 120_000 },
  async (engine) => {
    await using broker = await startBroker({ engine });
    const rootOf = (): string => serialOfCertificate(openCaReadOnly(broker.caDirectory).trustAnchors[0]);
    const device = await makeDevice(broker, { id: "on" });
    const late = await makeDevice(broker, { id: "late" });
    await expect(device).toBeOnline();
    await expect(late).toBeOnline();
    await late.stop();
    const before = rootOf();
    expect(anchorsOf(device)).toEqual([before]);

    await broker.rollOverRoot();
    const after = rootOf();
    device.renew();
    await expect(device).toReport("renewed", {}, { withinMs: 30_000 });
    expect(device.history).toContainEqual({ type: "anchors-changed", added: [after], removed: [] });
    expect(anchorsOf(device)).toEqual([after, before]);

    await broker.retireRoot();
    device.renew();
    await expect(device).toReport("anchors-changed", { removed: [before] }, { withinMs: 30_000 });
    expect(anchorsOf(device)).toEqual([after]);
    expect(device).not.toHaveUsedPsk();
    const again = await device.reboot();
    await expect(again).toBeOnline({ withinMs: 30_000 });

    // Its certificate is of the old root, which no broker believes any more; that the broker is the right one, it knows by the link.
    const back = await late.reboot();
    await expect(back).toReport("recovered", {}, { withinMs: 60_000 });
    expect(back).toHaveUsedPsk();
    expect(anchorsOf(back)[0]).toBe(after);
    expect([...device.history, ...back.history].filter(({ type }) => type === "anchors-refused")).toEqual([]);
  },
);
