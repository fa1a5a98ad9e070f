/**
 * For tests: whether a text is SARIF 2.1.0 (OASIS, section 3) as far as the doctor uses it. Like the published schema, it takes no member
 * that the standard does not have; members that the doctor does not write are left out.
 */
import { Ajv } from "ajv";

const object = (properties: Record<string, unknown>, ...required: string[]): object => ({
  type: "object",
  additionalProperties: false,
  properties,
  required,
});
const TEXT = { type: "string" };
const LEVEL = { enum: ["none", "note", "warning", "error"] };
const PROPERTIES = { type: "object", properties: { tags: { type: "array", uniqueItems: true, items: TEXT } } };
const MULTIFORMAT = object({ text: TEXT, markdown: TEXT }, "text");

const RULE = object(
  {
    id: TEXT,
    name: TEXT,
    shortDescription: MULTIFORMAT,
    fullDescription: MULTIFORMAT,
    help: MULTIFORMAT,
    helpUri: { type: "string", format: "uri-reference" },
    defaultConfiguration: object({ enabled: { type: "boolean" }, level: LEVEL, rank: { type: "number" } }),
    properties: PROPERTIES,
  },
  "id",
);
const REGION = object({ startLine: { type: "integer", minimum: 1 }, snippet: object({ text: TEXT }) });
const PHYSICAL_LOCATION = object(
  { artifactLocation: object({ uri: { type: "string", format: "uri-reference" }, uriBaseId: TEXT }), region: REGION },
  "artifactLocation",
);
const RESULT = object(
  {
    ruleId: TEXT,
    ruleIndex: { type: "integer", minimum: -1 },
    level: LEVEL,
    message: object({ text: TEXT, markdown: TEXT }, "text"),
    locations: { type: "array", items: object({ physicalLocation: PHYSICAL_LOCATION }) },
    properties: PROPERTIES,
  },
  "message",
);
const DRIVER = object({ name: TEXT, version: TEXT, rules: { type: "array", uniqueItems: true, items: RULE } }, "name");
const LOG = object(
  {
    $schema: { type: "string", format: "uri-reference" },
    version: { const: "2.1.0" },
    runs: {
      type: "array",
      items: object({ tool: object({ driver: DRIVER }, "driver"), results: { type: "array", items: RESULT } }, "tool"),
    },
  },
  "version",
  "runs",
);

/** RFC 3986: no first segment of a path with a colon is taken for a scheme by mistake, and every percent sign is an escape. */
const URI_REFERENCE = /^(?:[A-Za-z][A-Za-z0-9+.-]*:\/\/|[^/:?#]*(?=[/?#]|$))(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-F]{2})*$/;

const ajv = new Ajv({ allErrors: true, strict: false, formats: { "uri-reference": isUriReference } });
const validate = ajv.compile(LOG);

function isUriReference(text: string): boolean {
  return URI_REFERENCE.test(text) && /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-F]{2})*$/.test(text);
}

/** What is wrong, a line each. */
export function sarifFaults(log: unknown): string[] {
  validate(log);
  return (validate.errors ?? []).map(({ instancePath, message = "" }) => `${instancePath} ${message}`);
}
