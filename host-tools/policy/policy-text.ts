/** Reads a policy's YAML: bounded, checked against the schema, with the line of everything in it. */
// No effect beyond loading a package late.
// eslint-disable-next-line no-restricted-imports
import { createRequire } from "node:module";
import type { ErrorObject, ValidateFunction } from "ajv";
import type * as AjvOf2020 from "ajv/dist/2020.js";
import { isMap, isPair, LineCounter, parseDocument } from "yaml";
import type { Document } from "yaml";
import { HawserError } from "../../sdk/errors.js";
import type { Source } from "./policy-model.js";
import { POLICY_SCHEMA } from "./policy-schema.js";

/** A policy is written by people; a larger file is a mistake or an attack. */
const MAX_BYTES = 1024 * 1024;
/** Aliases in YAML multiply; a policy needs few. */
const MAX_ALIASES = 50;

/** A finding that stands on a line. */
export interface Finding {
  readonly level: "error" | "warning";
  /** Stable, upper case. */
  readonly code: string;
  readonly message: string;
  readonly source?: Source;
}

/** A policy that cannot be used, with all that is wrong. */
export class PolicyError extends HawserError {
  constructor(
    readonly file: string,
    readonly findings: readonly Finding[],
  ) {
    const [first] = findings;
    const more = findings.length > 1 ? ` (and ${findings.length - 1} more)` : "";
    const line = first?.source === undefined ? "" : `:${first.source.line}`;
    super(
      "POLICY_INVALID",
      `${file}${line}: ${first?.message ?? "unusable"}${more}`,
      "Run `hawser policy check` to see everything that is wrong.",
    );
  }
}

export interface PolicyText {
  readonly value: Record<string, unknown>;
  sourceOf(path: readonly (string | number)[]): Source;
}

/**
 * @param isBuiltIn the text is part of this program, and its tests have held it against the schema
 * @throws PolicyError
 */
export function readPolicyText(text: string, file: string, isBuiltIn = false): PolicyText {
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw new PolicyError(file, [{ level: "error", code: "TOO_LARGE", message: `it is larger than ${MAX_BYTES} bytes` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: "1.2", merge: false });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const source = { line: lines.linePos(problem.pos[0]).line, path: "" };
    throw new PolicyError(file, [{ level: "error", code: "NOT_YAML", message: problem.message.split("\n")[0] ?? "not YAML", source }]);
  }
  const sourceOf = (path: readonly (string | number)[]): Source => ({ line: lineOf(document, lines, path), path: pathText(path) });
  const value = plainValue(document, file);
  const findings = isBuiltIn ? [] : schemaFindings(value, sourceOf);
  if (findings.length > 0) throw new PolicyError(file, findings);
  return { value: value as Record<string, unknown>, sourceOf };
}

function plainValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw new PolicyError(file, [{ level: "error", code: "NOT_YAML", message: error instanceof Error ? error.message : "not YAML" }]);
  }
}

function lineOf(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const offset = offsetOf(document, path.slice(0, length));
    if (offset !== undefined) return lines.linePos(offset).line;
  }
  return 1;
}

/** Of the key where there is one: the value of a mapping begins on the line below. */
function offsetOf(document: Document, path: readonly (string | number)[]): number | undefined {
  const last = path.at(-1);
  const parent: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isPair(item) && String((item.key as { value?: unknown } | null)?.value) === String(last));
    return (pair?.key as { range?: readonly [number, number, number] } | undefined)?.range?.[0];
  }
  const node = document.getIn(path, true) as { range?: readonly [number, number, number] } | undefined;
  return node?.range?.[0];
}

export function pathText(path: readonly (string | number)[]): string {
  return path.map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`)).join("");
}

const loadNow = createRequire(import.meta.url);
let validator: ValidateFunction | undefined;

/** Loaded at the first policy of a user's own: it costs a quarter of a second, more than all the rest of a command such as `list`. */
function validatorOfPolicies(): ValidateFunction {
  if (validator !== undefined) return validator;
  const { Ajv2020 } = loadNow("ajv/dist/2020.js") as typeof AjvOf2020;
  validator = new Ajv2020({ allErrors: true, strict: false }).compile(POLICY_SCHEMA);
  return validator;
}

function schemaFindings(value: unknown, sourceOf: PolicyText["sourceOf"]): Finding[] {
  const validate = validatorOfPolicies();
  if (validate(value)) return [];
  // What `oneOf` says of each of its parts, it says better itself; `propertyNames` repeats the pattern.
  const errors = (validate.errors ?? []).filter(
    ({ keyword, schemaPath: where }) => keyword !== "propertyNames" && (keyword === "oneOf" || !where.includes("/oneOf/")),
  );
  const seen = new Set<string>();
  return errors.flatMap((error) => {
    const path = schemaPath(error);
    const message = `${pathText(path) || "the policy"} ${schemaMessage(error)}`;
    if (seen.has(message)) return [];
    seen.add(message);
    return [{ level: "error" as const, code: "SCHEMA", message, source: sourceOf(path) }];
  });
}

function schemaPath(error: ErrorObject): (string | number)[] {
  const path = error.instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  const unknown: unknown = error.params["additionalProperty"];
  return typeof unknown === "string" ? [...path, unknown] : path;
}

function schemaMessage({ keyword, params, schemaPath, message = "is not valid" }: ErrorObject): string {
  if (keyword === "additionalProperties") return "is not a setting of a policy";
  if (keyword === "enum") return `must be one of ${(params["allowedValues"] as unknown[]).join(", ")}`;
  if (keyword === "const") return `must be ${JSON.stringify(params["allowedValue"])}`;
  if (keyword === "required") return `lacks ${String(params["missingProperty"])}`;
  if (keyword === "oneOf")
    return schemaPath.includes("/allOf/0/")
      ? "needs either allow or deny"
      : schemaPath.includes("/allOf/1/")
        ? "needs either channels or topics"
        : "must be a text or a list of texts";
  if (keyword === "pattern" && params["pattern"] !== undefined) return `must match ${String(params["pattern"])}`;
  return message;
}
