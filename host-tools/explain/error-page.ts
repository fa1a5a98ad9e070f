/** What docs/errors.md says of a code. A test keeps the page and the source the same. */

export interface CodeMeaning {
  readonly code: string;
  readonly meaning: string;
  readonly nextStep: string;
}

const ENTRY = /^- \*\*`(\w+)`\*\*: (.+(?:\n {2}(?!Next:).+)*)\n {2}Next: (.+(?:\n {2}.+)*)/gm;

/** @param page the text of docs/errors.md */
export function meaningsOf(page: string): CodeMeaning[] {
  return [...page.matchAll(ENTRY)].map(([, code = "", meaning = "", nextStep = ""]) => ({
    code,
    meaning: onOneLine(meaning),
    nextStep: onOneLine(nextStep),
  }));
}

function onOneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
