/** A link without TLS: for gateways and tests. */
import { StreamLink } from "./stream-link.js";

export class PlainLink extends StreamLink {
  #wantsDrain = false;

  opened(): void {
    if (this.isOver) return;
    this.markOpen();
    this.handlers.opened({ tlsVersion: "none", cipher: "none", resumed: false });
  }

  write(bytes: Uint8Array): boolean {
    if (!this.isOpen) return false;
    this.send(bytes);
    if (this.isStuffed) this.#wantsDrain = true;
    return !this.isStuffed;
  }

  protected received(bytes: Uint8Array): void {
    this.handOver(bytes);
  }

  protected drained(): void {
    if (!this.#wantsDrain || this.isOver) return;
    this.#wantsDrain = false;
    this.handlers.drain();
  }

  protected sayGoodbye(): void {
    // TCP's own close says it all.
  }

  protected release(): void {
    // Nothing beside the stream.
  }
}
