/**
 * Watches a device's pre-shared key: at every moment the device has the one that brokers take, and its certificates do not change without
 * it. Reads the record as docs/protocol.md has it, not through the SDK's own reader.
 */
import { hexEncode, utf8Decode } from "../../../sdk/encoding/text.js";
import { saltedKeyInput } from "../../../sdk/identity/psk-salt.js";
import { sameBytes } from "../network/virtual-tls.js";
import { macOf } from "../pki/world-certificates.js";
import type { Flash } from "../power/flash.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { Chronicle } from "../world/chronicle.js";

/** A report that comes late leaves the key as it is once: the certificate after it was issued before the authority had the salt. */
const UNCHANGED_MAX = 1;

export class PskWatch {
  /** The last certificate reported, and the key that brokers took then. */
  #last = "";
  #lastKey = "";
  #unchanged = 0;
  /** What brokers take now. */
  taken: () => Uint8Array | undefined = () => undefined;

  constructor(
    private readonly device: string,
    private readonly flash: Flash,
    private readonly keys: VirtualKeys,
    private readonly chronicle: Chronicle,
  ) {}

  /** From now on every change is looked at. */
  provisioned(): void {
    for (const part of [this.flash, this.keys]) {
      const { onChange } = part;
      part.onChange = (what: string) => {
        onChange(what);
        this.check();
      };
    }
  }

  check(): void {
    const taken = this.taken();
    const provisioned = this.keys.peek("psk");
    if (provisioned?.kind !== "psk" || !taken) return;
    const held = this.#salts().map((salt) => (salt === "" ? provisioned.key : macOf(provisioned.key, saltedKeyInput(salt))));
    if (!held.some((key) => sameBytes(key, taken)))
      this.chronicle.violate("psk-lost", this.device, "brokers take a pre-shared key that the device does not have");
  }

  /** The authority has taken the report of a certificate that the device itself asked for. */
  reported(serial: string, taken: Uint8Array): void {
    if (serial === this.#last) return;
    const key = hexEncode(taken);
    this.#unchanged = key === this.#lastKey ? this.#unchanged + 1 : 0;
    this.#last = serial;
    this.#lastKey = key;
    if (this.#unchanged > UNCHANGED_MAX)
      this.chronicle.violate("psk-unchanged", this.device, "its pre-shared key is the same after a further certificate");
  }

  #salts(): readonly string[] {
    try {
      return (JSON.parse(utf8Decode(this.flash.peek("identity") ?? new Uint8Array())) as { salts?: string[] }).salts ?? [""];
    } catch {
      return [""];
    }
  }
}
