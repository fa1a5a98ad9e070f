/**
 * The texts of a lean bundle: each is left out of it, and an identifier made from the text stands in its place. `hawser explain` reads
 * the table that this makes and puts the texts back.
 *
 * In a device's messages a text is `{Ab3x}`, and one with values `{Ab3x|first|second}`; a value may be such a text itself.
 */
import { createHash } from "node:crypto";

/** A text, where a value stood as {@link VALUE}; and the next step that goes with it. */
export type LeanText = readonly [text: string, nextStep?: string];

/** By identifier. */
export type LeanTexts = Readonly<Record<string, LeanText>>;

/** Stands in a text for a value: no text has it. */
export const VALUE = "\u0001";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH = 4;

export class TextTable {
  readonly #texts = new Map<string, LeanText>();

  /** The identifier of a text: the same for the same text in every build, unless two texts of one build come upon the same. */
  idOf(text: LeanText): string {
    const whole = text.join("\0");
    const digest = createHash("sha256").update(whole).digest();
    for (let at = 0; at + ID_LENGTH <= digest.length; at++) {
      const id = [...digest.subarray(at, at + ID_LENGTH)].map((byte) => ALPHABET[byte % ALPHABET.length]).join("");
      const taken = this.#texts.get(id);
      if (taken !== undefined && taken.join("\0") !== whole) continue;
      this.#texts.set(id, text);
      return id;
    }
    throw new Error(`no identifier is left for ${JSON.stringify(whole)}`);
  }

  /** All texts, in the order of their identifiers. */
  get all(): LeanTexts {
    return Object.fromEntries([...this.#texts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
