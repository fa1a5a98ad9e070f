/**
 * Who may ask for a certificate of a name without costing its holder the present one, as docs/protocol.md has it: the holder of its key, or
 * whoever asks while the holder, asked over the network, is silent.
 */
import { base64Decode, hexEncode, utf8Encode } from "../../../sdk/encoding/text.js";
import { sameBytes } from "../network/virtual-tls.js";
import { signatureOf } from "./world-certificates.js";

const SILENT_AFTER_MS = 100_000;
const SILENT_TIMES = 3;
const ASKED_AGAIN_AFTER_MS = 600_000;
const SILENCE_LASTS_MS = 86_400_000;

interface Question {
  requestIds: string[];
  askedAtMs: number;
  isInUse: boolean;
}

interface Certified {
  serial: string;
  /** Public key, hex. */
  key: string;
  isUnproved: boolean;
}

export class Holders {
  readonly #questions = new Map<string, Question>();
  readonly #certified = new Map<string, Certified[]>();
  /** Keys of each name that its owner has had, whatever became of their certificates. */
  readonly #owned = new Map<string, Set<string>>();

  constructor(private readonly nowMs: () => number) {}

  /** @param signer the key that signed the request */
  issued(id: string, serial: string, publicKey: Uint8Array, isUnproved: boolean, signer: string): void {
    this.#questions.delete(id);
    const key = hexEncode(publicKey);
    this.#certified.set(id, [...(this.#certified.get(id) ?? []), { serial, key, isUnproved }]);
    const owned = this.#owned.get(id) ?? new Set<string>();
    if (signer === "known" || owned.size === 0 || owned.has(signer)) owned.add(key);
    this.#owned.set(id, owned);
  }

  /** Whether the key is one that the name's owner has had. */
  isOwner(id: string, key: string | undefined): boolean {
    return key !== undefined && this.#owned.get(id)?.has(key) === true;
  }

  /** What was certified before is worth nothing any more. */
  shutOut(id: string): void {
    this.#certified.delete(id);
  }

  /** The serial of the name's newest certificate with this key: a device cut off while it makes a key may ask with an earlier one. */
  serialOf(id: string, key: string | undefined): string | undefined {
    return this.#certified.get(id)?.[this.#newestWith(id, key)]?.serial;
  }

  /** @param good serials that are neither retired nor past */
  mayAsk(id: string, key: string | undefined, good: readonly string[]): boolean {
    const all = this.#certified.get(id) ?? [];
    const at = this.#newestWith(id, key);
    return good.length === 0 || good.includes(all[at]?.serial ?? "") || (at >= 0 && all.slice(at + 1).some((one) => one.isUnproved));
  }

  #newestWith(id: string, key: string | undefined): number {
    const keys: (string | undefined)[] = (this.#certified.get(id) ?? []).map((one) => one.key);
    return keys.lastIndexOf(key);
  }

  /** An error for the asker that shows no key; undefined once the holder was asked again and again, and is silent. */
  ask(id: string, requestId: string): { code: string; retryAfterSeconds: number } | undefined {
    const nowMs = this.nowMs();
    const found = this.#questions.get(id);
    const known =
      found && nowMs - found.askedAtMs < (found.isInUse ? ASKED_AGAIN_AFTER_MS : SILENCE_LASTS_MS)
        ? found
        : { requestIds: [], askedAtMs: -Infinity, isInUse: false };
    this.#questions.set(id, known);
    const leftMs = known.askedAtMs + (known.isInUse ? ASKED_AGAIN_AFTER_MS : SILENT_AFTER_MS) - nowMs;
    if (leftMs > 0) return { code: known.isInUse ? "IN_USE" : "TRY_LATER", retryAfterSeconds: Math.ceil(leftMs / 1_000) };
    if (known.requestIds.length >= SILENT_TIMES) return undefined;
    known.requestIds.push(requestId);
    known.askedAtMs = nowMs;
    return { code: "ASKING_HOLDER", retryAfterSeconds: SILENT_AFTER_MS / 1_000 };
  }

  object(id: string, requestId: string): void {
    const known = this.#questions.get(id);
    if (known?.requestIds.includes(requestId) === true) known.isInUse = true;
  }
}

/** The key that signed a message, hex. */
export function signerOf(text: string): string | undefined {
  const { key, proof } = JSON.parse(text) as { key?: string; proof?: string };
  if (key === undefined || proof === undefined) return undefined;
  const publicKey = base64Decode(key);
  const signed = utf8Encode(`${text.slice(0, text.lastIndexOf(',"proof"'))}}`);
  return sameBytes(base64Decode(proof), signatureOf(publicKey, signed)) ? hexEncode(publicKey) : undefined;
}
