/** Another passphrase for a CA: everything sealed is sealed anew under the key of the new one, in one change. */
import { seal, unseal } from "../../sim/node/vault/sealed.js";
import type { ScryptCost } from "../../sim/node/vault/sealed.js";
import type { HawserError } from "../../sdk/errors.js";
import { readRecord, recordText, withPassphrase } from "../ca-directory/ca-record.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { FILES, SEAL_PURPOSE } from "../ca-directory/directory-layout.js";
import { passphraseChanged } from "../ca-directory/log-replica.js";
import { readSealedKey } from "./context.js";
import type { CaContext } from "./context.js";

/**
 * What opens the CA afterwards is the new passphrase alone. Copies of the directory from before keep the old one.
 *
 * @param willUse told of the new key before anything is written
 * @throws as every change
 */
export async function changePassphrase(
  ca: CaContext,
  passphrase: string,
  willUse: (sealing: Buffer) => void,
  cost?: Readonly<ScryptCost>,
): Promise<void> {
  const { record, sealingKey } = withPassphrase(ca.record, passphrase, cost);
  await ca.store.change((draft) => {
    const old = ca.keys.sealing;
    draft.write(FILES.record, recordText({ ...ca.record, derivation: record.derivation, check: record.check }));
    for (const file of [
      FILES.rootKey,
      FILES.issuingKey,
      FILES.brokerKey,
      ...[FILES.previousKey, FILES.previousRootKey, FILES.nextKey].filter((file) => draft.has(file)),
    ])
      resealKey(draft, file, old, sealingKey);
    for (const entry of draft.entries.values()) {
      if (entry.psk === undefined) continue;
      const psk = unseal(old, Buffer.from(entry.psk, "base64"), SEAL_PURPOSE.psk(entry.name));
      draft.put({ ...entry, psk: seal(sealingKey, psk, SEAL_PURPOSE.psk(entry.name)).toString("base64") });
      psk.fill(0);
    }
    draft.nextSealing = sealingKey;
    draft.record({ event: "passphrase-changed" });
    willUse(sealingKey);
  });
}

/**
 * Whether another process changed the passphrase since: then there is nothing more that this one could do with the CA.
 *
 * @throws HawserError `CA_CORRUPT`, `NOT_A_CA`
 */
export function passphraseProblem({ directory, keys }: Pick<CaContext, "directory" | "keys">): HawserError | undefined {
  const { check } = readRecord(directory);
  try {
    unseal(keys.sealing, Buffer.from(check, "base64"), SEAL_PURPOSE.check);
    return undefined;
  } catch {
    return passphraseChanged(directory);
  }
}

function resealKey(draft: Draft, file: string, old: Buffer, next: Buffer): void {
  const key = readSealedKey(draft, file, old);
  draft.write(file, seal(next, key, SEAL_PURPOSE.key(file)));
  key.fill(0);
}
