/** Finds a piece of code in a source file, however the formatter broke its lines. */

export interface Occurrence {
  start: number;
  end: number;
}

/** Words, or one character of anything else; white space only separates. */
const TOKEN = /[\w$#]+|[^\s\w$#]/g;
const WORD = /^[\w$#]/;
const CLOSING = /^[)\]}]$/;

/**
 * Where `wanted` stands in `source`. White space matters only between two words; a comma that the formatter adds or leaves out
 * before a closing bracket does not. Texts in quotation marks follow the same rule: their spaces do not count.
 */
export function findCode(source: string, wanted: string): Occurrence[] {
  const tokens = wanted.match(TOKEN) ?? [];
  if (tokens.length === 0) return [];
  const pattern = tokens.reduce((text, token, at) => `${text}${at === 0 ? "" : gap(tokens[at - 1] ?? "", token)}${escaped(token)}`, "");
  const closesWord = WORD.test(tokens.at(-1) ?? "") ? "(?![\\w$#])" : "";
  const opensWord = WORD.test(tokens[0] ?? "") ? "(?<![\\w$#])" : "";
  return [...source.matchAll(new RegExp(`${opensWord}${pattern}${closesWord}`, "g"))].map(({ index, 0: found }) => ({
    start: index,
    end: index + found.length,
  }));
}

function gap(before: string, after: string): string {
  if (WORD.test(before) && WORD.test(after)) return "\\s+";
  return CLOSING.test(after) && before !== "," ? "\\s*,?\\s*" : "\\s*";
}

const escaped = (token: string): string => token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
