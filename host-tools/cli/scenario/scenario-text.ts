/** YAML of a scenario as plain values, with the line of everything in it; bounded. */
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ErrorObject } from "ajv";
import { isMap, LineCounter, parseDocument, type Document } from "yaml";
import { HawserError } from "../../../sdk/errors.js";
import { SCENARIO_SCHEMA } from "./scenario-schema.js";

type Path = readonly (string | number)[];

/** A scenario is written by people; a larger file is a mistake or an attack. */
const MAX_BYTES = 256 * 1024;
/** Aliases in YAML multiply. */
const MAX_ALIASES = 50;

const validate = new Ajv2020({ allErrors: false, strict: false }).compile(SCENARIO_SCHEMA);

export class ScenarioText {
  readonly #document: Document;
  readonly #lines = new LineCounter();

  /** @throws HawserError `SCENARIO_INVALID` naming the line */
  constructor(
    readonly file: string,
    text: string,
  ) {
    if (Buffer.byteLength(text) > MAX_BYTES)
      throw new HawserError("SCENARIO_INVALID", `${file} is larger than ${MAX_BYTES} bytes`, "Split it.");
    this.#document = parseDocument(text, { lineCounter: this.#lines, uniqueKeys: true, version: "1.2", merge: false });
    const [problem] = this.#document.errors;
    if (problem) throw this.#at(this.#lines.linePos(problem.pos[0]).line, problem.message.split("\n")[0] ?? "not YAML", "Fix the YAML.");
  }

  /** The file's values, fit for the schema. @throws HawserError `SCENARIO_INVALID` */
  values(): Record<string, unknown> {
    let value: unknown;
    try {
      value = this.#document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      throw this.#at(1, error instanceof Error ? error.message : "not YAML", "Use fewer aliases.");
    }
    if (!validate(value)) {
      // `oneOf` says it better than each of its parts.
      const error = validate.errors?.find(({ keyword }) => keyword === "oneOf") ?? validate.errors?.[0];
      throw error ? this.#misfit(error) : this.#at(1, "not a scenario", "See docs/testing.md.");
    }
    return value as Record<string, unknown>;
  }

  /** An error at a place in the file. */
  error(path: Path, what: string, next: string): HawserError {
    return this.#at(this.line(path), `${pathText(path)}: ${what}`, next);
  }

  line(path: Path): number {
    for (let length = path.length; length > 0; length -= 1) {
      const offset = this.#offset(path.slice(0, length));
      if (offset !== undefined) return this.#lines.linePos(offset).line;
    }
    return 1;
  }

  #offset(path: Path): number | undefined {
    const last = path.at(-1);
    const parent: unknown = path.length === 1 ? this.#document.contents : this.#document.getIn(path.slice(0, -1), true);
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => String((key as { value?: unknown } | null)?.value) === String(last));
      return (pair?.key as { range?: readonly [number, number, number] } | undefined)?.range?.[0];
    }
    return (this.#document.getIn(path, true) as { range?: readonly [number, number, number] } | undefined)?.range?.[0];
  }

  #misfit({
    instancePath,
    keyword,
    params,
    message = "is not valid",
    parentSchema,
  }: ErrorObject & { parentSchema?: { properties?: object } }): HawserError {
    const path: (string | number)[] = instancePath
      .split("/")
      .slice(1)
      .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replace(/~1/g, "/").replace(/~0/g, "~")));
    if (keyword === "additionalProperties") {
      const schema = parentSchema ?? schemaAt(path);
      const known = Object.keys(schema?.properties ?? {}).join(", ");
      return this.error([...path, String(params["additionalProperty"])], "is not a setting here", `Allowed: ${known}.`);
    }
    if (keyword === "required") return this.error(path, `${String(params["missingProperty"])} is missing`, "Add it.");
    if (keyword === "enum")
      return this.error(path, "is not one of the values allowed", `Allowed: ${(params["allowedValues"] as unknown[]).join(", ")}.`);
    const described = schemaAt(path)?.description;
    return this.error(
      path,
      keyword === "pattern" || keyword === "oneOf" ? "has the wrong form" : message,
      described ?? "See docs/testing.md.",
    );
  }

  #at(line: number, what: string, next: string): HawserError {
    return new HawserError("SCENARIO_INVALID", `${this.file}:${line}: ${what}`, next);
  }
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly description?: string;
}

function schemaAt(path: Path): SchemaNode | undefined {
  return path.reduce<SchemaNode | undefined>(
    (node, part) => (typeof part === "number" ? node?.items : node?.properties?.[part]),
    SCENARIO_SCHEMA as SchemaNode,
  );
}

function pathText(path: Path): string {
  if (path.length === 0) return "the file";
  return path.map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`)).join("");
}
