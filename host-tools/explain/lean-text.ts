/**
 * Puts the texts back that a lean build left out of a device (firmware/build/lean): `{Ab3x}` is a text, `{Ab3x|first|second}` one with
 * values, and a value may hold such texts itself.
 */

/** Where a value stood in the text. */
const VALUE = "\u0001";
const HEAD = /\{([A-Za-z0-9]{4})(?=[|}])/y;

/** What a build wrote beside its bundle: by identifier the text, and the next step that goes with it. */
export type LeanTexts = Readonly<Record<string, readonly [text: string, nextStep?: string]>>;

/** @returns the line with its texts; an identifier that the table does not have stays as it is */
export function withTexts(line: string, texts: LeanTexts): string {
  return new LeanLine(line, texts).read();
}

/** Whether the line has a text in it that the table knows. */
export function hasText(line: string, texts: LeanTexts): boolean {
  return [...line.matchAll(/\{([A-Za-z0-9]{4})(?=[|}])/g)].some(([, id = ""]) => Object.hasOwn(texts, id));
}

class LeanLine {
  #at = 0;

  constructor(
    private readonly line: string,
    private readonly texts: LeanTexts,
  ) {}

  /** Up to the end, or to one of `ends` outside of a text and of braces that belong together. */
  read(ends = ""): string {
    let out = "";
    let depth = 0;
    for (;;) {
      const next = this.line.charAt(this.#at);
      if (next === "" || (depth === 0 && ends.includes(next))) return out;
      const text = this.#text();
      if (text === undefined) {
        depth += next === "{" ? 1 : next === "}" && depth > 0 ? -1 : 0;
        this.#at++;
      }
      out += text ?? next;
    }
  }

  #text(): string | undefined {
    HEAD.lastIndex = this.#at;
    const [head, id = ""] = HEAD.exec(this.line) ?? [];
    const known = head !== undefined && Object.hasOwn(this.texts, id) ? this.texts[id] : undefined;
    if (head === undefined || known === undefined) return undefined;
    const [text, nextStep] = known;
    const start = this.#at;
    this.#at += head.length;
    const values: string[] = [];
    const wanted = text.split(VALUE).length - 1;
    while (values.length < wanted && this.line.charAt(this.#at) === "|") {
      this.#at++;
      values.push(this.read(values.length + 1 < wanted ? "|}" : "}"));
    }
    if (this.line.charAt(this.#at) !== "}" || values.length < wanted) {
      this.#at = start;
      return undefined;
    }
    this.#at++;
    const pieces = text.split(VALUE).map((piece, index) => piece + (values[index] ?? ""));
    return pieces.join("") + (nextStep === undefined ? "" : `. Next: ${nextStep.replaceAll(VALUE, "...")}`);
  }
}
