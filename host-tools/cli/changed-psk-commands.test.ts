/** A device's pre-shared key changes with its certificates, while authority and device are killed in between: real processes throughout. */
import { join } from "node:path";
import mqtt from "mqtt";
import { beforeAll, describe, expect, test } from "vitest";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import { pskOptions } from "../../test/support/host-tools/psk-client.js";
import { buildCli, RunningCli } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE, runningBroker, url } from "../../test/support/host-tools/test-fleet.js";
import { openCa } from "../ca/certificate-authority.js";

beforeAll(buildCli);

const ID = "sensor-1";
const IMPATIENT = ["--recovery-patience", "500ms", "--retry-cap", "2s"];

/** Whether the broker takes the key; tried at once. */
async function isTaken(port: number, psk: Uint8Array): Promise<boolean> {
  const client = mqtt.connect(pskOptions("localhost", port, psk, recoveryIdentity(ID)));
  try {
    return await new Promise((resolve) => {
      client.once("connect", () => resolve(true)).on("error", () => resolve(false));
      client.once("close", () => resolve(false));
    });
  } finally {
    client.end(true);
  }
}

/** The embedded broker reads what changed a moment after the authority tells of it. */
async function untilRefused(port: number, copies: readonly Uint8Array[]): Promise<void> {
  for (const psk of copies) while (await isTaken(port, psk));
}

describe.each(["embedded", "mosquitto"] as const)("with the %s broker", { timeout: 180_000 }, (engine) => {
  test("a copied key is refused after the next certificate, and the device itself is let in, whoever is killed when", async () => {
    const cwd = await directoryWithCa();
    await json(cwd, "provision", "--dir", "ca", "--id", ID, "--vault", "v");
    const activePsk = async (): Promise<Buffer> => {
      const ca = await openCa(join(cwd, "ca"), PASSPHRASE, { onOutput: () => undefined });
      return (await ca.brokerMaterial()).pskFor(ID)!;
    };
    const { mtlsPort, pskPort } = await runningBroker(cwd, engine);
    const authority = (): RunningCli => new RunningCli(["authority", "--dir", "ca", "--url", url(mtlsPort)], { cwd, env: ENV });
    const device = (): RunningCli =>
      new RunningCli(["sim", "run", "--vault", "v", "--url", url(mtlsPort), "--psk-url", url(pskPort), ...IMPATIENT], { cwd, env: ENV });

    // The authority dies as soon as the device has its certificate, and the device as soon as it has committed it.
    const copies = [await activePsk()];
    expect(await isTaken(pskPort, copies[0]!)).toBe(true);
    const first = authority();
    await first.waitFor("connected");
    const before = device();
    await before.waitFor("connected");
    before.signal("SIGUSR1");
    await before.waitFor("pending");
    first.signal("SIGKILL");
    await before.waitFor("renewed");
    before.signal("SIGKILL");
    await Promise.all([first.ended, before.ended]);
    expect(await activePsk()).toEqual(copies[0]);

    const second = authority();
    const after = device();
    await second.waitFor("active");
    copies.push(await activePsk());
    await untilRefused(pskPort, copies.slice(0, 1));
    expect(await isTaken(pskPort, copies[1]!)).toBe(true);

    // The device lives on by what it has: it recovers by its new key, and changes it.
    await json(cwd, "revoke", "--dir", "ca", "--id", ID, "--certificate-only");
    const { serial } = await after.waitFor("recovered");
    await second.waitFor("active", (event) => event["serial"] === serial);
    copies.push(await activePsk());
    expect(new Set(copies.map((psk) => psk.toString("hex"))).size).toBe(3);
    await untilRefused(pskPort, copies.slice(0, 2));
    expect(await isTaken(pskPort, copies[2]!)).toBe(true);
  });
});
