/** The pre-shared keys that the authority of the world knows: as provisioned, and the salts that devices have told since. */
import { base64Encode } from "../../../sdk/encoding/text.js";
import { saltedKeyInput, saltProofInput } from "../../../sdk/identity/psk-salt.js";
import { macOf } from "./world-certificates.js";

export class SaltedKeys {
  readonly #keys = new Map<string, { readonly provisioned: Uint8Array; readonly salt?: string }>();
  /** Told of each key that brokers are to take from now on. */
  onChange: (id: string, key: Uint8Array) => void = () => undefined;

  provision(id: string, provisioned: Uint8Array): void {
    this.#keys.set(id, { provisioned });
    this.onChange(id, provisioned);
  }

  /** The key that brokers take of this device. */
  of(id: string): Uint8Array | undefined {
    const { provisioned, salt } = this.#keys.get(id) ?? {};
    return provisioned && (salt === undefined ? provisioned : macOf(provisioned, saltedKeyInput(salt)));
  }

  /** What an answer says of the salt. */
  proof(id: string): { saltProof?: string } {
    const { provisioned, salt } = this.#keys.get(id) ?? {};
    return provisioned && salt !== undefined ? { saltProof: base64Encode(macOf(provisioned, saltProofInput("authority", salt))) } : {};
  }

  /** A report tells a salt. */
  tell(id: string, { salt, saltProof }: Readonly<Record<string, unknown>>): void {
    const known = this.#keys.get(id);
    if (!known || typeof salt !== "string" || salt === known.salt) return;
    if (saltProof !== base64Encode(macOf(known.provisioned, saltProofInput("device", salt)))) return;
    const key = macOf(known.provisioned, saltedKeyInput(salt));
    this.#keys.set(id, { ...known, salt });
    this.onChange(id, key);
  }
}
