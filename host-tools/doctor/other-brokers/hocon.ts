/**
 * Reads HOCON as EMQX and NanoMQ write it: objects, arrays, comments, dotted keys, later values over earlier ones. No substitutions, no
 * arithmetic.
 */
import { HawserError } from "../../../sdk/errors.js";

export type HoconValue = string | readonly HoconValue[] | HoconObject;

interface Leaf {
  readonly value: HoconValue;
  readonly line: number;
}

export class HoconObject {
  readonly #entries = new Map<string, Leaf>();

  keys(): readonly string[] {
    return [...this.#entries.keys()];
  }

  set(path: readonly string[], value: HoconValue, line: number): void {
    const [key = "", ...rest] = path;
    const held = this.#entries.get(key)?.value;
    if (rest.length > 0) {
      const inner = held instanceof HoconObject ? held : new HoconObject();
      inner.set(rest, value, line);
      if (inner !== held) this.#entries.set(key, { value: inner, line });
    } else if (held instanceof HoconObject && value instanceof HoconObject) {
      for (const name of value.keys()) held.set([name], value.at(name)?.value ?? "", value.at(name)?.line ?? line);
    } else this.#entries.set(key, { value, line });
  }

  /** The entry at a dotted path. */
  at(path: string): Leaf | undefined {
    const [key = "", ...rest] = path.split(".");
    const leaf = this.#entries.get(key);
    if (rest.length === 0) return leaf;
    return leaf?.value instanceof HoconObject ? leaf.value.at(rest.join(".")) : undefined;
  }

  text(path: string): string | undefined {
    const value = this.at(path)?.value;
    return typeof value === "string" ? value : undefined;
  }

  object(path: string): HoconObject | undefined {
    const value = this.at(path)?.value;
    return value instanceof HoconObject ? value : undefined;
  }

  list(path: string): readonly HoconValue[] | undefined {
    const value = this.at(path)?.value;
    return Array.isArray(value) ? (value as readonly HoconValue[]) : undefined;
  }
}

/** Deep enough for any configuration, and far from the stack's end. */
const MAX_DEPTH = 32;

/** @throws HawserError `BAD_BROKER_CONFIG` */
export function parseHocon(text: string): HoconObject {
  return new Reader(text).document();
}

class Reader {
  #at = 0;
  #line = 1;

  constructor(readonly text: string) {}

  document(): HoconObject {
    this.#blank();
    if (this.#peek() !== "{") return this.#members("", 0);
    this.#at += 1;
    const object = this.#members("}", 0);
    this.#blank();
    if (this.#at < this.text.length) this.#fail("text behind the closing }");
    return object;
  }

  #peek(): string {
    return this.text[this.#at] ?? "";
  }

  #fail(what: string): never {
    throw new HawserError(
      "BAD_BROKER_CONFIG",
      `line ${this.#line}: ${what}`,
      "Check the file with the broker's own tool (emqx check_config, nanomq start).",
    );
  }

  /** Blanks, line ends, commas and comments. */
  #blank(): void {
    for (;;) {
      const char = this.#peek();
      if (char === "\n") this.#line += 1;
      if (char !== "" && /[\s,]/.test(char)) this.#at += 1;
      else if (char === "#" || this.text.startsWith("//", this.#at)) while (this.#peek() !== "" && this.#peek() !== "\n") this.#at += 1;
      else return;
    }
  }

  #members(end: string, depth: number): HoconObject {
    if (depth > MAX_DEPTH) this.#fail("too deeply nested");
    const object = new HoconObject();
    for (;;) {
      this.#blank();
      if (this.#peek() === end) {
        this.#at += 1;
        return object;
      }
      if (this.#peek() === "") this.#fail(`${end} is missing`);
      const line = this.#line;
      const path = this.#key();
      if (path[0] === "include") {
        this.#word();
        continue;
      }
      this.#blank();
      if (this.#peek() === "=" || this.#peek() === ":") {
        this.#at += 1;
        this.#blank();
      } else if (this.#peek() !== "{") this.#fail(`= is missing behind ${path.join(".")}`);
      object.set(path, this.#value(depth), line);
    }
  }

  #key(): string[] {
    const path: string[] = [];
    for (;;) {
      path.push(this.#peek() === '"' ? this.#quoted() : this.#bareName());
      if (this.#peek() !== ".") return path;
      this.#at += 1;
    }
  }

  #bareName(): string {
    const name = /^[^\s=:{}[\],"#.]+/.exec(this.text.slice(this.#at, this.#at + 200))?.[0];
    if (name === undefined) this.#fail("a name is expected here");
    this.#at += name.length;
    return name;
  }

  #value(depth: number): HoconValue {
    const char = this.#peek();
    if (char === "{") {
      this.#at += 1;
      return this.#members("}", depth + 1);
    }
    if (char === "[") {
      this.#at += 1;
      return this.#array(depth + 1);
    }
    return char === '"' ? this.#quoted() : this.#word();
  }

  #array(depth: number): readonly HoconValue[] {
    if (depth > MAX_DEPTH) this.#fail("too deeply nested");
    const values: HoconValue[] = [];
    for (;;) {
      this.#blank();
      if (this.#peek() === "]") {
        this.#at += 1;
        return values;
      }
      if (this.#peek() === "") this.#fail("] is missing");
      values.push(this.#value(depth));
    }
  }

  #quoted(): string {
    const isTriple = this.text.startsWith('"""', this.#at);
    const mark = isTriple ? '"""' : '"';
    let end = this.#at + mark.length;
    while (end < this.text.length && !this.text.startsWith(mark, end)) end += this.text[end] === "\\" && !isTriple ? 2 : 1;
    if (end >= this.text.length) this.#fail("a quote is not closed");
    const inner = this.text.slice(this.#at + mark.length, end);
    this.#line += inner.split("\n").length - 1;
    this.#at = end + mark.length;
    return isTriple ? inner : inner.replace(/\\(.)/g, "$1");
  }

  /** Up to the end of the line, a comma or a bracket. */
  #word(): string {
    const rest = this.text.slice(this.#at, this.#at + 4096);
    const word = /^(?:"[^"\n]*"|(?!\/\/\s)[^\n,\]}#])*/.exec(rest)?.[0] ?? "";
    if (word === "") this.#fail("a value is expected here");
    this.#at += word.length;
    return word.trim();
  }
}
