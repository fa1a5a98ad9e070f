/**
 * What a lean build changes in a module's source: texts for people become identifiers, and where a build speaks one version of MQTT only,
 * each question for the version becomes its answer, so that the bundler leaves out what the other version needs.
 *
 * Every text is found by what it looks like, not by a list: a new message cannot be forgotten. What looks like a text and is data, is told
 * by where it stands ({@link isData}).
 */
import ts from "typescript";
import { VALUE, type TextTable } from "./text-table.js";

export interface LeanSource {
  /** Left out: texts stay. */
  readonly texts?: TextTable;
  /** Left out: both. */
  readonly protocolVersion?: 4 | 5;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export function leanSource(source: string, lean: LeanSource): string {
  const file = ts.createSourceFile("module.ts", source, ts.ScriptTarget.ES2022, true);
  return new Rewriter(source, lean).rewritten(file, 0, source.length);
}

class Rewriter {
  constructor(
    private readonly source: string,
    private readonly lean: LeanSource,
  ) {}

  /** The source from `start` to `end`, which lie around `node`. */
  rewritten(node: ts.Node, start = node.getStart(), end = node.end): string {
    const edits: Edit[] = [];
    this.#collect(node, edits);
    let text = "";
    let at = start;
    for (const edit of edits) {
      text += this.source.slice(at, edit.start) + edit.text;
      at = edit.end;
    }
    return text + this.source.slice(at, end);
  }

  #collect(node: ts.Node, edits: Edit[]): void {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || isData(node)) return;
    const text = this.#replaced(node);
    if (text === undefined) ts.forEachChild(node, (child) => this.#collect(child, edits));
    else edits.push({ start: node.getStart(), end: node.end, text });
  }

  #replaced(node: ts.Node): string | undefined {
    const { texts, protocolVersion } = this.lean;
    if (protocolVersion !== undefined) {
      const answer = answerFor(node, protocolVersion, texts);
      if (answer !== undefined) return answer;
    }
    if (texts === undefined) return undefined;
    if (ts.isNewExpression(node)) return this.#error(node, texts);
    return isText(node) ? this.#shortened(node, texts) : undefined;
  }

  /** `new HawserError(code, message, nextStep)`: message and next step become one identifier. */
  #error(node: ts.NewExpression, texts: TextTable): string | undefined {
    const [code, message, nextStep] = node.arguments ?? [];
    if (node.expression.getText() !== "HawserError" || !code || !message || !nextStep) return undefined;
    if (!isText(message) || !isText(nextStep)) return undefined;
    return `new HawserError(${this.rewritten(code)}, ${this.#shortened(message, texts, wordsOf(nextStep))})`;
  }

  #shortened(node: Text, texts: TextTable, nextStep?: string): string {
    const id = texts.idOf(nextStep === undefined ? [wordsOf(node)] : [wordsOf(node), nextStep]);
    if (!ts.isTemplateExpression(node)) return `"{${id}}"`;
    return `\`{${id}${node.templateSpans.map(({ expression }) => `|\${${this.rewritten(expression)}}`).join("")}}\``;
  }
}

type Text = ts.StringLiteralLike | ts.TemplateExpression;

/** Two letters and white space: words for people. Separators and names have not both. */
function isText(node: ts.Node): node is Text {
  return (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) && /\s/.test(wordsOf(node)) && /[a-z]{2}/i.test(wordsOf(node));
}

function wordsOf(node: Text): string {
  return ts.isTemplateExpression(node)
    ? [node.head, ...node.templateSpans.map(({ literal }) => literal)].map((one) => one.text).join(VALUE)
    : node.text;
}

/** Labels of key derivation; names of reason codes, which error codes are made from; what another library's error says. */
function isData(node: ts.Node): boolean {
  if (ts.isCallExpression(node)) return node.expression.getText() === "utf8Encode";
  if (ts.isVariableDeclaration(node)) return node.name.getText() === "REASONS";
  return ts.isBinaryExpression(node) && isEquality(node) && isText(node.right);
}

function isEquality({ operatorToken: { kind } }: ts.BinaryExpression): boolean {
  return kind === ts.SyntaxKind.EqualsEqualsEqualsToken || kind === ts.SyntaxKind.ExclamationEqualsEqualsToken;
}

/** Expressions that hold the version of MQTT. */
const VERSION = /(?:^|[.#])(?:version|protocolVersion)$/;

/** What a build of one version knows: `version === 5`, that packets of 3.1.1 have no properties, and what the option may be. */
function answerFor(node: ts.Node, only: 4 | 5, texts: TextTable | undefined): string | undefined {
  if (ts.isBinaryExpression(node) && isEquality(node) && VERSION.test(node.left.getText()) && /^[45]$/.test(node.right.getText())) {
    const isSame = node.operatorToken.kind === ts.SyntaxKind.EqualsEqualsEqualsToken;
    return String((Number(node.right.getText()) === only) === isSame);
  }
  if (ts.isCallExpression(node) && /^oneOf\(4, 5(?:, "auto")?\)$/.test(node.getText())) {
    const words = `${only}: this build speaks no other version of MQTT`;
    const allowed = `value === ${only}${node.arguments.length === 3 ? ' || value === "auto"' : ""}`;
    return `(value) => (${allowed} ? undefined : ${JSON.stringify(texts === undefined ? words : `{${texts.idOf([words])}}`)})`;
  }
  if (ts.isPropertyAssignment(node) && node.name.getText() === "protocolVersion" && node.initializer.getText() === "5")
    return `protocolVersion: ${only}`;
  if (only === 4 && node.getText() === "propertySize > 0") return "false";
  return ts.isConditionalExpression(node) && node.getText() === 'version === "auto" ? 5 : version' ? String(only) : undefined;
}
