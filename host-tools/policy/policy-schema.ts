/**
 * The JSON Schema (draft 2020-12) of the policy file. `hawser policy init --schema` prints it; editors with a YAML language server can use
 * it.
 */

const NAME = "^[a-z][a-z0-9-]{0,31}$";
const description = { type: "string", maxLength: 500 } as const;
const count = { type: "integer", minimum: 1 } as const;
const perSecond = { type: "number", exclusiveMinimum: 0, maximum: 1_000_000 } as const;
const port = { type: "integer", minimum: 1, maximum: 65_535 } as const;
const text = { type: "string", minLength: 1, maxLength: 1024 } as const;
const oneOrMore = (items: object): object => ({ oneOf: [items, { type: "array", items, minItems: 1, uniqueItems: true }] });
const named = (values: object): object => ({ type: "object", propertyNames: { pattern: NAME }, additionalProperties: values });
const object = (properties: Record<string, unknown>, required: readonly string[] = []): object => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

const attribute = object({ description, values: { type: "array", items: text, minItems: 1, uniqueItems: true }, pattern: text });

const FACTORS = ["certificate", "psk", "password", "token"];

const listener = object(
  {
    description,
    port,
    bind: text,
    requires: { type: "array", items: { enum: FACTORS }, minItems: 1, uniqueItems: true },
    scope: { enum: ["full", "recovery"] },
    websocket: { type: "boolean" },
  },
  ["port", "requires"],
);

const channel = object(
  {
    description,
    topic: text,
    absolute: { type: "boolean" },
    direction: { enum: ["up", "down"] },
    recovery: { type: "boolean" },
    qos: { enum: [0, 1, 2] },
    retain: { type: "boolean" },
    maxBytes: { type: "integer", minimum: 1, maximum: 268_435_455 },
    messagesPerSecond: perSecond,
    schema: text,
  },
  ["topic", "direction"],
);

const deviceClass = object({ description, base: text, channels: { ...named(channel), minProperties: 1 } }, ["base", "channels"]);

const clock = { type: "string", pattern: "^([01][0-9]|2[0-3]):[0-5][0-9]$" };
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const time = object({
  days: { type: "array", items: { enum: DAYS }, minItems: 1, uniqueItems: true },
  from: clock,
  to: clock,
  zone: text,
  after: text,
  before: text,
});

const when = object({
  listeners: { type: "array", items: text, minItems: 1, uniqueItems: true },
  networks: { type: "array", items: text, minItems: 1, uniqueItems: true },
  times: { type: "array", items: time, minItems: 1 },
  attributes: named(oneOrMore(text)),
});

const ACCESS = ["read", "write", "readwrite"];
const grant = {
  ...object({
    description,
    allow: { enum: ACCESS },
    deny: { enum: ACCESS },
    channels: {
      type: "array",
      items: { type: "string", pattern: "^[a-z][a-z0-9-]*\\.([a-z][a-z0-9-]*|\\*)$" },
      minItems: 1,
      uniqueItems: true,
    },
    topics: { type: "array", items: text, minItems: 1, uniqueItems: true },
    scope: named(oneOrMore(text)),
    acrossTenants: { type: "boolean" },
    when,
  }),
  allOf: [{ oneOf: [{ required: ["allow"] }, { required: ["deny"] }] }, { oneOf: [{ required: ["channels"] }, { required: ["topics"] }] }],
};

const role = object({
  description,
  for: { enum: ["devices", "clients"] },
  class: text,
  channels: { type: "array", items: text, minItems: 1, uniqueItems: true },
  inherits: { type: "array", items: text, minItems: 1, uniqueItems: true },
  grants: { type: "array", items: grant },
  requires: named({ type: "array", items: { enum: FACTORS }, uniqueItems: true }),
  may: object({ retain: { type: "boolean" }, will: { type: "boolean" }, wildcards: { type: "boolean" }, shared: { type: "boolean" } }),
  limits: object({ messagesPerSecond: perSecond, bytesPerSecond: perSecond, connections: count }),
});

const limits = object({
  connections: count,
  connectionsPerSource: count,
  connectionsPerSecond: perSecond,
  connectionsPerSecondPerSource: perSecond,
  packetBytes: { type: "integer", minimum: 1024, maximum: 268_435_455 },
  inflight: { type: "integer", minimum: 1, maximum: 65_535 },
  queuedMessages: count,
  queuedBytes: count,
  keepAliveSeconds: { type: "integer", minimum: 10, maximum: 65_535 },
  sessionExpirySeconds: { type: "integer", minimum: 0, maximum: 4_294_967_295 },
  messagesPerSecond: perSecond,
  bytesPerSecond: perSecond,
  // Below it, TLS handshakes take too long; above it, a link is never that fast.
  bytesPerSecondPerSource: { type: "integer", minimum: 4096, maximum: 1_073_741_824 },
});

const bridge = object(
  {
    description,
    host: text,
    port,
    clientId: text,
    certificate: object({ ca: text, chain: text, key: text }, ["ca"]),
    topics: {
      type: "array",
      minItems: 1,
      items: object(
        {
          topic: text,
          direction: { enum: ["out", "in"] },
          qos: { enum: [0, 1, 2] },
          localPrefix: { type: "string" },
          remotePrefix: { type: "string" },
        },
        ["topic", "direction"],
      ),
    },
  },
  ["host", "port", "certificate", "topics"],
);

/**
 * Properties of a channel or role that a broker may be unable to enforce, and that a policy can therefore tell a compiler to leave to the
 * clients.
 */
export const ENFORCEABLE = [
  "qos",
  "retain",
  "maxBytes",
  "messagesPerSecond",
  "bytesPerSecond",
  "will",
  "wildcards",
  "shared",
  "connections",
  "roleLimits",
  "limits",
] as const;
export const BROKER_KINDS = ["mosquitto", "rabbitmq", "emqx", "vernemq", "ejabberd", "hivemq", "nanomq", "embedded"] as const;

export const POLICY_SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Hawser policy",
  description: "Who may publish and read which topics, with what proof, when and how much. See docs/policy.md.",
  ...object(
    {
      version: { const: 1 },
      name: { type: "string", pattern: NAME },
      description,
      attributes: named(attribute),
      tenant: text,
      listeners: { ...named(listener), minProperties: 1 },
      classes: named(deviceClass),
      roles: { ...named(role), minProperties: 1 },
      defaultDeviceRole: text,
      limits,
      bridges: named(bridge),
      unenforced: object(
        Object.fromEntries(BROKER_KINDS.map((kind) => [kind, { type: "array", items: { enum: ENFORCEABLE }, uniqueItems: true }])),
      ),
    },
    ["version", "name", "listeners", "roles"],
  ),
} as const;
