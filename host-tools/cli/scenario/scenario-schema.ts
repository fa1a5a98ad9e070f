/** The JSON Schema (draft 2020-12) of a scenario file. `hawser sim scenario --schema` prints it; docs/scenario.schema.json is a copy. */
const duration = {
  type: "string",
  pattern: "^(0|\\d{1,9}(\\.\\d{1,3})?(ms|s|m|h|d))$",
  description: "A number and a unit: 500ms, 10s, 5m, 2h, 7d.",
} as const;
const positiveCount = (maximum: number): object => ({ type: "integer", minimum: 1, maximum });
const rate = (description: string): object => ({ type: "number", minimum: 0, maximum: 10_000, description });
const percent = { type: "string", pattern: "^(100|\\d{1,2})%$" } as const;
const object = (properties: Record<string, unknown>, required: readonly string[] = []): object => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

const who = {
  description: "Ids, or a share of the fleet drawn from the seed: 10%.",
  oneOf: [percent, { type: "array", items: { type: "string", minLength: 1, maxLength: 64 }, minItems: 1, uniqueItems: true }],
} as const;

const fleet = object(
  {
    devices: { ...positiveCount(100_000), description: "How many." },
    ids: { type: "string", description: "Ids, with {n} or {n:5} for the number. Default: fleet-{n}." },
    role: { type: "string", description: "Their role in the policy. Default: sensor." },
    startPerSecond: { ...positiveCount(10_000), description: "Devices started a second. Default: 100." },
    publish: object({
      topic: { type: "string", description: "Below devices/{id}/up/. Default: telemetry." },
      every: { ...duration, description: "Interval of each device. Default: 1s." },
      qos: { enum: [0, 1, 2, "mixed"], description: "mixed: a third of the messages each. Default: 1." },
      bytes: {
        type: "array",
        items: { type: "integer", minimum: 1, maximum: 100_000 },
        minItems: 2,
        maxItems: 2,
        description: "Least and greatest size of a payload.",
      },
    }),
    program: object(
      {
        file: {
          type: "string",
          description:
            "Your device program, relative to this file: a module whose default export is a Program. Devices run it instead of publishing. Not in the virtual world.",
        },
        sensors: {
          type: "object",
          additionalProperties: { type: ["number", "string"] },
          description: "Readings by name: a number, or a range to draw each from: 18..24.",
        },
        press: {
          type: "object",
          additionalProperties: { type: "string" },
          description: "Buttons by name, and how often each is pressed: 10s.",
        },
        commands: { type: "array", items: { type: "string" }, description: "TOPIC=PAYLOAD, to each device in turn: down/led=on." },
        publishesPerSecond: rate("What a device may publish, over ten seconds. Default: 10."),
        growthKilobytes: rate("KB a device and minute that its memory may grow. Default: 64."),
      },
      ["file"],
    ),
    commandsPerSecond: rate("Commands a second to devices drawn at random, each to be answered. Default: 0."),
    sleepers: { ...percent, description: "Share of devices that sleep: awake 10 s, asleep 20 s. Not in the virtual world." },
    rebootsPerHour: rate("Restarts a device and hour. Not in the virtual world."),
    renewalsPerHour: rate("New certificates a device and hour, beside those that are due. Not in the virtual world."),
    certificateLifetime: { ...duration, description: "How long a device's certificate lives. Default: a year." },
    recovery: { type: "boolean", description: "Devices may recover by pre-shared key. Default: true." },
    retryCap: { ...duration, description: "The longest a device waits between two attempts. Default: the SDK's, 2m." },
    recoveryPatience: { ...duration, description: "How long the broker must refuse a device before it turns to its PSK. Default: 5s." },
    client: {
      enum: ["hawser", "mqttjs"],
      description: "mqttjs: MQTT.js does the same, to compare. Not in the virtual world. Default: hawser.",
    },
    workers: positiveCount(64),
  },
  ["devices"],
);

const broker = object({
  engine: { enum: ["embedded", "mosquitto"], description: "A passing broker. Default: mosquitto where it is installed." },
  url: { type: "string", description: "A broker of yours: mqtts://HOST:PORT, with `ca`." },
  pskUrl: { type: "string", description: "Its PSK port." },
  ca: { type: "string", description: "Directory of the CA that your broker believes." },
});

const event = {
  ...object(
    {
      at: { ...duration, description: "Since the devices began to start." },
      for: { ...duration, description: "Ends it again after this." },
      name: { type: "string", pattern: "^[a-z][a-z0-9-]{0,31}$", description: "For expectations: `within 10s of NAME: ...`." },
      broker: { enum: ["down", "up", "restart"], description: "down: killed with kill -9." },
      authority: { enum: ["away", "back"], description: "The enrolment authority." },
      ca: { enum: ["rollover"], description: "Another issuing CA under the same root." },
      revoke: { ...who, description: "Revokes certificates; devices may recover by PSK. Ids, or a share such as 10%." },
      "shut-out": { ...who, description: "Revokes certificates and pre-shared keys. Ids, or a share such as 10%." },
      renew: { ...percent, description: "Share of the fleet that asks for a new certificate now." },
      dns: { enum: ["down", "up"], description: "down: names do not resolve; open connections stay." },
      clock: {
        type: "string",
        pattern: "^[+-]\\d{1,9}(\\.\\d{1,3})?(s|m|h|d|y)$",
        description: "Every device's wall clock is wrong by so much: +40d, -1h. The end of `for` sets it right.",
      },
      network: {
        description:
          "down, up, or Toxiproxy's toxics with their attributes (see `hawser sim proxy --help`), on both directions unless `stream` says which.",
        oneOf: [{ enum: ["down", "up"] }, { type: "object", minProperties: 1, additionalProperties: { type: ["object", "null"] } }],
      },
    },
    ["at"],
  ),
};

export const SCENARIO_SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "A scenario of hawser sim scenario",
  ...object(
    {
      name: { type: "string", minLength: 1, maxLength: 100 },
      description: { type: "string", maxLength: 1_000 },
      seed: { type: "string", minLength: 1, maxLength: 100, description: "Default: a new one, which the result names." },
      fleet,
      broker,
      policy: { type: "string", description: "Policy file, relative to this file. Default: the CA's own." },
      duration: { ...duration, description: "How long devices publish." },
      drain: { ...duration, description: "How long what was accepted may take to arrive after that. Default: 1m." },
      timeline: { type: "array", items: event, maxItems: 1_000 },
      expect: {
        type: "array",
        minItems: 1,
        maxItems: 200,
        items: { type: "string", minLength: 1, maxLength: 200 },
        description: "Sentences: `within 30s: 99% online by mtls`, `no message lost`, `no device used psk`, `delivery p99 below 500ms`.",
      },
    },
    ["name", "fleet", "duration", "expect"],
  ),
};
