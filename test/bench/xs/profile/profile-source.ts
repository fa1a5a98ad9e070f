/**
 * Makes each function of a module tell when it begins and ends (`profile-counter.ts`), by the module's name. Asynchronous functions,
 * generators and arrow functions without braces count for whom calls them.
 */
import ts from "typescript";

export function profiledSource(source: string, module: string): string {
  const file = ts.createSourceFile("module.ts", source, ts.ScriptTarget.ES2022, true);
  const inserts: (readonly [at: number, text: string])[] = [];
  const visit = (node: ts.Node): void => {
    const body = bodyOf(node);
    if (body !== undefined) {
      // Behind `super()`, before which a constructor has no `this` and no fields of its own.
      const first = body.statements.find((one) => /^super\(/.test(one.getText()));
      inserts.push([first?.end ?? body.getStart() + 1, ` globalThis.profileIn?.(${JSON.stringify(module)}); try {`]);
      inserts.push([body.end - 1, "} finally { globalThis.profileOut?.(); } "]);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  // From the end on; of two at one place, in an empty body, the later one first.
  return inserts
    .reverse()
    .sort(([one], [other]) => other - one)
    .reduce((text, [at, words]) => text.slice(0, at) + words + text.slice(at), source);
}

function bodyOf(node: ts.Node): ts.Block | undefined {
  if (!ts.isFunctionLike(node) || !("body" in node) || node.body === undefined || !ts.isBlock(node.body)) return undefined;
  const isAsync = ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword);
  const isGenerator = "asteriskToken" in node && node.asteriskToken !== undefined;
  return isAsync === true || isGenerator ? undefined : node.body;
}
