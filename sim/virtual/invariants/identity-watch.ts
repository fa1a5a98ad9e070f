/**
 * Watches a device's flash and key store, change by change: at every moment there is a usable identity, and none serves that has not been
 * proved. Reads the records as docs/protocol.md has them, not through the SDK's own reader.
 */
import { utf8Decode, utf8Encode } from "../../../sdk/encoding/text.js";
import { splitBlocks } from "../../../sdk/encoding/blocks.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { sameBytes } from "../network/virtual-tls.js";
import { publicKeyOf } from "../pki/world-certificates.js";
import type { Flash } from "../power/flash.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { Chronicle } from "../world/chronicle.js";

export class IdentityWatch {
  /** Serials that a broker let in and granted a subscription. */
  readonly #accepted = new Set<string>();
  readonly #proved = new Set<string>();
  /** Filters that a broker granted to this device. */
  readonly #granted = new Set<string>();
  #active: string | undefined;
  /** The hardware lost a key: until the device has a new identity there is none to be had. */
  #bereft = false;
  rotations = 0;
  /** Whether a certificate comes from the CA of this world. */
  vouches: (der: Uint8Array) => boolean = () => true;

  constructor(
    private readonly device: string,
    private readonly flash: Flash,
    private readonly keys: VirtualKeys,
    private readonly chronicle: Chronicle,
    /** The device asks for certificates elsewhere: that a broker lets one in proves it. */
    private readonly provesByConnack = false,
  ) {}

  /** The first identity came from the factory. */
  provisioned(): void {
    const serial = this.#usable();
    if (serial === undefined) this.#bereft = true;
    else this.#proved.add(serial);
    this.#active = serial;
    this.flash.onChange = () => this.check();
    this.keys.onChange = () => this.check();
  }

  get activeSerial(): string | undefined {
    return this.#active;
  }

  /** The hardware lost the key of the active identity. */
  bereave(): void {
    this.#bereft = true;
  }

  accepted(serial: string): void {
    this.#accepted.add(serial);
    if (this.provesByConnack) this.#proved.add(serial);
  }

  granted(serial: string, filter: string): void {
    this.#granted.add(filter);
    if (this.#accepted.has(serial)) this.#proved.add(serial);
  }

  check(): void {
    const { place } = this;
    if (place !== undefined && !this.#granted.has(`${place}/response`))
      this.chronicle.violate("unproved-topics", this.device, `it asks below ${place}, where no broker has let it hear the authority`);
    const foreign = this.#stored().find((leaf) => !this.vouches(leaf));
    if (foreign) this.chronicle.violate("untrusted-certificate", this.device, "a certificate is stored that none of its CAs issued");
    const serial = this.#usable();
    if (serial === undefined) {
      if (!this.#bereft) this.chronicle.violate("no-usable-identity", this.device, "flash and key store hold no certificate with its key");
      return;
    }
    if (serial === this.#active) return;
    this.#bereft = false;
    this.#active = serial;
    this.rotations++;
    if (!this.#proved.has(serial))
      this.chronicle.violate("unproved-identity", this.device, `certificate ${serial} serves and has never been proved`);
  }

  /** @param served where the authority is asked */
  settle(served: readonly string[]): void {
    const place = this.place ?? `devices/${this.device}/identity`;
    if (!served.includes(place))
      this.chronicle.violate("stranded", this.device, `it asks for certificates below ${place}, where nobody hears it`);
  }

  /** Where the device asks for certificates, if it was told; of the identity that serves. */
  get place(): string | undefined {
    return this.#record().topics?.identity;
  }

  #record(): { active?: string; topics?: { identity: string } } {
    return JSON.parse(utf8Decode(this.flash.peek("identity") ?? utf8Encode("{}"))) as { active?: string; topics?: { identity: string } };
  }

  /** The leaves of both slots, as far as they can be read. */
  #stored(): Uint8Array[] {
    return ["a", "b"].flatMap((slot) => {
      const bytes = this.flash.peek(`chain-${slot}`);
      return bytes ? splitBlocks(bytes).slice(0, 1) : [];
    });
  }

  /** Serial of the identity that serves, when it is whole. */
  #usable(): string | undefined {
    try {
      const slot = this.#record().active ?? "";
      const leaf = splitBlocks(this.flash.peek(`chain-${slot}`) ?? new Uint8Array())[0];
      const key = this.keys.peek(`key-${slot}`);
      if (!leaf || key?.kind !== "pair") return undefined;
      const certificate = readCertificate(leaf);
      return sameBytes(certificate.publicKey, publicKeyOf(key.secret)) && certificate.commonName === this.device
        ? certificate.serial
        : undefined;
    } catch {
      return undefined;
    }
  }
}
