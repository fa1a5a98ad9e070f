/**
 * `npm run bench:signers`: devices provisioned a second with the issuing key in a sealed file and in a token (SoftHSM, one `pkcs11-tool` a
 * signature), one change a device and 200 devices in one change. Devices' keys are made before.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testKey } from "../support/host-tools/scene.js";
import { initCa } from "../../host-tools/ca/ca-creation.js";
import { openCa } from "../../host-tools/ca/certificate-authority.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { tokenKey, tokenSigners } from "../../host-tools/pkcs11/token-signer.js";

const ONE_BY_ONE = 50;
const BATCH = 200;
const PASSPHRASE = "of a CA that lives for a minute";

async function measure(what: string, ca: CertificateAuthority): Promise<void> {
  const ids = Array.from({ length: ONE_BY_ONE + BATCH }, (_, index) => `device-${index}`);
  const devices = await Promise.all(ids.map(async (id) => ({ id, csr: (await testKey(id)).csr })));
  const one = await seconds(async () => {
    for (const { id, csr } of devices.slice(0, ONE_BY_ONE)) {
      const reservation = await ca.reserve({ id, role: "sensor" });
      await ca.complete(reservation, csr);
      await ca.activate(reservation);
    }
  });
  const batch = await seconds(() => ca.provisionBatch({ role: "sensor", devices: devices.slice(ONE_BY_ONE) }));
  process.stdout.write(`${what.padEnd(28)} ${(ONE_BY_ONE / one).toFixed(1).padStart(8)} ${(BATCH / batch).toFixed(1).padStart(8)}\n`);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

const room = mkdtempSync(join(tmpdir(), "hawser-signers-"));
try {
  mkdirSync(join(room, "tokens"));
  writeFileSync(join(room, "softhsm.conf"), `directories.tokendir = ${join(room, "tokens")}\n`);
  process.env["SOFTHSM2_CONF"] = join(room, "softhsm.conf");
  process.env["HAWSER_STATE_DIR"] = join(room, "state");
  execFileSync("softhsm2-util", ["--init-token", "--free", "--label", "bench", "--so-pin", "12345678", "--pin", "1234"], {
    stdio: "ignore",
  });
  const pin = (): Promise<string> => Promise.resolve("1234");
  const uri = "pkcs11:token=bench;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so";
  await initCa(join(room, "file"), { name: "Bench", passphrase: PASSPHRASE });
  await initCa(join(room, "token"), {
    name: "Bench",
    passphrase: PASSPHRASE,
    signers: { issuing: () => tokenKey(uri, pin, { type: "P-256" }) },
  });
  process.stdout.write(`${"devices/s, issuing key in a".padEnd(28)} one each in one change\n`);
  await measure("sealed file", await openCa(join(room, "file"), PASSPHRASE));
  await measure("token, by pkcs11-tool", await openCa(join(room, "token"), PASSPHRASE, { signerFor: tokenSigners(pin) }));
} finally {
  rmSync(room, { recursive: true, force: true });
}
