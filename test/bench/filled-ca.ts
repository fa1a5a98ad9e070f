/** A CA directory with many names for the benches: copies of one device's entry, put into the registry as the CA would have. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { CaDirectory } from "../../host-tools/ca-directory/ca-directory.js";
import { readState } from "../../host-tools/ca-directory/ca-files.js";
import { readRecord, unlock } from "../../host-tools/ca-directory/ca-record.js";
import { entryFile, FILES, SEAL_PURPOSE } from "../../host-tools/ca-directory/directory-layout.js";
import { registryParts } from "../../host-tools/ca-directory/registry-parts.js";
import { readRegistry } from "../../host-tools/ca-directory/registry.js";
import { bitsFor, entryDigest, RegistryTree } from "../../host-tools/ca-directory/registry-tree.js";
import { registryKindOf, stateKey, stateText } from "../../host-tools/ca-directory/sealed-state.js";
import { seal } from "../../sim/node/vault/sealed.js";

export function meterName(number: number): string {
  return `meter-${String(number).padStart(6, "0")}`;
}

/** Fills a CA of one device up to `names`: ends, sites and states differ, so that filters have something to find. */
export async function fillCa(path: string, passphrase: string, names: number): Promise<void> {
  const directory = new CaDirectory(path);
  const sealing = await unlock(directory, readRecord(directory), passphrase);
  const { state } = readState(directory, stateKey(sealing));
  const digests = new Map<string, string>();
  const parts = registryParts(directory, registryKindOf(state));
  const [model] = [...readRegistry(parts).values()];
  if (model === undefined) throw new Error("there is no device to copy");
  digests.set(model.entry.name, entryDigest(model.entry.name, model.text));
  const key = randomBytes(32);
  const filled = new Map<string, Buffer>();
  for (let number = 1; number < names; number += 1) {
    const name = meterName(number);
    // A revocation list has each number once.
    const serial = `1${String(number).padStart(9, "0")}`;
    const certificates = model.entry.certificates.map((record) => ({
      ...record,
      serial,
      notAfterMs: record.notAfterMs - (number % 365) * 86_400_000,
    }));
    const psk = seal(sealing, key, SEAL_PURPOSE.psk(name)).toString("base64");
    const text = `${JSON.stringify({ ...model.entry, name, certificates, currentSerial: serial, psk, attributes: { site: `b${number % 50}` } }, null, 2)}\n`;
    // Not one by one on the disk: that takes minutes.
    if (parts.kind === "files") writeFileSync(directory.pathOf(entryFile(name)), text, { mode: 0o600 });
    else filled.set(entryFile(name), Buffer.from(text, "utf8"));
    digests.set(name, entryDigest(name, text));
  }
  parts.apply(filled, []);
  const registry = new RegistryTree(digests, bitsFor(digests.size, state.registry.bits)).root;
  writeFileSync(directory.pathOf(FILES.state), stateText(stateKey(sealing), { ...state, registry }));
}
