/**
 * The key store on Node: P-256 keys and pre-shared keys in slots, held in memory as they are used and kept by whoever is given as
 * keeper (a vault, or nobody in tests).
 *
 * Beyond the port it hands keys to the dialer of this folder, through {@link LinkKeys}: Node's TLS takes no signing callback.
 */
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { KeyStore } from "../../sdk/platform.js";
import { certificateRequest } from "./node-csr.js";

/** What a dialer needs of the keys behind the slots. For the dialer alone: nothing else may see a private key. */
export interface LinkKeys {
  /** The same object until the slot changes. Throws `KEY_MISSING`. */
  signingKey(slot: string): KeyObject;
  /** Throws `KEY_MISSING`. */
  psk(slot: string): Buffer;
}

/** Keeps the slots' contents; each call is atomic and durable when it returns. The bytes are secret. */
export interface SlotKeeper {
  save(slot: string, secret: Uint8Array): void;
  erase(slot: string): void;
}

type Slot = { kind: "signing"; key: KeyObject } | { kind: "psk"; key: Buffer };

// First byte of a kept slot; what follows is PKCS#8 DER or the pre-shared key itself.
const SIGNING_KEY = 1;
const PSK = 2;

export class NodeKeyStore implements KeyStore, LinkKeys {
  readonly #slots = new Map<string, Slot>();
  readonly #keeper: SlotKeeper;

  constructor(keeper: SlotKeeper) {
    this.#keeper = keeper;
  }

  /**
   * Takes in what the keeper saved earlier.
   * @returns false when the bytes are no key
   */
  restore(slot: string, secret: Uint8Array): boolean {
    const contents = decodeSlot(secret);
    if (contents === undefined) return false;
    this.#slots.set(slot, contents);
    return true;
  }

  generate(slot: string): void {
    checkSlot(slot);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#keeper.save(slot, Buffer.concat([Buffer.of(SIGNING_KEY), privateKey.export({ type: "pkcs8", format: "der" })]));
    this.#slots.set(slot, { kind: "signing", key: privateKey });
  }

  csr(slot: string, commonName: string): Uint8Array {
    return certificateRequest(this.signingKey(slot), commonName);
  }

  sign(slot: string, data: Uint8Array): Uint8Array {
    return new Uint8Array(sign("sha256", data, { key: this.signingKey(slot), dsaEncoding: "ieee-p1363" }));
  }

  publicKey(slot: string): Uint8Array {
    return new Uint8Array(createPublicKey(this.signingKey(slot)).export({ type: "spki", format: "der" }));
  }

  mac(slot: string, data: Uint8Array): Uint8Array {
    return new Uint8Array(createHmac("sha256", this.psk(slot)).update(data).digest());
  }

  importPsk(slot: string, key: Uint8Array): void {
    checkSlot(slot);
    if (key.length < 16 || key.length > 64) {
      throw new HawserError("INVALID_PSK", `the pre-shared key for slot "${slot}" has ${key.length} bytes`, "Give 16 to 64 random bytes.");
    }
    this.#keeper.save(slot, Buffer.concat([Buffer.of(PSK), key]));
    this.#slots.set(slot, { kind: "psk", key: Buffer.from(key) });
  }

  destroy(slot: string): void {
    checkSlot(slot);
    if (!this.#slots.has(slot)) return;
    this.#keeper.erase(slot);
    this.#slots.delete(slot);
  }

  has(slot: string): boolean {
    return this.#slots.has(slot);
  }

  signingKey(slot: string): KeyObject {
    const found = this.#slots.get(slot);
    if (found?.kind !== "signing") throw keyMissing(slot, "signing key");
    return found.key;
  }

  psk(slot: string): Buffer {
    const found = this.#slots.get(slot);
    if (found?.kind !== "psk") throw keyMissing(slot, "pre-shared key");
    return found.key;
  }
}

/** Whether this may name a slot: 1..15 characters of `[a-z0-9-]`. */
export function isSlotName(slot: string): boolean {
  return /^[a-z0-9-]{1,15}$/.test(slot);
}

function checkSlot(slot: string): void {
  if (!isSlotName(slot))
    throw new HawserError("INVALID_SLOT", `invalid key slot name "${slot}"`, "Use 1 to 15 characters of a-z, 0-9 and -.");
}

function keyMissing(slot: string, what: string): HawserError {
  return new HawserError("KEY_MISSING", `key slot "${slot}" holds no ${what}`, "Provision the device again, or let it enrol a new key.");
}

function decodeSlot(secret: Uint8Array): Slot | undefined {
  const key = Buffer.from(secret.subarray(1));
  if (secret[0] === PSK) return key.length >= 16 && key.length <= 64 ? { kind: "psk", key } : undefined;
  if (secret[0] !== SIGNING_KEY) return undefined;
  try {
    return { kind: "signing", key: createPrivateKey({ key, format: "der", type: "pkcs8" }) };
  } catch {
    return undefined;
  }
}
