/**
 * Names of members that nothing outside of a bundle can see, so that the minifier may shorten them: those of classes, as long as no type
 * that can be reached from the bundle's exports, no record, no library and no C source has the same name.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { packageRoot } from "../project-files.js";

/** @param entry the bundle's first module, by absolute path */
export function internalNames(entry: string): string[] {
  const { program, module } = programOf(entry);
  const names = new Set<string>();
  const kept = new Set(namesInC());
  for (const file of program.getSourceFiles()) {
    if (file.isDeclarationFile) collectDeclared(file, kept);
    else collectMembers(file, names, kept);
  }
  new PublicNames(program.getTypeChecker(), kept).addExports(module);
  return [...names].filter((name) => !kept.has(name)).sort();
}

function programOf(entry: string): { program: ts.Program; module: ts.Symbol } {
  const folder = join(packageRoot(), "firmware");
  const { config } = ts.readConfigFile(join(folder, "tsconfig.json"), (path) => ts.sys.readFile(path)) as { config: unknown };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, folder);
  const program = ts.createProgram([entry], { ...options, noEmit: true });
  const file = program.getSourceFile(entry);
  const module = file && program.getTypeChecker().getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${entry} exports nothing`);
  return { program, module };
}

/** Members of classes into `names`; what objects without a class are made of into `kept`: they are stored and sent. */
function collectMembers(node: ts.Node, names: Set<string>, kept: Set<string>): void {
  if (ts.isClassLike(node)) for (const member of node.members) for (const name of memberNames(member)) names.add(name);
  const parts = ts.isObjectLiteralExpression(node) ? node.properties : ts.isPropertySignature(node) ? [node] : [];
  for (const { name } of parts) if (name && ts.isIdentifier(name)) kept.add(name.text);
  ts.forEachChild(node, (child) => collectMembers(child, names, kept));
}

function memberNames(member: ts.ClassElement): string[] {
  if (ts.isConstructorDeclaration(member))
    return member.parameters.filter((one) => ts.isParameterPropertyDeclaration(one, member)).map((one) => one.name.getText());
  return member.name && ts.isIdentifier(member.name) ? [member.name.text] : [];
}

/** Every name that a library declares a member by. */
function collectDeclared(node: ts.Node, kept: Set<string>): void {
  if ((ts.isTypeElement(node) || ts.isClassElement(node)) && node.name && ts.isIdentifier(node.name)) kept.add(node.name.text);
  ts.forEachChild(node, (child) => collectDeclared(child, kept));
}

function namesInC(): string[] {
  const folder = join(packageRoot(), "firmware", "native");
  const files = readdirSync(folder).filter((file) => /\.[ch]$/.test(file));
  return files.flatMap((file) => [...readFileSync(join(folder, file), "utf8").matchAll(/\bxsID_(\w+)/g)].map(([, name = ""]) => name));
}

/** The names of all members of all types that a module's exports lead to. */
class PublicNames {
  readonly #seen = new Set<ts.Type>();

  constructor(
    private readonly checker: ts.TypeChecker,
    private readonly names: Set<string>,
  ) {}

  addExports(module: ts.Symbol): void {
    for (const exported of this.checker.getExportsOfModule(module)) {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(exported) : exported;
      if (symbol.flags & ts.SymbolFlags.Type) this.#addType(this.checker.getDeclaredTypeOfSymbol(symbol));
      if (symbol.flags & ts.SymbolFlags.Value) this.#addType(this.checker.getTypeOfSymbol(symbol));
    }
  }

  #addType(type: ts.Type): void {
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    for (const part of this.#partsOf(type)) this.#addType(part);
    // A library's own members are kept already.
    if (!(type.flags & ts.TypeFlags.Object) || isOfLibrary(type)) return;
    for (const property of type.getProperties()) this.#addProperty(property);
  }

  #addProperty(property: ts.Symbol): void {
    const declaration = property.valueDeclaration;
    const isPrivate = declaration && ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Private;
    if (isPrivate || property.name.startsWith("#")) return;
    this.names.add(property.name);
    this.#addType(this.checker.getTypeOfSymbol(property));
  }

  #partsOf(type: ts.Type): ts.Type[] {
    if (type.isUnionOrIntersection()) return type.types;
    const constraint = type.flags & ts.TypeFlags.Instantiable ? this.checker.getBaseConstraintOfType(type) : undefined;
    if (!(type.flags & ts.TypeFlags.Object)) return constraint ? [constraint] : [];
    const isReference = (type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference;
    const signatures = isOfLibrary(type) ? [] : [...type.getCallSignatures(), ...type.getConstructSignatures()];
    return [
      ...(type.aliasTypeArguments ?? []),
      ...(isReference ? this.checker.getTypeArguments(type as ts.TypeReference) : []),
      ...(type.getBaseTypes() ?? []),
      ...signatures.flatMap((one) => [...one.getParameters().map((each) => this.checker.getTypeOfSymbol(each)), one.getReturnType()]),
      ...this.checker.getIndexInfosOfType(type).map(({ type: indexed }) => indexed),
    ];
  }
}

function isOfLibrary({ symbol }: { symbol?: ts.Symbol }): boolean {
  return symbol?.declarations?.every((declaration) => declaration.getSourceFile().isDeclarationFile) ?? false;
}
