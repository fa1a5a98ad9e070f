/** The public faces: each exports every type that it names, and none shows an application what only the SDK may call. */
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import type { Requester } from "../../sdk/mqtt/index.js";
import type { Message, Subscription } from "../../sdk/index.js";

const ROOT = join(import.meta.dirname, "..", "..");
const SDK_FACES = ["sdk/index.ts", "sdk/mqtt/index.ts", "sdk/presets/index.ts", "sdk/reports/index.ts"];
const FACES = [...SDK_FACES, "sim/node/index.ts", "sim/index.ts", "host-tools/testing/index.ts"];

const configFile = ts.readConfigFile(join(ROOT, "tsconfig.json"), (path) => ts.sys.readFile(path));
const { options } = ts.parseJsonConfigFileContent(configFile.config, ts.sys, ROOT);
const program = ts.createProgram(
  FACES.map((file) => join(ROOT, file)),
  options,
);
const checker = program.getTypeChecker();

/** Names in `node` that stand for types: a class shows what is not private, a function its head. */
function namedTypes(node: ts.Node, found: ts.Identifier[]): void {
  const isHidden = ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) === true;
  const name = (node as { name?: ts.Node }).name;
  if (ts.isBlock(node) || (name !== undefined && ts.isPrivateIdentifier(name)) || (isHidden && !ts.isParameter(node))) return;
  if (ts.isTypeReferenceNode(node)) found.push(ts.isIdentifier(node.typeName) ? node.typeName : node.typeName.right);
  else if (ts.isExpressionWithTypeArguments(node) && ts.isIdentifier(node.expression)) found.push(node.expression);
  ts.forEachChild(node, (child) => namedTypes(child, found));
}

function target(symbol: ts.Symbol | undefined): ts.Symbol | undefined {
  return symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(symbol) : symbol;
}

function exportsOf(face: string): Set<ts.Symbol | undefined> {
  const module = checker.getSymbolAtLocation(program.getSourceFile(join(ROOT, face))!)!;
  return new Set(checker.getExportsOfModule(module).map(target));
}

/** Ours that the face names and exports neither itself nor through a face below it, and where. */
function missingTypes(face: string): string[] {
  const exported = exportsOf(face);
  const below = new Set(!SDK_FACES.includes(face) ? SDK_FACES.flatMap((one) => [...exportsOf(one)]) : []);
  const missing = new Set<string>();
  for (const symbol of exported) {
    for (const declaration of symbol?.declarations ?? []) {
      const names: ts.Identifier[] = [];
      namedTypes(declaration, names);
      for (const name of names) {
        const type = target(checker.getSymbolAtLocation(name));
        const home = type?.declarations?.[0];
        const isOurs =
          home !== undefined && !home.getSourceFile().fileName.includes("node_modules") && !ts.isTypeParameterDeclaration(home);
        if (isOurs && !exported.has(type) && !below.has(type)) missing.add(`${name.text} (named by ${symbol?.name ?? ""})`);
      }
    }
  }
  return [...missing];
}

describe("the public faces", () => {
  it.each(FACES)("%s exports every type that it names", (face) => {
    expect(missingTypes(face)).toEqual([]);
  });

  it("show an application of a subscription only what it may call", () => {
    type Shown = Exclude<keyof Subscription, symbol>;
    const shown: Record<Shown, true> = { filter: true, granted: true, buffered: true, next: true, return: true, throw: true, close: true };
    expect(Object.keys(shown)).not.toContain("push");
    const misuse = (subscription: Subscription, message: Message): void => {
      // @ts-expect-error: only the session feeds a subscription.
      subscription.push(message);
      // @ts-expect-error: only the session fails one.
      subscription.fail(new Error());
      // @ts-expect-error: a message's state belongs to the session.
      message.isTaken = true;
    };
    expect(misuse).toBeTypeOf("function");
  });

  it("show an application of a requester only what it may call", () => {
    const shown: Record<Exclude<keyof Requester, symbol>, true> = { request: true, close: true };
    expect(Object.keys(shown)).toEqual(["request", "close"]);
  });
});
