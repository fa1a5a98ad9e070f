/** Changing a CA's passphrase, also when it is cut off at any step on the disk. */
import { cpSync, existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const NEXT = "another horse and another battery";
const steps = vi.hoisted(() => ({ after: (): void => undefined }));

vi.mock("node:fs", async (original) => {
  const { steppedFs } = await import("../../test/support/host-tools/stepped-fs.js");
  return steppedFs(await original<Record<string, unknown>>(), ["renameSync", "unlinkSync", "ftruncateSync"], () => steps.after());
});

const scene = new Scene();
afterEach(() => scene.clean());

async function openWith(directory: string, passphrase: string): Promise<CertificateAuthority | string> {
  return openCa(directory, passphrase).catch(errorCode);
}

describe("changing the passphrase of a CA", () => {
  it("has the new one open everything, and the old one nothing", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    const other = await openCa(ca.directory, PASSPHRASE);
    await ca.changePassphrase(NEXT, TEST_SCRYPT_COST);
    // This process goes on; one that was opened before has to be started again.
    await provisionDevice(ca, "dev2");
    await expect(other.renewCrl()).rejects.toMatchObject({ code: "PASSPHRASE_CHANGED" });
    await expect(openCa(ca.directory, PASSPHRASE)).rejects.toMatchObject({ code: "WRONG_PASSPHRASE" });
    const again = await openCa(ca.directory, NEXT);
    expect((await again.brokerMaterial()).pskFor("dev1")).toEqual(device.psk);
    await again.revoke({ id: "dev2" });
    expect((await verifyCa(ca.directory, NEXT)).problems).toEqual([]);
  });

  it("ends nobody's session: the devices' keys are the same", async () => {
    const ca = await scene.ca({}, { onOutput: () => undefined });
    await provisionDevice(ca, "dev1");
    await ca.writeBrokerConfig({ engine: "mosquitto", out: join(scene.directory(), "broker"), mtlsPort: 1, pskPort: 2, bind: "127.0.0.1" });
    await ca.changePassphrase(NEXT, TEST_SCRYPT_COST);
    expect(openCaReadOnly(ca.directory).outputs).toMatchObject([{ owed: [] }]);
    expect(await ca.syncOutputs()).toMatchObject([{ changed: [], ended: [] }]);
  });

  it("is finished by the next command wherever it was cut off, with the passphrase that still opens the CA", async () => {
    const ca = await scene.ca();
    const device = await provisionDevice(ca, "dev1");
    const parent = join(ca.directory, "..");
    const room = scene.directory();
    let copying = false;
    let count = 0;
    steps.after = () => {
      if (copying) return;
      copying = true;
      cpSync(parent, join(room, String(count)), { recursive: true });
      count += 1;
      copying = false;
    };
    await ca.changePassphrase(NEXT, TEST_SCRYPT_COST);
    steps.after = () => undefined;
    expect(count).toBeGreaterThan(10);
    const seen = new Set<string>();
    for (let cut = 0; cut < count; cut += 1) {
      rmSync(parent, { recursive: true });
      renameSync(join(room, String(cut)), parent);
      rmSync(join(ca.directory, "ca.lock"), { force: true });
      rmSync(witnessFile(ca.directory), { force: true });
      for (const name of readdirSync(join(ca.directory, "reservations"))) rmSync(join(ca.directory, "reservations", name));
      const byOld = await openWith(ca.directory, PASSPHRASE);
      const opened = typeof byOld === "string" ? await openWith(ca.directory, NEXT) : byOld;
      if (typeof opened === "string") throw new Error(`cut ${cut}: ${String(byOld)}, then ${opened}`);
      seen.add(typeof byOld === "string" ? byOld : "the old one");
      expect((await opened.brokerMaterial()).pskFor("dev1")).toEqual(device.psk);
      expect(existsSync(join(ca.directory, "journal.json"))).toBe(false);
      await opened.renewCrl();
    }
    expect([...seen].sort()).toEqual(["PASSPHRASE_CHANGED", "WRONG_PASSPHRASE", "the old one"]);
  });
});
