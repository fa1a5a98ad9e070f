/**
 * Watches a device's trust anchors, change by change: one enters only behind the root that vouches for it, and at every moment the device
 * trusts the root that its broker's certificate comes from. Reads the record as docs/protocol.md has it, not through the SDK's own reader.
 */
import { hexEncode } from "../../../sdk/encoding/text.js";
import { splitBlocks } from "../../../sdk/encoding/blocks.js";
import type { Roots } from "../pki/roots.js";
import type { Flash } from "../power/flash.js";
import type { Chronicle } from "../world/chronicle.js";

export class AnchorWatch {
  #last: readonly string[] = [];

  constructor(
    private readonly device: string,
    private readonly flash: Flash,
    private readonly roots: Roots,
    private readonly chronicle: Chronicle,
  ) {}

  /** From now on every change is looked at. */
  provisioned(): void {
    this.roots.devices.add(this.device);
    this.#last = this.#anchors().map(hexEncode);
    const { onChange } = this.flash;
    this.flash.onChange = (key) => {
      onChange(key);
      if (key === "anchors") this.check();
    };
  }

  check(): void {
    const anchors = this.#anchors();
    for (const anchor of anchors) {
      if (this.#last.includes(hexEncode(anchor))) continue;
      const before = this.roots.predecessor(anchor);
      if (!before || !this.#last.includes(hexEncode(before)))
        this.chronicle.violate("strange-anchor", this.device, "it trusts a root that none of its own has vouched for");
    }
    this.#last = anchors.map(hexEncode);
    if (!this.#last.includes(hexEncode(this.roots.serving)))
      this.chronicle.violate("distrusts-broker", this.device, "it does not trust the root that its broker's certificate comes from");
  }

  #anchors(): Uint8Array[] {
    return splitBlocks(this.flash.peek("anchors") ?? new Uint8Array());
  }
}
