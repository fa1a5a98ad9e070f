/**
 * A device's key store in this world: keys are names, distinct and without any cryptography, and every change can be cut off by the power.
 */
import { HawserError } from "../../../sdk/errors.js";
import type { KeyStore } from "../../../sdk/platform.js";
import { buildRequest, macOf, publicKeyOf, signatureOf } from "../pki/world-certificates.js";
import type { PowerSupply } from "./power-supply.js";

export type StoredKey = { kind: "pair"; secret: string } | { kind: "psk"; key: Uint8Array };

const VALID_SLOT = /^[a-z0-9-]{1,15}$/;

export class VirtualKeys {
  readonly #slots = new Map<string, StoredKey>();
  #generated = 0;
  /** Told of each change, the moment it is durable. */
  onChange: (slot: string) => void = () => undefined;

  /** @param owner makes the keys of one device differ from those of all others */
  constructor(private readonly owner: string) {}

  /** What lies in a slot, without the device: for TLS and for checks. */
  peek(slot: string): StoredKey | undefined {
    return this.#slots.get(slot);
  }

  /** The hardware lost a key. */
  lose(slot: string): void {
    this.#slots.delete(slot);
  }

  /** The key store port of one power-on. */
  open(power: PowerSupply): KeyStore {
    const change = (slot: string, apply: () => void): void => {
      checkSlot(slot);
      power.change(() => {
        apply();
        this.onChange(slot);
      });
    };
    const secretOf = (slot: string): string => {
      power.check();
      const found = this.#slots.get(slot);
      if (found?.kind === "pair") return found.secret;
      throw new HawserError("KEY_MISSING", `there is no key pair in slot ${slot}`, "Generate one.");
    };
    return {
      generate: (slot) => change(slot, () => this.#slots.set(slot, { kind: "pair", secret: `${this.owner}#${++this.#generated}` })),
      csr: (slot, commonName) => buildRequest(commonName, secretOf(slot)),
      sign: (slot, data) => signatureOf(publicKeyOf(secretOf(slot)), data),
      publicKey: (slot) => publicKeyOf(secretOf(slot)),
      mac: (slot, data) => {
        power.check();
        const found = this.#slots.get(slot);
        if (found?.kind === "psk") return macOf(found.key, data);
        throw new HawserError("KEY_MISSING", `there is no pre-shared key in slot ${slot}`, "Import one.");
      },
      importPsk: (slot, key) => {
        if (key.length < 16 || key.length > 64)
          throw new HawserError("INVALID_PSK", `a pre-shared key of ${key.length} bytes`, "Use 16 to 64 bytes.");
        change(slot, () => this.#slots.set(slot, { kind: "psk", key: key.slice() }));
      },
      destroy: (slot) => {
        power.check();
        if (this.#slots.has(slot)) change(slot, () => this.#slots.delete(slot));
      },
      has: (slot) => {
        power.check();
        return this.#slots.has(slot);
      },
    };
  }
}

function checkSlot(slot: string): void {
  if (!VALID_SLOT.test(slot))
    throw new HawserError("INVALID_SLOT", `invalid slot name ${JSON.stringify(slot)}`, "Use 1 to 15 characters of a-z, 0-9 and '-'.");
}
