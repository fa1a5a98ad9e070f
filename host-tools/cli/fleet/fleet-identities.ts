/** A fleet's identities: made in bulk, and kept in one sealed file so that the next run has the same devices. */
import { existsSync, readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { installIdentity, keySlot, PSK_SLOT } from "../../../sdk/identity/store.js";
import { FleetStores } from "../../../sim/fleet/fleet-client.js";
import type { FleetIdentity } from "../../../sim/fleet/fleet-plan.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { deriveKey, newKeyDerivation, readKeyDerivation, seal, unseal, type ScryptCost } from "../../../sim/node/vault/sealed.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";

/** One change of the CA names this many: its line of the audit trail has to stay short. */
const AT_ONCE = 200;
const PURPOSE = "hawser fleet identities";

/**
 * Ids from a pattern with one `{n}`, or `{n:5}` for five digits: `line-3-{n:4}` gives `line-3-0001`...
 * @throws HawserError `INVALID_ID`
 */
export function idsOf(pattern: string, count: number): string[] {
  const match = /^([^{}]*)\{n(?::(\d))?\}([^{}]*)$/.exec(pattern);
  if (match === null)
    throw new HawserError(
      "INVALID_ID",
      `${JSON.stringify(pattern)} is not a pattern of ids`,
      "Write one {n} where the number goes, e.g. sensor-{n} or sensor-{n:5}.",
    );
  const [, before = "", width = "1", after = ""] = match;
  return Array.from({ length: count }, (_, index) => `${before}${String(index + 1).padStart(Number(width), "0")}${after}`);
}

/** Makes keys here and has the CA issue for them. @throws HawserError as `provisionBatch` */
export async function provisionFleet(
  ca: CertificateAuthority,
  ids: readonly string[],
  role: string,
  onProgress: (done: number) => void = () => undefined,
): Promise<FleetIdentity[]> {
  const made: FleetIdentity[] = [];
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const stores = ids.slice(from, from + AT_ONCE).map((id) => new FleetStores({ id, records: {}, keys: {} }));
    const devices = stores.map(({ identity: { id }, keyStore }) => {
      keyStore.generate(keySlot("a"));
      return { id, csr: keyStore.csr(keySlot("a"), id) };
    });
    const identities = await ca.provisionBatch({ role, devices });
    for (const [index, { psk, chain, trustAnchors, pskIdentity, id, topics }] of identities.entries()) {
      const store = stores[index];
      if (store === undefined) continue;
      store.keyStore.importPsk(PSK_SLOT, psk);
      psk.fill(0);
      installIdentity(store.storage, store.keyStore, { id, role, pskIdentity, chain, trustAnchors, topics });
      made.push(store.kept());
    }
    onProgress(made.length);
  }
  return made;
}

interface SealedFile {
  readonly v: 1;
  readonly derivation: unknown;
  readonly sealed: string;
}

type Wire = { id: string; records: Record<string, string>; keys: Record<string, string> };

/** @throws HawserError `WRONG_PASSPHRASE`, `VAULT_CORRUPT` */
export function readIdentities(file: string, passphrase: string): FleetIdentity[] {
  if (!existsSync(file)) return [];
  try {
    const { derivation, sealed } = JSON.parse(readFileSync(file, "utf8")) as SealedFile;
    const known = readKeyDerivation(derivation);
    if (known === undefined) throw new SyntaxError("no derivation");
    const list = JSON.parse(unseal(deriveKey(passphrase, known), Buffer.from(sealed, "base64"), PURPOSE).toString("utf8")) as Wire[];
    return list.map(({ id, records, keys }) => ({ id, records: mapped(records, fromBase64), keys: mapped(keys, fromBase64) }));
  } catch (error) {
    if (error instanceof HawserError && error.code === "SEAL_BROKEN") {
      throw new HawserError(
        "WRONG_PASSPHRASE",
        `the passphrase does not open ${file}, or the file is damaged`,
        "Give the passphrase of the CA that the fleet was provisioned from.",
      );
    }
    if (!(error instanceof SyntaxError)) throw error;
    throw new HawserError(
      "VAULT_CORRUPT",
      `${file} does not hold a fleet's identities`,
      "Give another file name; the fleet is then provisioned again under other ids.",
    );
  }
}

/** Replaces the file as a whole, mode 0600. */
export function writeIdentities(file: string, passphrase: string, identities: readonly FleetIdentity[], cost?: Readonly<ScryptCost>): void {
  const derivation = newKeyDerivation(cost);
  const list: Wire[] = identities.map(({ id, records, keys }) => ({
    id,
    records: mapped(records, toBase64),
    keys: mapped(keys, toBase64),
  }));
  const sealed = seal(deriveKey(passphrase, derivation), Buffer.from(JSON.stringify(list), "utf8"), PURPOSE).toString("base64");
  writeFileAtomic(file, Buffer.from(`${JSON.stringify({ v: 1, derivation, sealed })}\n`));
}

function mapped<A, B>(from: Readonly<Record<string, A>>, by: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, by(value)]));
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
